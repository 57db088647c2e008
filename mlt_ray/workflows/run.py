"""Studies from end to end: corpus, features, plan, runs, tracking."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mlt_ray.corpus.utterance import Corpus
from mlt_ray.display.bars import duration
from mlt_ray.display.run import ProgressDisplay
from mlt_ray.encoders.folder import EncoderMissing
from mlt_ray.parsing import unknown_key
from mlt_ray.planning.plan import (
    Plan,
    left_of,
    make_plan,
    record,
    recorded,
    spec_of,
)
from mlt_ray.planning.resolve import resolve
from mlt_ray.planning.resources import Resources
from mlt_ray.planning.workspace import Setting
from mlt_ray.spec import Run, RunSpec
from mlt_ray.studies.study import Study

if TYPE_CHECKING:
    from mlt_ray.planning.estimate import Estimate
    from mlt_ray.planning.observer import Observer


@dataclass(frozen=True, kw_only=True)
class Request:
    """Which rows, folds and seeds of which studies a user asks for; nothing means all."""

    studies: Sequence[Study]
    setting: Setting
    rows: Sequence[str] = ()
    folds: Sequence[int] = ()
    seeds: Sequence[int] = ()

    @property
    def asked_rows(self) -> frozenset[str] | None:
        """Names of the rows to compute, None for all; `UserError` for one that no study has.

        Each of `rows` is a name, or several with commas between them.
        """
        if not self.rows:
            return None
        names = [row.name for study in self.studies for row in study.rows]
        asked: set[str] = set()
        for text in self.rows:
            # A name may hold a comma itself.
            asked |= {text} if text in names else {part.strip() for part in text.split(",")}
        for name in sorted(asked):
            if name not in names:
                raise unknown_key("--rows", name, names, "row")
        return frozenset(asked)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How many runs were computed now, how many the store had, and why others failed."""

    computed: int
    cached: int
    failures: tuple[str, ...]


def run_studies(request: Request, console: Console) -> Outcome:
    """Compute what the store lacks of the studies, and bring MLflow up to date.

    Raises `UserError` for an unusable corpus or an impossible split before anything is computed.
    """
    setting, asked = request.setting, request.asked_rows
    corpus, tools = setting.open(console)
    studies = [resolve(s, corpus, tools, asked) for s in request.studies]
    plans = _plans(request, corpus, studies)
    left = left_of(plans, setting.store)
    specs = {run.spec for run in left}
    rows = [r for study in studies for r in study.rows if spec_of(r, corpus) in specs]
    if rows:
        setting.prepare(corpus, rows, tools, console)
    return run_plans(plans, left, setting, console)


def run_plans(
    plans: Sequence[Plan], left: Sequence[Run], setting: Setting, console: Console
) -> Outcome:
    """Compute the runs of the plans that are left (`left_of`), whose features are prepared."""
    store = setting.store
    for plan in plans:
        record(plan, store)
    runs = {run.digest for plan in plans for row in plan.rows for run in row.asked}
    cached = len(runs) - len(left)
    console.print(f"runs: {len(runs)} asked for, {cached} in the store, {len(left)} to compute")
    tracker = partial(setting.tracker, [recorded(plan.study, store) for plan in plans])
    failures: tuple[str, ...] = ()
    if left:
        failures = _train(plans, left, tracker, setting, console)
    else:
        tracker()
    return Outcome(computed=len(left) - len(failures), cached=cached, failures=failures)


def _train(
    plans: Sequence[Plan],
    left: Sequence[Run],
    tracker: Callable[[], "Observer"],
    setting: Setting,
    console: Console,
) -> tuple[str, ...]:
    from mlt_ray.planning.observer import Background
    from mlt_ray.planning.plan import RunName
    from mlt_ray.planning.source import Queue
    from mlt_ray.scheduling.connection import connection

    labels: dict[str, RunName] = {}
    for plan in plans:
        for row in plan.rows:
            for run in row.runs:
                label = RunName(study=plan.study, row=row.name, fold=run.fold, seed=run.seed)
                labels.setdefault(run.digest, label)

    def make_tracker() -> "Observer":
        # Tune and MLflow take together about as long to import as Ray takes to start.
        import mlt_ray.scheduling.execute  # noqa: F401

        return tracker()

    with (
        ProgressDisplay(plans, setting.store, console) as display,
        Background(make_tracker) as tracking,
        connection(setting.address),
    ):
        from mlt_ray.scheduling.execute import execute, with_gpus

        resources = with_gpus(setting.resources)
        tell_packs(plans, resources, console)
        observers: list[Observer] = [display, tracking]
        execute(Queue(left), labels, setting.store, resources, observers)
    return tuple(display.failures.values())


def tell_packs(plans: Sequence[Plan], resources: Resources, console: Console) -> None:
    """Say how many runs go side by side where any do, and of which rows none."""
    if resources.max_pack_size == 1:
        return
    rows = {row.name: row.runs[0].spec for plan in plans for row in plan.rows if row.asked}
    singles = sorted(name for name, spec in rows.items() if resources.pack_size(spec) == 1)
    if len(singles) < len(rows):
        most = max(len(row.asked) for plan in plans for row in plan.rows)
        size = min(resources.max_pack_size, most)
        console.print(f"packs of up to {size} runs", highlight=False)
    if singles:
        console.print(
            f"one by one, since a pack gains nothing there: {'; '.join(singles)}",
            highlight=False,
            markup=False,
        )


def show_plan(request: Request, console: Console) -> None:
    """Print what would be computed, and for how long about, without computing it."""
    from mlt_ray.planning.estimate import estimate

    corpus, tools = request.setting.open(console)
    try:
        studies = [resolve(s, corpus, tools, request.asked_rows) for s in request.studies]
    except EncoderMissing as missing:
        console.print(f"{missing}\nThe plan counts its runs as not done.", highlight=False)
        studies = [resolve(s, corpus, tools, asked=()) for s in request.studies]
    plans, store = _plans(request, corpus, studies), request.setting.store
    asked = [row for plan in plans for row in plan.rows if row.asked]
    request.setting.check_precision(row.runs[0].spec.training for row in asked)
    table = Table(box=None, padding=(0, 2))
    for heading in ("study", "row", "done", "to compute", "time for one run"):
        table.add_column(heading, justify="left" if heading in ("study", "row") else "right")
    seconds, unknown = 0.0, 0
    seen: set[str] = set()
    guesses: dict[RunSpec, Estimate | None] = {}
    for plan in plans:
        for row in plan.rows:
            if not row.asked:
                continue
            finished = store.finished(run.digest for run in row.asked)
            left = [r for r in row.asked if r.digest not in finished | seen]
            seen |= {run.digest for run in left}
            spec = row.runs[0].spec
            if spec not in guesses:
                guesses[spec] = estimate(row, corpus, store)
            guess = guesses[spec]
            if guess is None:
                unknown += len(left)
            else:
                seconds += guess.seconds * len(left)
            time = "known after the first" if guess is None else str(guess)
            cells = [f"{len(finished)}/{len(row.asked)}", str(len(left)), time]
            table.add_row(plan.study, escape(row.name), *cells)
    console.print(table)
    runs = {run.digest for plan in plans for row in plan.rows for run in row.asked}
    times = []
    if len(seen) > unknown:
        times.append(f"{duration(seconds)} on one thread, less with every further one")
    if unknown:
        times.append(f"{unknown} runs whose time is not known yet")
    console.print(
        f"{len(guesses)} distinct configurations, {len(runs)} runs, {len(seen)} to compute"
        + "".join(f"; {time}" for time in times),
        highlight=False,
    )
    tell_packs(plans, request.setting.with_gpus_here(), console)


def _plans(request: Request, corpus: Corpus, studies: Sequence[Study]) -> list[Plan]:
    return [
        make_plan(study, corpus, rows=request.asked_rows, folds=request.folds, seeds=request.seeds)
        for study in studies
    ]
