"""Searches from end to end: proposals, cells, the best trained on all folds and seeds."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console
from rich.table import Table

from mlt_ray.corpus.utterance import Corpus
from mlt_ray.display.search import SearchDisplay
from mlt_ray.errors import UserError
from mlt_ray.planning.plan import (
    Plan,
    cells_values,
    left_of,
    make_plan,
    record,
    spec_of,
)
from mlt_ray.planning.resolve import Tools, resolve
from mlt_ray.planning.workspace import Setting
from mlt_ray.reports.search import search_table, write_search
from mlt_ray.search.configuration import Configuration
from mlt_ray.search.cross_validation import CrossValidationSearch
from mlt_ray.spec import RunSpec, digest_of
from mlt_ray.storage.lease import acquire
from mlt_ray.storage.store import Store
from mlt_ray.studies.space import SearchSpace
from mlt_ray.studies.study import Row, Study, load_study
from mlt_ray.workflows.run import run_plans


@dataclass(frozen=True, kw_only=True)
class SearchOutcome:
    """Whether the search came to its end, studies whose tables show it, and runs that failed."""

    complete: bool
    studies: tuple[str, ...]
    failures: tuple[str, ...]


class _Bench:
    """Makes a RunSpec of proposed values, with the features that it reads in the store."""

    def __init__(
        self, space: SearchSpace, corpus: Corpus, tools: Tools, setting: Setting, console: Console
    ) -> None:
        self.space = space
        self.corpus = corpus
        self._tools = tools
        self._setting = setting
        self._console = console
        self._prepared: set[object] = set()

    def row(self, values: Mapping[str, Any]) -> Row:
        """The resolved row of proposed values; `UserError` where none can be built."""
        study = Study(name=self.space.name, title="", seeds=(1,), rows=(self.space.row(values),))
        [row] = resolve(study, self.corpus, self._tools).rows
        return row

    def resolve(self, study: Study) -> Study:
        """A study on this corpus, whose encoders need not be at hand."""
        return resolve(study, self.corpus, self._tools, asked=())

    def configure(self, values: Mapping[str, Any]) -> RunSpec:
        """The specification of proposed values, ready to be trained."""
        row = self.row(values)
        read = (row.features, row.model.extras)
        if read not in self._prepared:
            self._setting.prepare(self.corpus, [row], self._tools, self._console)
            self._prepared.add(read)
        return spec_of(row, self.corpus)


def run_search(
    space: SearchSpace, setting: Setting, console: Console, timeout_s: float | None = None
) -> SearchOutcome:
    """Search a space, then train the best on all folds and seeds; both go on where they ended.

    Raises `UserError` for an unusable corpus, and where another process is at this search.
    """
    store = setting.store
    check_comparison(space)
    corpus, tools = setting.open(console)
    bench = _Bench(space, corpus, tools, setting, console)
    lease = acquire(store, f"search-{space.name}", owner=uuid.uuid4().hex)
    if lease is None:
        raise UserError(
            f"search {space.name}: expected to be alone in {store}, but another process "
            "is at it; wait for it, or name another --store"
        )
    with lease:
        database = store.root / "optuna.db"
        store.pull(database, fresh=True)
        try:
            search, complete = _explore(space, bench, setting, console, timeout_s)
        finally:
            store.push(database)
    folder = store.root / "reports" / space.name
    console.print(search_table(search))
    console.print(f"written: {write_search(search, folder)}", highlight=False, soft_wrap=True)
    store.push(folder)
    if not complete:
        console.print("time is up; the same command goes on from here")
        return SearchOutcome(complete=False, studies=(), failures=())
    best = search.best()
    if not best:
        raise UserError(
            f"search {space.name}: expected a complete configuration, found none; "
            "see the table above for why they ended"
        )
    return _train_best(space, best, bench, setting, console)


def _explore(
    space: SearchSpace,
    bench: _Bench,
    setting: Setting,
    console: Console,
    timeout_s: float | None,
) -> tuple[CrossValidationSearch, bool]:
    import optuna

    from mlt_ray.planning.observer import Observer
    from mlt_ray.planning.plan import RunName
    from mlt_ray.scheduling.connection import connection
    from mlt_ray.scheduling.execute import execute

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    store, labels = setting.store, {}
    plan: dict[str, Any] = {
        "study": f"{space.name} search",
        "title": space.title,
        "corpus": {"name": bench.corpus.name, "fingerprint": bench.corpus.fingerprint},
        "dev_only": True,
        "rows": [],
    }
    pending: list[Configuration] = []

    def propose(configuration: Configuration) -> None:
        row = {"name": configuration.name, **cells_values(configuration.cells)}
        plan["rows"].append(row)
        store.write_json(store.search(space.name), plan)
        for cell in configuration.cells:
            labels[cell.digest] = RunName(
                study=plan["study"], row=configuration.name, fold=cell.fold, seed=cell.seed
            )
        pending.append(configuration)
        if tracker is not None:
            tracker.add(plan["study"], row)

    tracker = None
    storage = optuna.storages.RDBStorage(f"sqlite:///{store.root / 'optuna.db'}")
    search = CrossValidationSearch(
        space,
        store,
        storage,
        bench.configure,
        identity=_identity(space, bench),
        on_proposal=propose,
    )
    known = len(search.configurations)
    console.print(
        f"search: {space.search.trials} configurations of "
        f"{'countless' if space.size is None else space.size}, {len(space.cells)} cells each; "
        f"{known} known already",
        highlight=False,
    )
    store.write_json(store.search(space.name), plan)
    tracker = setting.tracker([plan])
    complete = search.exhausted
    if not complete:
        with (
            SearchDisplay(search, tracker, console) as display,
            connection(setting.address),
        ):
            observers: list[Observer] = [tracker, display]
            complete = execute(search, labels, store, setting.resources, observers, timeout_s)
    return search, complete


def _identity(space: SearchSpace, bench: _Bench) -> str:
    """Names what the search's evidence is about; other evidence is another Optuna study."""
    lowest = spec_of(bench.row({p.key: p.values[0] for p in space.parameters}), bench.corpus)
    parameters = [[p.key, p.kind, list(p.values), p.step] for p in space.parameters]
    return digest_of([lowest.as_dict(), parameters, space.cells, space.objectives])[:8]


def _train_best(
    space: SearchSpace,
    best: Sequence[Configuration],
    bench: _Bench,
    setting: Setting,
    console: Console,
) -> SearchOutcome:
    """The best on all folds and seeds, as rows of a study that bears the search's name."""
    compared = _compared(space, bench, setting.store)
    names = {row.runs[0].spec: row for plan in compared for row in plan.rows}
    rows = []
    for place, configuration in enumerate(best, start=1):
        row, namesake = bench.row(configuration.values), names.get(configuration.spec)
        name = namesake.name if namesake else f"configuration {configuration.number}"
        published = namesake.published if namesake else None
        rows.append(replace(row, name=f"best {place}: {name}", published=published))
    study = Study(
        name=space.name,
        title=f"{space.title}: the best",
        seeds=space.seeds,
        rows=tuple(rows),
    )
    plan = make_plan(study, bench.corpus)
    outcome = run_plans([plan], left_of([plan], setting.store), setting, console)
    shown = (*(plan.study for plan in compared), space.name)
    return SearchOutcome(complete=True, studies=shown, failures=outcome.failures)


def _compared(space: SearchSpace, bench: _Bench, store: Store) -> list[Plan]:
    """The study that the best stand beside, with the runs of it that the store has; or none."""
    if space.search.compare is None:
        return []
    study = load_study(space.search.compare, space.overrides)
    plan = make_plan(bench.resolve(study), bench.corpus, rows=())
    record(plan, store)
    return [plan]


def check_comparison(space: SearchSpace) -> None:
    """`UserError` where the study that the best shall stand beside cannot be read."""
    if space.search.compare is not None:
        load_study(space.search.compare, space.overrides)


def show_space(space: SearchSpace, setting: Setting, console: Console) -> None:
    """Print what would be searched, without searching it."""
    check_comparison(space)
    corpus, tools = setting.open(console)
    bench = _Bench(space, corpus, tools, setting, console)
    bench.row({p.key: p.values[0] for p in space.parameters})
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
    size = "countless" if space.size is None else str(space.size)
    trials = min(space.search.trials, space.size or space.search.trials)
    best = min(space.search.best, trials)
    console.print(
        f"{size} configurations, {trials} to be proposed by {space.search.sampler}, "
        f"{len(space.cells)} cells each: at most {trials * len(space.cells)} runs, and at most "
        f"{best * len(space.seeds) * 5} for the best {best}",
        highlight=False,
    )


def parse_duration(option: str, text: str) -> float:
    """Seconds of a text such as ``90s``, ``30m`` or ``2h``."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    number, unit = text[:-1], text[-1:]
    if unit not in units or not number.replace(".", "", 1).isdigit() or float(number) <= 0:
        raise UserError(f"{option}: expected a time such as 90s, 30m or 2h, got {text!r}")
    return float(number) * units[unit]
