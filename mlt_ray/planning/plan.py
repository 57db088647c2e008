"""What a study asks for on a corpus: its rows and their runs."""

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mlt_ray.corpus.labelling import select
from mlt_ray.corpus.utterance import Corpus
from mlt_ray.errors import UserError
from mlt_ray.labels import Labels
from mlt_ray.spec import Run, RunSpec, runs_of
from mlt_ray.storage.record import RowRecord, StudyRecord, run_records
from mlt_ray.studies.study import Published, Row, Study


@dataclass(frozen=True, kw_only=True)
class RunName:
    """What people call a run: the first study and row that ask for it, its fold and its seed."""

    study: str
    row: str
    fold: int
    seed: int

    def __str__(self) -> str:
        return f"{self.study}: {self.row}, fold {self.fold}, seed {self.seed}"


@dataclass(frozen=True, kw_only=True)
class PlannedRow:
    """A row and its runs. Its score is the mean over `runs`; `asked` are those to compute now.

    `changes` are the settings that the call has changed.
    """

    name: str
    published: Published | None
    labels: Labels
    changes: tuple[str, ...]
    runs: tuple[Run, ...]
    asked: tuple[Run, ...]

    @property
    def spec(self) -> RunSpec:
        """What the runs share."""
        return self.runs[0].spec

    def as_record(self) -> RowRecord:
        """The row as the store notes it."""
        return RowRecord(
            name=self.name,
            spec=self.spec.as_dict(),
            runs=run_records(self.runs),
            published=dataclasses.asdict(self.published) if self.published else None,
            changes=self.changes,
        )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One study on one corpus. `rows` are all rows of the study, whether asked for or not."""

    study: str
    title: str
    corpus: str
    fingerprint: str
    rows: tuple[PlannedRow, ...]

    @property
    def asked_rows(self) -> tuple[PlannedRow, ...]:
        """The rows of which runs are asked for."""
        return tuple(row for row in self.rows if row.asked)

    def as_record(self) -> StudyRecord:
        """The study as the store notes it."""
        return StudyRecord(
            study=self.study,
            title=self.title,
            corpus=self.corpus,
            fingerprint=self.fingerprint,
            rows=tuple(row.as_record() for row in self.rows),
        )


def make_plan(
    study: Study,
    corpus: Corpus,
    *,
    rows: Collection[str] | None = None,
    folds: Sequence[int] = (),
    seeds: Sequence[int] = (),
) -> Plan:
    """Plan a study whose contents are named (`planning.contents`), on a corpus as it was read.

    `rows` (None: all), `folds` and `seeds` (empty: all) narrow what is asked for. A seed that the
    study does not have is added to every row that is asked for. A row whose system reads no seed
    has one run a fold, whatever the seeds are. `UserError` for a fold that no row has.
    """
    counts = [row.folds.num_folds for row in study.rows if rows is None or row.name in rows]
    for fold in folds:
        if counts and not 1 <= fold <= max(counts):
            raise UserError(f"--folds: expected numbers from 1 to {max(counts)}, got {fold}")
    return Plan(
        study=study.name,
        title=study.title,
        corpus=corpus.name,
        fingerprint=corpus.fingerprint,
        rows=tuple(
            _planned(row, study, corpus, rows is None or row.name in rows, folds, seeds)
            for row in study.rows
        ),
    )


def _planned(
    row: Row,
    study: Study,
    corpus: Corpus,
    is_asked: bool,
    folds: Sequence[int],
    seeds: Sequence[int],
) -> PlannedRow:
    spec = spec_of(row, corpus)
    all_seeds = list(study.seeds)
    if is_asked:
        all_seeds += [s for s in dict.fromkeys(seeds) if s not in study.seeds]
    all_folds = range(1, row.folds.num_folds + 1)
    runs = runs_of(spec, ((f, s) for s in all_seeds for f in all_folds))
    narrowed = runs_of(spec, ((f, s) for s in seeds or all_seeds for f in folds or all_folds))
    wanted = {(run.fold, run.seed) for run in narrowed}
    asked = (run for run in runs if is_asked and (run.fold, run.seed) in wanted)
    return PlannedRow(
        name=row.name,
        published=row.published,
        labels=row.labels,
        changes=row.changes,
        runs=runs,
        asked=tuple(asked),
    )


def spec_of(row: Row, corpus: Corpus) -> RunSpec:
    """What decides the numbers of a row, whose contents are named, on a corpus as it was read."""
    selected = select(corpus, row.labels)
    return RunSpec(
        corpus=selected.fingerprint,
        classes=selected.classes,
        folds=row.folds,
        features=row.features,
        model=row.model,
        training=row.training,
    )
