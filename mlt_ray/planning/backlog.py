"""Plans beside a store: which of their runs are done, which are left, and what is noted of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from mlt_ray.planning.plan import Plan, RunName
from mlt_ray.spec import Run, RunSpec
from mlt_ray.storage.record import StudyRecord, read_record, write_record
from mlt_ray.storage.store import Store


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """What is to be done for plans, as the store was when `take_stock` looked into it.

    `done` are the digests of finished runs, of those of all rows. `left` are the runs that are
    asked for and not finished, each once, in the order of the plans.
    """

    plans: tuple[Plan, ...]
    done: frozenset[str]
    left: tuple[Run, ...]

    @cached_property
    def num_asked(self) -> int:
        """Distinct runs that are asked for."""
        return len({run.digest for plan in self.plans for row in plan.rows for run in row.asked})

    @cached_property
    def specs_left(self) -> frozenset[RunSpec]:
        """Specifications of the runs that are left."""
        return frozenset(run.spec for run in self.left)

    @cached_property
    def names(self) -> Mapping[str, RunName]:
        """The name of every run, by digest."""
        names: dict[str, RunName] = {}
        for plan in self.plans:
            for row in plan.rows:
                for run in row.runs:
                    name = RunName(study=plan.study, row=row.name, fold=run.fold, seed=run.seed)
                    names.setdefault(run.digest, name)
        return names


def take_stock(plans: Sequence[Plan], store: Store) -> Backlog:
    """Look up which runs of the plans the store has."""
    runs = {run.digest: run for plan in plans for row in plan.rows for run in row.runs}
    done = store.finished(runs)
    asked = {run.digest: run for plan in plans for row in plan.rows for run in row.asked}
    left = tuple(run for digest, run in asked.items() if digest not in done)
    return Backlog(plans=tuple(plans), done=frozenset(done), left=left)


def note_plans(plans: Sequence[Plan], store: Store) -> list[StudyRecord]:
    """Note plans in the store for reports and MLflow; returns what is noted now.

    Rows that a plan does not ask for keep what an earlier call on the same corpus noted, since
    that call may have had other settings.
    """
    return [_note(plan, store) for plan in plans]


def _note(plan: Plan, store: Store) -> StudyRecord:
    path, record = store.study(plan.study), plan.as_record()
    earlier = read_record(store, path)
    if earlier is not None and earlier.fingerprint == plan.fingerprint:
        kept = {row.name: row for row in earlier.rows}
        rows = zip(plan.rows, record.rows, strict=True)
        record = replace(
            record,
            rows=tuple(new if row.asked else kept.get(row.name, new) for row, new in rows),
        )
    write_record(store, path, record)
    return record
