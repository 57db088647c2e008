"""Plans beside a store: which of their runs are done, which are left, and what is noted of them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from mlt_ray.libraries import versions_of
from mlt_ray.planning.plan import Plan, RunName
from mlt_ray.spec import Run, RunSpec, decisive
from mlt_ray.storage.lease import PATIENCE_S, alone
from mlt_ray.storage.record import RowRecord, StudyRecord, read_record, write_record
from mlt_ray.storage.store import Store

NAMED_BY_CONTENT = (
    "members",
    "vectors",
    "phonemizer",
    "libraries",
    "encoder",
    "speech_encoder",
    "source",
)
"""Settings that planning names (`planning.contents`): they differ from what the file says."""


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

    A row that a plan asks for is noted as the plan has it. If an earlier call asked for runs of it
    with the same settings and on the same corpus, these stay beside the new ones. The other rows
    keep what was noted of them before. Several drivers may note plans of one study at once.
    """
    records = []
    for plan in plans:
        path = store.study(plan.study)
        with alone(store, f"study-{plan.study}", patience_s=PATIENCE_S):
            record = _merged(read_record(store, path), plan.as_record(), plan)
            write_record(store, path, record)
        records.append(record)
    return records


def latest_records(
    plans: Sequence[Plan], noted: Sequence[StudyRecord], store: Store
) -> list[StudyRecord]:
    """What to show of plans that were `noted` some time ago.

    The rows that a plan asks for are as they were noted then, even if another driver has noted
    other settings since. With the same settings, its runs are added. The other rows are as they are
    noted now.
    """
    return [
        _merged(read_record(store, store.study(plan.study)), record, plan)
        for plan, record in zip(plans, noted, strict=True)
    ]


def other_versions(plans: Sequence[Plan], store: Store) -> list[str]:
    """A line for each study of which rows that are asked for were computed with other libraries.

    Their runs stay in the store, but they are not those that are asked for now.
    """
    lines = []
    for plan in plans:
        earlier = read_record(store, store.study(plan.study))
        if earlier is None:
            continue
        before = {row.name: row.spec for row in earlier.rows}
        changed: dict[str, str] = {}
        for row in plan.asked_rows:
            if row.name in before and before[row.name]["corpus"] == row.spec.corpus:
                old, new = (versions_of(spec) for spec in (before[row.name], row.spec.as_dict()))
                for name in new.keys() & old.keys():
                    if old[name] != new[name]:
                        changed[name] = f"{name} {old[name]} (now {new[name]})"
        if changed:
            lines.append(
                f"{plan.study}: rows were computed with {', '.join(sorted(changed.values()))}; "
                "they are computed anew, and their old runs stay in the store"
            )
    return lines


def other_studies(plans: Sequence[Plan], store: Store) -> list[str]:
    """A line for each study of whose name the store has another, with other rows altogether.

    A study is known by the name of its file; the record of the other one is about to be replaced.
    """
    lines = []
    for plan in plans:
        earlier = read_record(store, store.study(plan.study))
        rows = {row.name for row in plan.rows}
        before = {row.name for row in earlier.rows} if earlier is not None else set()
        if earlier is not None and rows and before and rows.isdisjoint(before):
            lines.append(
                f"{plan.study}: takes the place of another study of that name in the store "
                f"({earlier.title}), whose runs stay; to keep both, give one file another name"
            )
    return lines


def _merged(earlier: StudyRecord | None, record: StudyRecord, plan: Plan) -> StudyRecord:
    """The record of the plan, with what an earlier record of the same corpus says beside it."""
    if earlier is None:
        return record
    asked = {row.name for row in plan.asked_rows}
    by_name = {row.name: row for row in earlier.rows}
    rows = []
    for row, planned in zip(record.rows, plan.rows, strict=True):
        before = by_name.get(row.name)
        if before is None or before.spec["corpus"] != row.spec["corpus"]:
            rows.append(row)
        elif row.name in asked:
            rows.append(_with_runs_of(row, before))
        else:
            rows.append(_still_noted(before, planned.as_record()))
    return replace(record, rows=tuple(rows))


def _with_runs_of(row: RowRecord, before: RowRecord) -> RowRecord:
    """The row; if it had the same settings before, with the runs of then, by seed and fold."""
    if decisive(row.spec) != decisive(before.spec):
        return row
    runs = {run.digest: run for run in (*before.runs, *row.runs)}
    return replace(row, runs=tuple(sorted(runs.values(), key=lambda run: (run.seed, run.fold))))


def _still_noted(before: RowRecord, filed: RowRecord) -> RowRecord:
    """A row that is not asked for now, as it was noted before.

    Its changes are those from the study's file of today, which says `filed`.
    """
    options = [change for change in before.changes if change.startswith("--")]
    texts = {change.partition("=")[0].strip(): change for change in before.changes}
    now = _settings(filed.spec)
    changed = [
        texts.get(key, f"{key}={json.dumps(value)}")
        for key, value in _settings(before.spec).items()
        if key in now and now[key] != value
    ]
    return replace(before, published=filed.published, changes=(*options, *changed))


def _settings(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of a specification that a study's file decides, by dotted key."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _settings(value, f"{prefix}{key}.")
        elif prefix and key not in NAMED_BY_CONTENT:
            found[prefix + key] = list(value) if isinstance(value, tuple) else value
    return found
