"""What a study asks for, what the store already has, and so what is left to compute."""

import dataclasses
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mlt_ray.corpus.folds import NUM_FOLDS
from mlt_ray.corpus.utterance import Corpus
from mlt_ray.errors import UserError
from mlt_ray.spec import Run, RunSpec
from mlt_ray.storage.store import Store
from mlt_ray.studies.study import Published, Row, Study

FOLDS = tuple(range(1, NUM_FOLDS + 1))


@dataclass(frozen=True, kw_only=True)
class RunName:
    """What a run is called: the first study and row that ask for it."""

    study: str
    row: str
    fold: int
    seed: int

    def __str__(self) -> str:
        return f"{self.study}: {self.row}, fold {self.fold}, seed {self.seed}"


@dataclass(frozen=True, kw_only=True)
class PlannedRow:
    """A row and the runs that its score is the mean of; `asked` are those to compute now.

    `overrides` are what the call changed in the study's settings.
    """

    name: str
    published: Published | None
    overrides: tuple[str, ...]
    runs: tuple[Run, ...]
    asked: tuple[Run, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One study on one corpus. `rows` are all of the study's, `asked` or not."""

    study: str
    title: str
    corpus: str
    fingerprint: str
    rows: tuple[PlannedRow, ...]

    def left(self, store: Store) -> list[Run]:
        """Runs to compute now: asked for, not finished, each once."""
        asked = {run.digest: run for row in self.rows for run in row.asked}
        done = store.finished(asked)
        return [run for digest, run in asked.items() if digest not in done]


def make_plan(
    study: Study,
    corpus: Corpus,
    *,
    rows: Collection[str] | None = None,
    folds: Sequence[int] = (),
    seeds: Sequence[int] = (),
) -> Plan:
    """Plan a study. `rows` (None: all), `folds` and `seeds` (empty: all) narrow what is computed.

    A seed that the study does not have is added to every row that is asked for. The study is
    resolved (`prepare.resolve`).
    """
    for fold in folds:
        if fold not in FOLDS:
            raise UserError(f"--folds: expected numbers from 1 to 5, got {fold}")
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
    runs = tuple(Run(spec=spec, fold=f, seed=s) for s in all_seeds for f in FOLDS)
    asked = (
        r
        for r in runs
        if is_asked and r.fold in (folds or FOLDS) and r.seed in (seeds or all_seeds)
    )
    return PlannedRow(
        name=row.name,
        published=row.published,
        overrides=row.changes,
        runs=runs,
        asked=tuple(asked),
    )


def spec_of(row: Row, corpus: Corpus) -> RunSpec:
    """What decides the numbers of a (resolved) row on a corpus."""
    return RunSpec(
        corpus=corpus.fingerprint,
        folds=row.folds,
        features=row.features,
        model=row.model,
        training=row.training,
    )


def record(plan: Plan, store: Store) -> None:
    """Note the plan in the store, for reports.

    Rows that this call did not ask for keep what an earlier call on the same corpus noted, since
    that call may have used other settings.
    """
    earlier = recorded(plan.study, store)
    kept = {}
    if earlier is not None and earlier["corpus"]["fingerprint"] == plan.fingerprint:
        kept = {row["name"]: row for row in earlier["rows"]}
    rows = [
        _row_values(row) if row.asked else kept.get(row.name, _row_values(row)) for row in plan.rows
    ]
    values = {
        "study": plan.study,
        "title": plan.title,
        "corpus": {"name": plan.corpus, "fingerprint": plan.fingerprint},
        "rows": rows,
    }
    store.write_json(store.study(plan.study), values)


def _row_values(row: PlannedRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "published": dataclasses.asdict(row.published) if row.published else None,
        "overrides": list(row.overrides),
        **cells_values(row.runs),
    }


def cells_values(runs: Sequence[Run]) -> dict[str, Any]:
    """What is noted of runs that share a specification."""
    return {
        "spec": runs[0].spec.as_dict(),
        "runs": [{"digest": r.digest, "fold": r.fold, "seed": r.seed} for r in runs],
    }


def recorded(study: str, store: Store) -> Any:
    """What `record` noted of a study, as a mapping; None where it noted nothing."""
    return store.read_json(store.study(study))


def tracked(store: Store) -> list[dict[str, Any]]:
    """All plans that were noted in a store: those of studies, and those of searches."""
    paths = [store.study(name) for name in store.studies()]
    paths += [store.search(name) for name in store.searches()]
    return [store.read_json(path) for path in paths]


def left_of(plans: Iterable[Plan], store: Store) -> list[Run]:
    """Runs of all plans that are to be computed now, each once, in order."""
    return distinct(run for plan in plans for run in plan.left(store))


def distinct(runs: Iterable[Run]) -> list[Run]:
    """Each run once, in order."""
    return list({run.digest: run for run in runs}.values())
