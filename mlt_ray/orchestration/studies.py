"""Studies from end to end: corpus, features, plan, runs, tracking."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mlt_ray.corpus.read import read_corpus
from mlt_ray.corpus.utterance import Corpus
from mlt_ray.display import Bars, duration
from mlt_ray.features.encoders import EncoderMissing
from mlt_ray.orchestration.estimate import estimate
from mlt_ray.orchestration.plan import Plan, distinct, make_plan, record
from mlt_ray.orchestration.prepare import Tools, check_usable, prepare, resolve
from mlt_ray.orchestration.progress import ProgressDisplay
from mlt_ray.orchestration.resources import Resources
from mlt_ray.spec import unknown_key
from mlt_ray.store import Store
from mlt_ray.study import Study


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a user asks to be computed, and where."""

    studies: Sequence[Study]
    corpus: Path
    store: Store
    rows: Sequence[str] = ()
    folds: Sequence[int] = ()
    seeds: Sequence[int] = ()
    glove: Path | None = None
    encoder: str | None = None
    tracking_uri: str | None = None
    address: str | None = None
    resources: Resources = field(default_factory=Resources)

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
    corpus, tools = _opened(request, console)
    studies = [resolve(s, corpus, tools, request.asked_rows) for s in request.studies]
    store = request.store
    with Bars(console) as bars:
        asked = request.asked_rows
        rows = [r for study in studies for r in study.rows if asked is None or r.name in asked]
        prepare(corpus, rows, store, tools, bars.show)
    computed = ", ".join(f"{total} {what}" for what, total in bars.totals.items())
    console.print(f"features: {computed or 'cached'}", highlight=False)
    plans = _plans(request, corpus, studies)
    for plan in plans:
        record(plan, store)
    left = distinct(run for plan in plans for run in plan.left(store))
    runs = {run.digest for plan in plans for row in plan.rows for run in row.asked}
    cached = len(runs) - len(left)
    console.print(f"runs: {len(runs)} asked for, {cached} in the store, {len(left)} to compute")

    # MLflow takes seconds to import: not before the user has seen what is going to happen.
    from mlt_ray.orchestration.tracking import Tracker, default_uri

    uri = request.tracking_uri or default_uri(store)
    tracker = Tracker(store, uri, [plan.study for plan in plans])
    tracker.sync()
    failures: tuple[str, ...] = ()
    if left:
        from mlt_ray.orchestration.execute import execute

        with ProgressDisplay(plans, store, console) as display:
            execute(left, store, request.resources, [display, tracker], request.address)
        failures = tuple(display.failures.values())
    return Outcome(computed=len(left) - len(failures), cached=cached, failures=failures)


def show_plan(request: Request, console: Console) -> None:
    """Print what would be computed, and for how long about, without computing it."""
    corpus, tools = _opened(request, console)
    try:
        studies = [resolve(s, corpus, tools, request.asked_rows) for s in request.studies]
    except EncoderMissing as missing:
        console.print(f"{missing}\nThe plan counts its runs as not done.", highlight=False)
        studies = [resolve(s, corpus, tools, asked=()) for s in request.studies]
    plans, store = _plans(request, corpus, studies), request.store
    table = Table(box=None, padding=(0, 2))
    for heading in ("study", "row", "done", "to compute", "time for one run"):
        table.add_column(heading, justify="left" if heading in ("study", "row") else "right")
    seconds, unknown = 0.0, 0
    seen: set[str] = set()
    for plan in plans:
        for row in plan.rows:
            if not row.asked:
                continue
            finished = store.finished(run.digest for run in row.asked)
            left = [r for r in row.asked if r.digest not in finished | seen]
            seen |= {run.digest for run in left}
            guess = estimate(row, corpus, store)
            if guess is None:
                unknown += len(left)
            else:
                seconds += guess.seconds * len(left)
            time = "known after the first" if guess is None else str(guess)
            cells = [f"{len(finished)}/{len(row.asked)}", str(len(left)), time]
            table.add_row(plan.study, escape(row.name), *cells)
    console.print(table)
    specs = {row.runs[0].spec for plan in plans for row in plan.rows if row.asked}
    runs = {run.digest for plan in plans for row in plan.rows for run in row.asked}
    console.print(
        f"{len(specs)} distinct configurations, {len(runs)} runs, {len(seen)} to compute: "
        f"{duration(seconds)} on one thread, less with every further one"
        + (f"; and {unknown} runs whose time is not known yet" if unknown else ""),
        highlight=False,
    )


def _opened(request: Request, console: Console) -> tuple[Corpus, Tools]:
    with console.status("reading the corpus"):
        corpus = read_corpus(request.corpus)
        check_usable(corpus, request.corpus)
        tools = Tools.load(request.glove, request.encoder)
    console.print(
        f"corpus: {corpus.name}, {len(corpus)} utterances, fingerprint {corpus.fingerprint}",
        highlight=False,
    )
    return corpus, tools


def _plans(request: Request, corpus: Corpus, studies: Sequence[Study]) -> list[Plan]:
    return [
        make_plan(study, corpus, rows=request.asked_rows, folds=request.folds, seeds=request.seeds)
        for study in studies
    ]
