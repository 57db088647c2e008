"""A search from its space to its best: proposals, their runs, the best on all folds and seeds."""

import math
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from mlt_ray.corpus.fold_notes import fold_notes
from mlt_ray.corpus.labelling import select
from mlt_ray.display.lines import say
from mlt_ray.display.waiting import waiting
from mlt_ray.errors import UserError
from mlt_ray.planning.backlog import latest_records, note_plans, take_stock
from mlt_ray.planning.memory.needs import Need
from mlt_ray.planning.observer import Observer
from mlt_ray.planning.plan import Plan, RunName, make_plan, spec_of
from mlt_ray.planning.workspace import Places, Workspace
from mlt_ray.reports.search import search_table, write_search
from mlt_ray.spec import RunSpec, decisive, digest_of
from mlt_ray.storage.lease import Lease, acquire
from mlt_ray.storage.record import RowRecord, StudyRecord, best_name, run_records, write_record
from mlt_ray.studies.space import SearchSpace, describe
from mlt_ray.studies.study import Row, Study, load_study
from mlt_ray.workflows.run import (
    check_cluster,
    check_joinable,
    compute,
    fill_cache,
    joined,
    open_tracker,
    open_workspace,
    tell_texts,
)

if TYPE_CHECKING:
    from mlt_ray.search.configuration import Configuration
    from mlt_ray.search.cross_validation import CrossValidationSearch
    from mlt_ray.tracking.background import InBackground
    from mlt_ray.tracking.tracker import Tracker


QUICK_S = 0.05
"""Seconds that writing the record may take for every configuration that is proposed."""

SHARE = 20
"""Where it takes longer, since there are many, so many times as long passes until the next time."""


@dataclass(frozen=True, kw_only=True)
class SearchOutcome:
    """Whether the search came to its end, the studies that show it, and runs that failed.

    `records` are those of the studies, as their tables shall show them. `tracker` writes the best
    to MLflow.
    """

    complete: bool
    records: tuple[StudyRecord, ...]
    failures: tuple[str, ...]
    tracker: "Tracker | None" = None


def run_search(
    space: SearchSpace, places: Places, console: Console, timeout_s: float | None = None
) -> SearchOutcome:
    """Search a space, then train the best on all folds and seeds; both go on where they ended.

    Raises `UserError` for an unusable corpus, and if another process is at this search.
    """
    store = places.store
    store.check_writable()
    compared = _load_compared(space)
    workspace = open_workspace(places, [space.first_row.labels], console)
    tell_texts([space.first_row], workspace, console)
    lease = acquire(store, f"search-{space.name}", owner=uuid.uuid4().hex)
    if lease is None:
        raise UserError(
            f"search {space.name}: expected to be alone in {store}, but another process "
            "is at it; wait for it, or name another --store"
        )
    with lease:
        search, complete = _explore(space, workspace, console, timeout_s, lease)
        notes = _notes(space, [c.spec for c in search.configurations], workspace)
        folder, results = store.report_dir(space.name), search.results()
        console.print(search_table(space, results, notes))
        written = write_search(space, results, folder, notes, search.importances())
        console.print(f"written: {written}", highlight=False, soft_wrap=True)
        store.push(folder)
    if not complete:
        console.print("time is up; the same command goes on from here")
        return SearchOutcome(complete=False, records=(), failures=())
    best = search.best()
    if not best:
        raise UserError(
            f"search {space.name}: expected a complete configuration, found none; "
            "see the table above for why they ended"
        )
    return _train_best(space, best, compared, workspace, console)


def _notes(space: SearchSpace, specs: Sequence[RunSpec], workspace: Workspace) -> tuple[str, ...]:
    """What a reader of the search's scores must know."""
    changed = [f"changed from the file: {', '.join(space.overrides)}"] if space.overrides else []
    corpus = select(workspace.corpus, space.first_row.labels)
    return (*changed, *fold_notes((corpus, f) for f in dict.fromkeys(s.folds for s in specs)))


def _explore(
    space: SearchSpace,
    workspace: Workspace,
    console: Console,
    timeout_s: float | None,
    lease: Lease,
) -> "tuple[CrossValidationSearch, bool]":
    """Propose configurations and compute their runs; also tells whether that came to its end.

    Raises `UserError` once the lease of the search is lost.
    """
    from mlt_ray.display.search import SearchDisplay
    from mlt_ray.scheduling.execute import execute
    from mlt_ray.search.cross_validation import CrossValidationSearch
    from mlt_ray.search.database import open_database

    store, places = workspace.store, workspace.places
    first = _first_spec(space, workspace)
    needs = [_need_of_first(space, first, workspace)]
    workspace.check_memory(needs)
    logbook = _Logbook(space, workspace, console, lease)
    with open_database(store) as storage:
        search = CrossValidationSearch(
            space,
            store,
            storage,
            logbook.configure,
            identity=_identity(space, first),
            on_proposal=logbook.note,
            on_end=logbook.tag,
        )
        console.print(
            f"search: {space.search.trials} configurations of "
            f"{'countless' if space.size is None else space.size}, "
            f"{len(space.fold_seeds(first.folds.num_folds))} cells each; "
            f"{len(search.configurations)} known already",
            highlight=False,
        )
        with ExitStack() as background:
            tracking = background.enter_context(logbook.open())
            background.callback(logbook.close)
            complete = search.exhausted
            if not complete:
                check_joinable(places)
                if not places.is_local:
                    # By the cluster's workers, for most spaces all that their rows read.
                    logbook.prepare(_named(space, space.first_row, workspace))
                with joined(places, console) as resources, SearchDisplay(search, console) as shown:
                    check_cluster(places, needs, resources)
                    logbook.is_connected = True
                    observers: list[Observer] = [tracking, shown]
                    complete = execute(
                        search, logbook.names, store, resources, observers, timeout_s
                    )
            with waiting(console, "recording in MLflow"):
                background.close()
    return search, complete


class _Logbook:
    """Keeps account of a search's configurations: what they read, the store's record, MLflow.

    `names` are the names of their runs, by digest. `is_connected`: this process has joined Ray.
    """

    def __init__(
        self, space: SearchSpace, workspace: Workspace, console: Console, lease: Lease
    ) -> None:
        self.names: dict[str, RunName] = {}
        self.is_connected = False
        self._space, self._workspace, self._console = space, workspace, console
        self._lease = lease
        self._prepared: set[object] = set()
        self._write_at_s, self._is_behind = -math.inf, False
        self._tracker: InBackground | None = None
        self._record = StudyRecord(
            study=f"{space.name} search",
            title=space.title,
            corpus=workspace.corpus.name,
            fingerprint=workspace.corpus.fingerprint,
            rows=(),
            is_search=True,
        )

    def prepare(self, row: Row) -> None:
        """Put what a row reads into the store.

        While runs are trained that is computed here: Tune, which waits for the row, would wait
        without end for workers of the cluster, since those that have ended their run wait for Tune.
        """
        read = (row.features, row.model.extras, row.model.source)
        if read not in self._prepared:
            fill_cache(self._workspace, [row], self._console, here=self.is_connected)
            self._prepared.add(read)

    def configure(self, values: Mapping[str, Any]) -> RunSpec:
        """The specification of proposed values, with the features that it reads in the store."""
        row = _row(self._space, values, self._workspace)
        spec = spec_of(row, self._workspace.corpus)
        num_cells = len(self._space.fold_seeds(spec.folds.num_folds))
        need = self._workspace.need(describe(values), row.labels, spec, num_cells)
        self._workspace.check_memory([need])
        self.prepare(row)
        return spec

    def note(self, configuration: "Configuration") -> None:
        """Note a new configuration in the store and in MLflow, and name its runs.

        Those that are known already come first, before `open`, which notes them together: a record
        of some would hide the others if the command were killed then.
        """
        _check_alone(self._space, self._lease)
        runs = configuration.runs
        row = RowRecord(
            name=configuration.name, spec=configuration.spec.as_dict(), runs=run_records(runs)
        )
        self._record = replace(self._record, rows=(*self._record.rows, row))
        for run in runs:
            self.names[run.digest] = RunName(
                study=self._record.study, row=row.name, fold=run.fold, seed=run.seed
            )
        if self._tracker is not None:
            self._is_behind = time.monotonic() < self._write_at_s
            if not self._is_behind:
                self._write()
            self._tracker.add(self._record.study, row)

    def tag(self, configuration: "Configuration") -> None:
        """Write to MLflow how a configuration has ended."""
        _check_alone(self._space, self._lease)
        if self._tracker is not None:
            tags = {"state": str(configuration.state), "reason": configuration.reason}
            self._tracker.note(self._record.study, configuration.name, tags)

    def open(self) -> "InBackground":
        """Write the record of the configurations so far, and from now on MLflow too.

        In a thread of its own: Tune's loop, which starts every run, must not wait for MLflow.
        """
        from mlt_ray.tracking.background import InBackground

        self._write()
        record, places = self._record, self._workspace.places
        self._tracker = InBackground(lambda: open_tracker([record], places))
        return self._tracker

    def close(self) -> None:
        """Write the record of all configurations, if it is behind."""
        if self._is_behind and not self._lease.lost:
            self._write()

    def _write(self) -> None:
        store, began_s = self._workspace.store, time.monotonic()
        write_record(store, store.search(self._space.name), self._record)
        ended_s = time.monotonic()
        if ended_s - began_s > QUICK_S:
            self._write_at_s = ended_s + SHARE * (ended_s - began_s)


def _check_alone(space: SearchSpace, lease: Lease) -> None:
    """`UserError` if another process may be at this search now."""
    if lease.lost:
        raise UserError(
            f"search {space.name}: expected to be alone at it, but another process has taken it "
            "over, as this one did not answer for a while; what is finished is kept"
        )


def _row(space: SearchSpace, values: Mapping[str, Any], workspace: Workspace) -> Row:
    """The row of proposed values, its contents named; `UserError` if it cannot be built."""
    return _named(space, space.row(values), workspace)


def _named(space: SearchSpace, row: Row, workspace: Workspace) -> Row:
    [named] = workspace.name_contents(
        Study(name=space.name, title="", seeds=(1,), rows=(row,))
    ).rows
    return named


def _first_spec(space: SearchSpace, workspace: Workspace) -> RunSpec:
    """What decides the numbers of the configuration with the first value of every parameter."""
    return spec_of(_named(space, space.first_row, workspace), workspace.corpus)


def _need_of_first(space: SearchSpace, first: RunSpec, workspace: Workspace) -> Need:
    """The memory that the runs of that configuration take."""
    name = describe({p.key: p.values[0] for p in space.parameters})
    num_cells = len(space.fold_seeds(first.folds.num_folds))
    return workspace.need(name, space.first_row.labels, first, num_cells)


def _identity(space: SearchSpace, first: RunSpec) -> str:
    """Names what the search's evidence is about; other evidence is another Optuna study."""
    fold_seeds = space.fold_seeds(first.folds.num_folds)
    parameters = [[p.key, p.kind, list(p.values), p.step] for p in space.parameters]
    return digest_of([decisive(first.as_dict()), parameters, fold_seeds, space.objectives])[:8]


def _train_best(
    space: SearchSpace,
    best: "Sequence[Configuration]",
    compared: Study | None,
    workspace: Workspace,
    console: Console,
) -> SearchOutcome:
    """The best on all folds and seeds, as rows of a study that bears the search's name.

    A configuration that is also a row of the `compared` study bears that row's name.
    """
    beside, noted = _note_compared(compared, workspace)
    namesakes = {row.spec: row for plan in beside for row in plan.rows}
    rows = []
    for place, configuration in enumerate(best, start=1):
        row = _row(space, configuration.values, workspace)
        namesake = namesakes.get(configuration.spec)
        name = namesake.name if namesake else f"configuration {configuration.number}"
        published = namesake.published if namesake else None
        rows.append(replace(row, name=best_name(place, name), published=published))
    study = Study(
        name=space.name,
        title=f"{space.title}: the best",
        seeds=space.seeds,
        rows=tuple(rows),
    )
    plan = make_plan(study, workspace.corpus)
    outcome = compute(take_stock([plan], workspace.store), workspace.places, console)
    shown = (*latest_records(beside, noted, workspace.store), *outcome.records)
    return SearchOutcome(
        complete=True, records=shown, failures=outcome.failures, tracker=outcome.tracker
    )


def _load_compared(space: SearchSpace) -> Study | None:
    """The study that the best stand beside, if the space names one; `UserError` for a bad one."""
    if space.search.compare is None:
        return None
    return load_study(space.search.compare, space.overrides)


def _note_compared(
    study: Study | None, workspace: Workspace
) -> tuple[list[Plan], list[StudyRecord]]:
    """The plan of that study and what is noted of it, with the runs that the store has; or none."""
    if study is None:
        return [], []
    named = workspace.name_contents(study, asked=())
    plan = make_plan(named, workspace.corpus, rows=())
    return [plan], note_plans([plan], workspace.store)


def show_space(space: SearchSpace, places: Places, console: Console) -> None:
    """Print what would be searched, without searching it."""
    _load_compared(space)
    workspace = open_workspace(places, [space.first_row.labels], console)
    tell_texts([space.first_row], workspace, console)
    first = _first_spec(space, workspace)
    table = Table(box=None, padding=(0, 2))
    for heading in ("parameter", "kind", "values"):
        table.add_column(heading)
    for parameter in space.parameters:
        values = ", ".join(map(str, parameter.values))
        if parameter.kind != "choice":
            values = " to ".join(map(str, parameter.values))
            if parameter.step is not None:
                values += f" by {parameter.step:g}"
        table.add_row(parameter.key, parameter.kind, values)
    console.print(table)
    workspace.check_memory([_need_of_first(space, first, workspace)])
    size = "countless" if space.size is None else str(space.size)
    trials = min(space.search.trials, space.size or space.search.trials)
    best, num_runs = min(space.search.best, trials), len(space.fold_seeds(first.folds.num_folds))
    console.print(
        f"{size} configurations, {trials} to be proposed by {space.search.sampler}, "
        f"{num_runs} cells each: at most {trials * num_runs} runs, and at most "
        f"{best * len(space.seeds) * first.folds.num_folds} for the best {best}",
        highlight=False,
    )
    for line in _notes(space, [first], workspace):
        say(console, f"note: {line}")
