"""What a store notes of a study or a search: its rows and their runs, as they were last asked for.

Reports and MLflow are made from these records and from the reports of the runs.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from mlt_ray.parsing import shown
from mlt_ray.spec import Run
from mlt_ray.storage.format import with_format, without_format
from mlt_ray.storage.names import plain
from mlt_ray.storage.store import Store

T = TypeVar("T")

PublishedScores = Mapping[str, tuple[float, float | None]]
"""Published scores by name, wa and ua: the mean, and the deviation where one is published."""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One run of a row."""

    digest: str
    fold: int
    seed: int

    def __str__(self) -> str:
        return f"fold {self.fold}, seed {self.seed}"


@dataclass(frozen=True, kw_only=True)
class RowRecord:
    """A row of a study, or a configuration of a search.

    `spec` holds the values of its RunSpec. `changes` are the settings that the call had changed.
    """

    name: str
    spec: Mapping[str, Any]
    runs: tuple[RunRecord, ...]
    published: PublishedScores | None = None
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StudyRecord:
    """A study, or a search, on one corpus. Of a search, only dev scores may be shown."""

    study: str
    title: str
    corpus: str
    fingerprint: str
    rows: tuple[RowRecord, ...]
    is_search: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Plain values for the record's file."""
        values: dict[str, Any] = {
            "study": self.study,
            "title": self.title,
            "corpus": {"name": self.corpus, "fingerprint": self.fingerprint},
        }
        if self.is_search:
            values["dev_only"] = True
        return {**values, "rows": [_row_values(row, self.is_search) for row in self.rows]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "StudyRecord":
        """The record that `as_dict` described; `ValueError` and its like if it is none."""
        return cls(
            study=_typed(values["study"], str),
            title=_typed(values["title"], str),
            corpus=_typed(values["corpus"]["name"], str),
            fingerprint=_typed(values["corpus"]["fingerprint"], str),
            rows=tuple(_row(row) for row in _typed(values["rows"], list)),
            is_search=_typed(values.get("dev_only", False), bool),
        )


def best_name(place: int, name: str) -> str:
    """Name of the row of a study that is the search's best configuration of that place."""
    return f"best {place}: {name}"


def is_best(name: str) -> bool:
    """Whether `best_name` made the name of a row."""
    return re.match(r"best \d+: ", name) is not None


def run_records(runs: Sequence[Run]) -> tuple[RunRecord, ...]:
    """The records of runs."""
    return tuple(RunRecord(digest=run.digest, fold=run.fold, seed=run.seed) for run in runs)


def read_record(store: Store, path: Path) -> StudyRecord | None:
    """The record in a file of the store (`Store.study`, `Store.search`); None without a file.

    Raises `UserError` for a file that is no record, and if the name of its study or of a run would
    leave its folder.
    """
    values = store.read_json(path)
    if values is None:
        return None
    with store.reading(path):
        record = StudyRecord.from_dict(without_format(values, path))
    for name in (record.study, *(run.digest for row in record.rows for run in row.runs)):
        plain(name, path)
    return record


def write_record(store: Store, path: Path, record: StudyRecord) -> None:
    """Write a record to a file of the store."""
    store.write_json(path, with_format(record.as_dict()))


def all_records(store: Store) -> list[StudyRecord]:
    """All records of a store: those of studies, then those of searches."""
    paths = [store.study(name) for name in store.studies()]
    paths += [store.search(name) for name in store.searches()]
    found = (read_record(store, path) for path in paths)
    return [record for record in found if record is not None]


def _row_values(row: RowRecord, is_search: bool) -> dict[str, Any]:
    values: dict[str, Any] = {"name": row.name}
    if not is_search:
        published = row.published
        values["published"] = {k: list(v) for k, v in published.items()} if published else None
        values["overrides"] = list(row.changes)
    return {**values, "spec": row.spec, "runs": [asdict(run) for run in row.runs]}


def _row(values: Mapping[str, Any]) -> RowRecord:
    published = values.get("published")
    return RowRecord(
        name=_typed(values["name"], str),
        spec=_typed(values["spec"], dict),
        runs=tuple(_run(run) for run in _typed(values["runs"], list)),
        published={k: _score(v) for k, v in published.items()} if published else None,
        changes=tuple(_typed(text, str) for text in values.get("overrides", ())),
    )


def _run(values: Mapping[str, Any]) -> RunRecord:
    run = RunRecord(**values)
    _typed(run.digest, str), _typed(run.fold, int), _typed(run.seed, int)
    return run


def _score(values: Sequence[Any]) -> tuple[float, float | None]:
    mean, deviation = values
    return float(mean), None if deviation is None else float(deviation)


def _typed(value: Any, kind: type[T]) -> T:
    """The value; `TypeError` for one of another type."""
    if type(value) is not kind:
        raise TypeError(f"expected {kind.__name__}, got {shown(value)}")
    return value
