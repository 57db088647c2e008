"""A study from its rows to results in the store: corpus, plan, features, runs, tracking."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mlt_ray.corpus.fold_notes import describe, fold_notes, sizes_text
from mlt_ray.corpus.folds import make_folds
from mlt_ray.corpus.labelling import select
from mlt_ray.corpus.utterance import Corpus, unlisted_text
from mlt_ray.display.bars import Bars, duration, reading
from mlt_ray.display.lines import say
from mlt_ray.display.run import RunDisplay
from mlt_ray.display.waiting import waiting
from mlt_ray.encoders.folder import EncoderMissing
from mlt_ray.labels import Labels
from mlt_ray.libraries import LibraryMissing
from mlt_ray.parsing import unknown_key
from mlt_ray.planning.backlog import (
    Backlog,
    latest_records,
    note_plans,
    other_studies,
    other_versions,
    take_stock,
)
from mlt_ray.planning.memory.needs import Need, check_memory, text
from mlt_ray.planning.observer import Observer
from mlt_ray.planning.plan import Plan, make_plan, spec_of
from mlt_ray.planning.resources import Resources
from mlt_ray.planning.source import Queue
from mlt_ray.planning.states import StatesLeft
from mlt_ray.planning.workspace import Places, Workspace
from mlt_ray.spec import RunSpec
from mlt_ray.storage.record import StudyRecord
from mlt_ray.storage.store import Store
from mlt_ray.studies.study import Row, Study
from mlt_ray.tracking.location import tracking_location, usable_location

if TYPE_CHECKING:
    from mlt_ray.encoders.embedding import Embedder
    from mlt_ray.planning.estimate import Estimate
    from mlt_ray.tracking.tracker import Tracker


@dataclass(frozen=True, kw_only=True)
class Request:
    """Which rows, folds and seeds of which studies a user asks for; empty means all."""

    studies: Sequence[Study]
    places: Places
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
        for given in self.rows:
            # A name may hold a comma itself.
            asked |= {given} if given in names else {part.strip() for part in given.split(",")}
        for name in sorted(asked):
            if name not in names:
                raise unknown_key("--rows", name, names, "row")
        return frozenset(asked)

    @property
    def asked_labels(self) -> tuple[Labels, ...]:
        """What counts in the rows to compute, each way once."""
        asked = self.asked_rows
        rows = (row for study in self.studies for row in study.rows)
        found = (row.labels for row in rows if asked is None or row.name in asked)
        return tuple(dict.fromkeys(found))


@dataclass(frozen=True, kw_only=True)
class StudyOutcome:
    """How many runs were computed now, how many the store had, and why others failed.

    `records` are those of the studies, as their tables shall show them. `tracker` writes to MLflow.
    """

    computed: int
    cached: int
    failures: tuple[str, ...]
    records: tuple[StudyRecord, ...]
    tracker: "Tracker"


def run_studies(request: Request, console: Console) -> StudyOutcome:
    """Compute what the store lacks of the studies, and bring MLflow up to date.

    Raises `UserError` for an unusable corpus or an impossible split before anything is computed.
    """
    asked = request.asked_rows
    request.places.store.check_writable()
    workspace = open_workspace(request.places, request.asked_labels, console)
    studies = [workspace.name_contents(study, asked) for study in request.studies]
    backlog = take_stock(_plans(request, workspace, studies), workspace.store)
    tell_folds(backlog, workspace.corpus, console)
    tell_versions(backlog, workspace.store, console)
    needs: Sequence[Need] = ()
    if rows := _rows_left(studies, backlog, workspace):
        needs = needs_of(backlog, workspace, {run.spec for run in backlog.left})
        workspace.check_memory(needs)
        tell_texts(rows, workspace, console)
        check_joinable(request.places)
        fill_cache(workspace, rows, console)
    return compute(backlog, request.places, console, needs)


def needs_of(backlog: Backlog, workspace: Workspace, specs: Collection[RunSpec]) -> list[Need]:
    """The memory that the runs take that are left of each of these configurations."""
    counts = Counter(run.spec for run in backlog.left)
    rows = {row.spec: row for plan in backlog.plans for row in plan.asked_rows}
    return [
        workspace.need(row.name, row.labels, spec, counts[spec])
        for spec, row in rows.items()
        if spec in specs
    ]


def _rows_left(studies: Sequence[Study], backlog: Backlog, workspace: Workspace) -> tuple[Row, ...]:
    """The rows of which runs are left."""
    rows = (row for study in studies for row in study.rows)
    return tuple(row for row in rows if spec_of(row, workspace.corpus) in backlog.specs_left)


def open_workspace(places: Places, labels: Collection[Labels], console: Console) -> Workspace:
    """Open the places and say what the corpus is; `UserError` if one cannot be used.

    `labels` say what counts in the rows that are asked for.
    """
    places.check_machine()
    usable_location(places.store, places.tracking_uri)
    with reading(console) as progress:
        workspace = Workspace.open(places, labels, progress)
    notes: dict[str, None] = {}
    for counted in labels:
        corpus = select(workspace.corpus, counted)
        say(console, corpus_line(corpus, counted))
        notes |= dict.fromkeys(map(str, corpus.problems))
    if line := unlisted_text(workspace.corpus.unlisted):
        notes[f"{line}; mlt-ray corpus check --all names them"] = None
    for line in notes:
        say(console, f"note: {line}")
    return workspace


def corpus_line(corpus: Corpus, labels: Labels) -> str:
    """What counts of a corpus: how many utterances of each class, and what is left out."""
    counts = Counter(u.emotion for u in corpus.utterances)
    classes = ", ".join(f"{name} {counts[name]}" for name in corpus.classes)
    line = f"corpus: {corpus.name}, {len(corpus)} utterances, fingerprint {corpus.fingerprint}"
    line += f"; labels {labels}: {classes}" if labels.name else f"; labels: {classes}"
    if corpus.left_out:
        line += f"; left out: {', '.join(f'{name} {n}' for name, n in corpus.left_out.items())}"
    return line


def fill_cache(
    workspace: Workspace, rows: Sequence[Row], console: Console, *, here: bool = False
) -> None:
    """Compute the features of rows that are not in the store, and say how many that were.

    On a cluster its workers compute the states of speech encoders, unless all of it shall be
    computed `here`, in this process.
    """
    left = workspace.states_left(rows)
    tell_states(left, console)
    is_wanted = not here and bool(left)
    with Bars(console) as bars, _embedder(workspace, is_wanted, console) as embed:
        workspace.fill_cache(rows, bars.show, embed)
    computed = ", ".join(f"{total} {what}" for what, total in bars.totals.items())
    console.print(f"features: {computed or 'cached'}", highlight=False)


def tell_states(left: Iterable[StatesLeft], console: Console) -> None:
    """Say what speech encoders compute, and how much of it is stored, before they do."""
    for states in left:
        say(console, f"states: {states}")


@contextmanager
def _embedder(
    workspace: Workspace, is_wanted: bool, console: Console
) -> "Iterator[Embedder | None]":
    """What computes the states of speech encoders: None for this process."""
    places = workspace.places
    if places.is_local or not is_wanted:
        yield None
        return
    from mlt_ray.scheduling.embedding import cluster_embedder

    with joined(places, console) as resources:
        yield cluster_embedder(workspace.store, resources)


def compute(
    backlog: Backlog, places: Places, console: Console, needs: Sequence[Need] = ()
) -> StudyOutcome:
    """Compute the runs of a backlog that are left, whose features are in the store.

    `needs` say how much memory they take. Raises `UserError` if a cluster lacks it.
    """
    noted = note_plans(backlog.plans, places.store)
    asked, left = backlog.num_asked, len(backlog.left)
    console.print(f"runs: {asked} asked for, {asked - left} in the store, {left} to compute")
    failures: tuple[str, ...] = ()
    tracker = None
    if left:
        failures, tracker = _train(backlog, noted, places, console, needs)
    records = latest_records(backlog.plans, noted, places.store)
    if tracker is None or _digests(records) != _digests(noted):
        # What another driver has noted meanwhile belongs to these rows' means too.
        with waiting(console, "recording in MLflow"):
            tracker = open_tracker(records, places)
    return StudyOutcome(
        computed=left - len(failures),
        cached=asked - left,
        failures=failures,
        records=tuple(records),
        tracker=tracker,
    )


def _digests(records: Sequence[StudyRecord]) -> set[tuple[str, str, str]]:
    """Study, row and digest of every run that is noted."""
    return {(r.study, row.name, run.digest) for r in records for row in r.rows for run in row.runs}


def open_tracker(records: Sequence[StudyRecord], places: Places) -> "Tracker":
    """The tracker of records, after everything was written that MLflow lacked."""
    # MLflow takes seconds to import: not before the user has seen what is going to happen.
    from mlt_ray.tracking.tracker import Tracker

    store = places.store
    tracker = Tracker(store, tracking_location(store, places.tracking_uri), records)
    tracker.sync()
    return tracker


def check_joinable(places: Places) -> None:
    """`UserError` if a cluster is named that does not answer: before features are computed."""
    if not places.is_local:
        from mlt_ray.scheduling.cluster import check_address

        check_address(places.address)


@contextmanager
def joined(places: Places, console: Console) -> Iterator[Resources]:
    """Ray, started on this machine or joined; yields what a run gets of it."""
    from mlt_ray.scheduling.connection import connection

    what = "starting Ray" if places.is_local else "joining the Ray cluster"
    with ExitStack() as stack:
        with waiting(console, what):
            resources = stack.enter_context(connection(places.address, places.resources))
        yield resources


def _train(
    backlog: Backlog,
    records: Sequence[StudyRecord],
    places: Places,
    console: Console,
    needs: Sequence[Need],
) -> "tuple[tuple[str, ...], Tracker]":
    """Train what is left on this machine or a cluster; returns why runs failed, and the tracker."""

    def make_tracker() -> "Tracker":
        # Tune and MLflow take together about as long to import as Ray takes to start.
        import mlt_ray.scheduling.execute  # noqa: F401

        return open_tracker(records, places)

    from mlt_ray.tracking.background import InBackground

    with ExitStack() as background:
        tracking = background.enter_context(InBackground(make_tracker))
        with joined(places, console) as resources, RunDisplay(backlog, console) as display:
            from mlt_ray.scheduling.execute import execute

            check_cluster(places, needs, resources)
            tell_packs(backlog.plans, resources, console)
            observers: list[Observer] = [display, tracking]
            execute(Queue(backlog.left), backlog.names, places.store, resources, observers)
        with waiting(console, "recording in MLflow"):
            background.close()
    return tuple(display.failures.values()), tracking.tracker


def check_cluster(places: Places, needs: Iterable[Need], resources: Resources) -> None:
    """`UserError` if no machine of the cluster that was joined has the memory for a run."""
    if not places.is_local:
        from mlt_ray.scheduling.connection import cluster_nodes

        check_memory(needs, resources, cluster_nodes(), "a machine of the cluster has")


def tell_folds(backlog: Backlog, corpus: Corpus, console: Console) -> None:
    """Say how the rows that are asked for are divided, and what makes their scores less."""
    rows = (row for plan in backlog.plans for row in plan.asked_rows)
    found = dict.fromkeys((r.labels, r.spec.folds, r.spec.features.standardise) for r in rows)
    ways = [(select(corpus, labels), folds, by) for labels, folds, by in found]
    for counted, spec, by in ways:
        sizes = sizes_text(make_folds(counted, spec))
        console.print(f"folds: {describe(spec, by)}; {sizes}", highlight=False, soft_wrap=True)
    for line in fold_notes(dict.fromkeys((counted, spec) for counted, spec, _ in ways)):
        say(console, f"note: {line}")


def tell_texts(rows: Iterable[Row], workspace: Workspace, console: Console) -> None:
    """Say which texts or words rows cannot read; those that read no words are not concerned."""
    for line in workspace.text_notes(rows):
        say(console, f"note: {line}")


def tell_versions(backlog: Backlog, store: Store, console: Console) -> None:
    """Say which rows are computed anew, and which studies take the place of others."""
    for line in (*other_studies(backlog.plans, store), *other_versions(backlog.plans, store)):
        say(console, f"note: {line}")


def tell_packs(plans: Sequence[Plan], resources: Resources, console: Console) -> None:
    """Say how many runs go side by side, if any do, and the rows of which none do."""
    if resources.max_pack_size == 1:
        return
    rows = {row.name: row.spec for plan in plans for row in plan.asked_rows}
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

    places = replace(request.places, store=request.places.store.looking())
    workspace = open_workspace(places, request.asked_labels, console)
    is_whole = True
    try:
        studies = [workspace.name_contents(s, request.asked_rows) for s in request.studies]
    except (EncoderMissing, LibraryMissing) as missing:
        is_whole = False
        say(console, str(missing))
        say(console, "The plan counts its runs as not done.")
        studies = [workspace.name_contents(s, asked=()) for s in request.studies]
    backlog = take_stock(_plans(request, workspace, studies), places.store)
    tell_folds(backlog, workspace.corpus, console)
    tell_versions(backlog, workspace.store, console)
    rows = _rows_left(studies, backlog, workspace)
    tell_texts(rows, workspace, console)
    if is_whole:
        tell_states(workspace.states_left(rows), console)
    asked = [(plan, row) for plan in backlog.plans for row in plan.asked_rows]
    places.check_precision(row.spec.training for _, row in asked)
    specs = {row.spec for _, row in asked}
    needs = {need.spec: need for need in needs_of(backlog, workspace, specs)}
    workspace.check_memory(needs.values())
    table = Table(box=None, padding=(0, 2))
    for heading in ("study", "row", "done", "to compute", "time for one run", "memory"):
        table.add_column(heading, justify="left" if heading in ("study", "row") else "right")
    seconds, num_unknown = 0.0, 0
    counted: set[str] = set()
    estimates: dict[RunSpec, Estimate | None] = {}
    for plan, row in asked:
        done = [run for run in row.asked if run.digest in backlog.done]
        left = {run.digest for run in row.asked} - backlog.done - counted
        counted |= left
        if row.spec not in estimates:
            estimates[row.spec] = estimate(row, workspace.corpus, places.store)
        found = estimates[row.spec]
        if found is None:
            num_unknown += len(left)
        else:
            seconds += found.seconds * len(left)
        memory = needs[row.spec].memory
        cells = [f"{len(done)}/{len(row.asked)}", str(len(left)), _time_of(found)]
        cells.append("not known" if memory is None else text(memory.process(1, on_gpu=False)))
        table.add_row(plan.study, escape(row.name), *cells)
    console.print(table)
    times = []
    if len(counted) > num_unknown:
        times.append(f"{duration(seconds)} on one thread, less with every further one")
    if num_unknown:
        times.append(f"{num_unknown} runs whose time is not known yet")
    console.print(
        f"{len(estimates)} distinct configurations, {backlog.num_asked} runs, "
        f"{len(counted)} to compute" + "".join(f"; {time}" for time in times),
        highlight=False,
    )
    tell_packs(backlog.plans, places.resources_here(), console)


def _time_of(estimate: "Estimate | None") -> str:
    if estimate is None:
        return "known after the first"
    text = duration(estimate.seconds)
    return text if estimate.is_measured else f"up to about {text}"


def _plans(request: Request, workspace: Workspace, studies: Sequence[Study]) -> list[Plan]:
    return [
        make_plan(
            study,
            workspace.corpus,
            rows=request.asked_rows,
            folds=request.folds,
            seeds=request.seeds,
        )
        for study in studies
    ]
