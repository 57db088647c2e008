"""The command line: parse, call, print. Verbs import what they need when they are called."""

import atexit
import contextlib
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console

from mlt_ray.cli.options import (
    DEFAULT_STORE,
    Address,
    Out,
    Store,
    Studies,
    TrackingUri,
    Training,
    trains,
)
from mlt_ray.display.bars import counting
from mlt_ray.errors import INTERRUPTED, UserError

if TYPE_CHECKING:
    from mlt_ray.planning.workspace import Setting
    from mlt_ray.storage.store import Store as RunStore
    from mlt_ray.workflows.run import Request

app = typer.Typer(
    help="Cross-validated multimodal speech emotion recognition, orchestrated with Ray.",
    epilog="Start with: mlt-ray demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
corpus_app = typer.Typer(help="Make, voice and check corpora.", no_args_is_help=True)
app.add_typer(corpus_app, name="corpus")

DEMO = ("demo",)
DEMO_ALL = (*DEMO, "demo_baselines", "demo_table2", "demo_table3")


def main() -> NoReturn:
    """Entry point: a user's mistake is one line on stderr and exit code 2."""
    try:
        app()
    except UserError as error:
        print(f"mlt-ray: {error}", file=sys.stderr)
        leave(2)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            print(
                "\nmlt-ray: interrupted; finished runs are kept, the same command goes on "
                "from here",
                file=sys.stderr,
            )
        leave(end.code if isinstance(end.code, int) else int(end.code is not None))
    leave(0)


def leave(code: int) -> NoReturn:
    """End the process, without taking apart what torch, Ray and MLflow have built in its memory.

    That would take a second. Whatever must not be lost was written and closed before.
    """
    atexit._run_exitfuncs()
    # A reader such as head may be gone by now.
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


@app.command()
@trains
def run(
    studies: Studies,
    training: Training,
    rows: Annotated[
        list[str] | None, typer.Option(help="Only these rows, separated by commas.")
    ] = None,
    folds: Annotated[str, typer.Option(help="Folds to compute, such as 1,3 or 1-5.")] = "",
    seeds: Annotated[str, typer.Option(help="Seeds to compute, such as 1,2 or 1-10.")] = "",
    dry_run: Annotated[bool, typer.Option(help="Show the plan and compute nothing.")] = False,
) -> None:
    """Compute what a store lacks of one or more studies, then print their tables.

    Finished runs are never computed again: after a crash or Ctrl-C, ask again.
    """
    from mlt_ray.studies.study import load_study
    from mlt_ray.workflows.run import Request, show_plan

    request = Request(
        studies=[load_study(name) for name in dict.fromkeys(studies)],
        setting=setting_of(training),
        rows=rows or [],
        folds=parse_numbers("--folds", folds),
        seeds=parse_numbers("--seeds", seeds),
    )
    if training.overrides:
        request = replace(
            request,
            studies=[
                load_study(name, training.overrides, request.asked_rows)
                for name in dict.fromkeys(studies)
            ],
        )
    if dry_run:
        show_plan(request, Console())
    else:
        compute_and_print(request, training.out)


@app.command()
@trains
def search(
    space: Annotated[
        str, typer.Argument(help="Shipped search space (see mlt-ray studies) or YAML file.")
    ],
    training: Training,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Configurations to propose; default: as in the file.")
    ] = None,
    best: Annotated[
        int | None, typer.Option(min=1, help="How many of them to train on all folds and seeds.")
    ] = None,
    timeout: Annotated[
        str, typer.Option(help="Stop after a time such as 30m or 2h; ask again to go on.")
    ] = "",
    dry_run: Annotated[bool, typer.Option(help="Show the space and compute nothing.")] = False,
) -> None:
    """Search a space by partial cross-validation, then train the best on all folds and seeds.

    Only dev scores decide. Every cell that the store has is taken from there, and what is computed
    here is there for every other study. After a crash or Ctrl-C, ask again.
    """
    from mlt_ray.studies.space import load_space, with_changes
    from mlt_ray.workflows.search import parse_duration, run_search, show_space

    setting = setting_of(training)
    loaded = with_changes(load_space(space, training.overrides or []), trials=trials, best=best)
    timeout_s = parse_duration("--timeout", timeout) if timeout else None
    console = Console()
    if dry_run:
        show_space(loaded, setting, console)
        return
    outcome = run_search(loaded, setting, console, timeout_s)
    if outcome.studies:
        print_tables(list(outcome.studies), setting.store, training.out, console)
    report_failures(outcome.failures)


@app.command()
def report(studies: Studies, store: Store = DEFAULT_STORE, out: Out = None) -> None:
    """Print the tables of studies, and write them as Markdown, LaTeX, CSV and JSON.

    Exit 2 if one of them was never run in this store; the tables of the others are printed.
    """
    from mlt_ray.reports.collect import never_run
    from mlt_ray.storage.store import Store as RunStore

    runs = RunStore(store)
    names = dict.fromkeys(Path(s).stem if s.endswith((".yaml", ".yml")) else s for s in studies)
    here = runs.studies()
    found = [name for name in names if name in here]
    if found:
        print_tables(found, runs, out, Console())
    for name in names:
        if name not in here:
            raise never_run(name, runs)


@app.command()
def demo(
    store: Store = "demo",
    everything: Annotated[
        bool, typer.Option("--all", help="Tables 1, 2 and 3 in miniature: 240 runs.")
    ] = False,
    address: Address = None,
    tracking_uri: TrackingUri = None,
    out: Out = None,
) -> None:
    """Run the whole way on an embedded corpus: speech, features, 75 runs, tables."""
    from mlt_ray.corpus.synthetic.demo import write_demo
    from mlt_ray.planning.workspace import Setting
    from mlt_ray.storage.store import Store as RunStore
    from mlt_ray.studies.study import load_study
    from mlt_ray.tracking.location import default_uri
    from mlt_ray.workflows.run import Request

    console, runs = Console(), RunStore(store)
    corpus = runs.root / "demo-corpus"
    if not corpus.exists():
        with console.status("speaking the demo corpus"):
            write_demo(corpus)
    request = Request(
        studies=[load_study(name) for name in (DEMO_ALL if everything else DEMO)],
        setting=Setting(corpus=corpus, store=runs, address=address, tracking_uri=tracking_uri),
    )
    compute_and_print(request, out)
    uri = tracking_uri or default_uri(runs)
    console.print("\nWhat to look at next:", style="bold")
    for command, what in (
        (f"mlflow ui --backend-store-uri {uri}", "then open http://127.0.0.1:5000"),
        (f"mlt-ray report demo --store {store}", "the table again"),
        (f"mlt-ray corpus check {corpus}", "what the demo corpus holds"),
        (f"mlt-ray run table1 --corpus {corpus} --dry-run", "the paper's sizes"),
        ("mlt-ray run table1 --corpus IEMOCAP_full_release", "your own corpus"),
    ):
        console.print(f"  {command}", soft_wrap=True, highlight=False)
        console.print(f"    {what}", style="dim", highlight=False)


@app.command("studies")
def list_studies() -> None:
    """List the shipped studies and search spaces."""
    from mlt_ray.studies.files import find_study, space_names, study_names
    from mlt_ray.studies.space import load_space
    from mlt_ray.studies.study import load_study

    for name in study_names():
        study = load_study(name)
        print(f"{name:14} {study.title} ({len(study.rows)} rows, {find_study(name)})")
    for name in space_names():
        space = load_space(name)
        size = "countless" if space.size is None else space.size
        print(f"{name:14} {space.title} ({size} configurations, {find_study(name)})")


@app.command()
def sync(store: Store = DEFAULT_STORE, tracking_uri: TrackingUri = None) -> None:
    """Write to MLflow whatever finished runs it lacks, with their original times."""
    from mlt_ray.planning.plan import tracked
    from mlt_ray.storage.store import Store as RunStore
    from mlt_ray.tracking.location import default_uri
    from mlt_ray.tracking.tracker import Tracker

    runs = RunStore(store)
    plans = tracked(runs)
    if not plans:
        raise UserError(f"{runs.root}: expected a store with runs, found none; name it by --store")
    tracker = Tracker(runs, tracking_uri or default_uri(runs), plans)
    tracker.sync()
    if tracker.broken:
        raise typer.Exit(1)
    print(f"MLflow has all finished runs of: {', '.join(plan['study'] for plan in plans)}")


@app.command()
def doctor(
    store: Store = DEFAULT_STORE,
    tracking_uri: TrackingUri = None,
    glove: Annotated[Path | None, typer.Option(help="Word vectors to check.")] = None,
) -> None:
    """Check versions, devices, Ray, MLflow and the offline resources; exit 1 if one fails."""
    from mlt_ray.workflows.doctor import examine

    if not examine(Path(store), tracking_uri, glove, Console()):
        raise typer.Exit(1)


@corpus_app.command("demo")
def corpus_demo(
    out: Annotated[Path, typer.Argument(help="New folder.")],
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same bytes.")] = 0,
    utterances: Annotated[int, typer.Option(min=20)] = 600,
) -> None:
    """Write the demo corpus, in IEMOCAP's layout."""
    from mlt_ray.corpus.synthetic.demo import write_demo

    with counting("utterances spoken", utterances) as count:
        write_demo(out, seed=seed, utterances=utterances, progress=count)
    print(f"{utterances} utterances in {out}")


@corpus_app.command("synthesize")
def corpus_synthesize(
    texts: Annotated[Path, typer.Argument(help="CSV: session, speaker, emotion, text.")],
    out: Annotated[Path, typer.Argument(help="New folder.")],
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same bytes.")] = 0,
) -> None:
    """Voice any texts with emotional prosody, in IEMOCAP's layout."""
    from mlt_ray.corpus.synthetic.lines import read_texts
    from mlt_ray.corpus.synthetic.synthesize import write_corpus

    lines = read_texts(texts)
    with counting("utterances spoken", len(lines)) as count:
        write_corpus(lines, out, seed=seed, progress=count)
    print(f"{len(lines)} utterances in {out}")


@corpus_app.command("check")
def corpus_check(
    corpus: Annotated[Path, typer.Argument(help="IEMOCAP's folder, or one with manifest.csv.")],
) -> None:
    """Describe a corpus and name what is wrong with it; exit 2 if that would break a run."""
    from mlt_ray.corpus.check import check_corpus, render
    from mlt_ray.corpus.readers.read import read_corpus

    console = Console()
    with console.status("reading every recording"):
        found = check_corpus(read_corpus(corpus))
    console.print(render(found))
    if found.fatal:
        raise typer.Exit(2)


def setting_of(training: Training) -> "Setting":
    """Where a verb finds and leaves things: as its flags say, else as the profile does."""
    from mlt_ray.planning.profile import Profile, load_profile, merged
    from mlt_ray.planning.workspace import Setting
    from mlt_ray.storage.store import Store as RunStore

    where = merged(
        load_profile(training.profile) if training.profile else Profile(),
        address=training.address,
        tracking_uri=training.tracking_uri,
        store=training.store if training.store != DEFAULT_STORE else None,
        cpus_per_run=training.cpus_per_run,
        gpus_per_run=training.gpus_per_run,
        concurrency=training.concurrency,
        workers=training.workers,
        gpus_per_worker=training.gpus_per_worker,
        pack=training.pack,
        cuda_graphs=training.cuda_graphs,
    )
    return Setting(
        corpus=training.corpus,
        store=RunStore(where.store or DEFAULT_STORE),
        glove=training.glove,
        encoder=training.encoder,
        speech_encoder=training.speech_encoder,
        tracking_uri=where.tracking_uri,
        address=where.address,
        resources=where.resources,
    )


def compute_and_print(request: "Request", out: Path | None) -> None:
    """Compute studies and print their tables; exit 1 where a run failed."""
    from mlt_ray.workflows.run import run_studies

    console = Console()
    outcome = run_studies(request, console)
    names = [study.name for study in request.studies]
    print_tables(names, request.setting.store, out, console)
    report_failures(outcome.failures)


def report_failures(failures: Sequence[str]) -> None:
    """Name the runs that failed, and exit with code 1 if there are any."""
    if failures:
        runs = "1 run" if len(failures) == 1 else f"{len(failures)} runs"
        print(f"mlt-ray: {runs} failed", file=sys.stderr)
        for reason in failures:
            print(f"  {reason}", file=sys.stderr)
        raise typer.Exit(1)


def print_tables(studies: list[str], store: "RunStore", out: Path | None, console: Console) -> None:
    """Print the tables of studies and write their files, by default under the store."""
    from mlt_ray.reports.collect import collect
    from mlt_ray.reports.tables import LEGEND, as_terminal, write_tables

    tables = [collect(name, store) for name in studies]
    for table in tables:
        console.print(as_terminal(table))
    for line in LEGEND:
        console.print(line, style="dim", highlight=False)
    folder = out or store.root / "reports" / "-".join(t.study for t in tables)
    files = write_tables(tables, folder)
    if out is None:
        store.push(folder)
    names = ", ".join(f.name for f in files)
    console.print(f"written: {names} in {folder}", soft_wrap=True, highlight=False)


def parse_numbers(option: str, text: str) -> list[int]:
    """Whole numbers of a text such as ``1,3-5``; none for an empty text."""
    numbers: list[int] = []
    for part in text.replace(" ", "").split(",") if text else []:
        found = re.fullmatch(r"([0-9]+)(?:-([0-9]+))?", part)
        some = range(int(found[1]), int(found[2] or found[1]) + 1) if found else range(0)
        if not some:
            raise UserError(f"{option}: expected numbers such as 1,3 or 1-5, got {text!r}")
        numbers += some
    return list(dict.fromkeys(numbers))
