"""The verbs ``run``, ``demo`` and ``studies``."""

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console

from mlt_ray.cli.options import (
    Address,
    Out,
    Store,
    Studies,
    TrackingUri,
    Training,
    Verbose,
    places_of,
    training_options,
)
from mlt_ray.cli.report import print_failures
from mlt_ray.display.waiting import waiting
from mlt_ray.errors import UserError
from mlt_ray.masking import masked
from mlt_ray.parsing import Range, shown
from mlt_ray.spec import SEEDS

if TYPE_CHECKING:
    from mlt_ray.workflows.run import Request

DEMO = ("demo",)
COMPARED = '"highway network" concatenation'
MOST_NUMBERS: Final = 10_000
"""Numbers that ``--folds`` or ``--seeds`` can name."""

DEMO_ALL = (*DEMO, "demo_baselines", "demo_table2", "demo_table3", "demo_protocols")


@training_options
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
        places=places_of(training),
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


def demo(
    store: Store = "demo",
    everything: Annotated[
        bool,
        typer.Option(
            "--all", help="All tables, other systems and protocols in miniature: 285 runs."
        ),
    ] = False,
    address: Address = None,
    tracking_uri: TrackingUri = None,
    out: Out = None,
    verbose: Verbose = False,
) -> None:
    """Run the whole way on an embedded corpus: speech, features, 75 runs, tables, a page."""
    from mlt_ray.corpus.synthetic.demo import write_demo
    from mlt_ray.planning.contents import check_extras
    from mlt_ray.planning.workspace import Places
    from mlt_ray.storage.store import Store as RunStore
    from mlt_ray.studies.study import load_study
    from mlt_ray.workflows.run import Request

    console, runs = Console(), RunStore(store)
    corpus = runs.root / "demo-corpus"
    studies = [load_study(name) for name in (DEMO_ALL if everything else DEMO)]
    check_extras([row for study in studies for row in study.rows], ", or leave out --all")
    if not corpus.exists():
        with waiting(console, "speaking the demo corpus"):
            write_demo(corpus)
    request = Request(
        studies=studies,
        places=Places(corpus=corpus, store=runs, address=address, tracking_uri=tracking_uri),
    )
    compute_and_print(request, out)
    console.print("\nWhat to look at next:", style="bold")
    for command, what in (
        (f"mlt-ray report demo --store {masked(store)}", "the table again, figures as PDF and SVG"),
        (f"mlt-ray compare demo {COMPARED} --store {masked(store)}", "does one row beat another?"),
        (f"mlt-ray corpus check {corpus}", "what the demo corpus holds"),
        (f"mlt-ray run table1 --corpus {corpus} --dry-run", "the paper's sizes"),
        ("mlt-ray run table1 --corpus IEMOCAP_full_release", "your own corpus"),
    ):
        console.print(f"  {command}", soft_wrap=True, highlight=False)
        console.print(f"    {what}", style="dim", highlight=False)


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


def compute_and_print(request: "Request", out: Path | None) -> None:
    """Compute studies and print their tables; exit 1 where a run failed."""
    from mlt_ray.reports.results import results_of
    from mlt_ray.storage.files import check_writable
    from mlt_ray.workflows.report import show_results
    from mlt_ray.workflows.run import run_studies

    if out is not None:
        check_writable(out, "--out")
    console = Console()
    outcome = run_studies(request, console)
    store = request.places.store
    with waiting(console, "reading the store"):
        found = results_of(outcome.records, store)
    show_results(found, store, out, console, outcome.failures, outcome.tracker)
    print_failures(outcome.failures)


def parse_numbers(option: str, text: str) -> list[int]:
    """Whole numbers of a text such as ``1,3-5``; none for an empty text."""
    numbers: dict[int, None] = {}
    for part in text.replace(" ", "").split(",") if text else []:
        found = re.fullmatch(r"([0-9]+)(?:-([0-9]+))?", part)
        # As many digits as Python reads are far too many; the highest seed has ten.
        first, last = (found[1], found[2] or found[1]) if found else ("1", "0")
        if max(len(first), len(last)) > 10 or int(last) not in Range(0, SEEDS.highest):
            raise UserError(f"{option}: expected numbers up to {SEEDS.highest}, got {shown(part)}")
        some = range(int(first), int(last) + 1)
        if not some:
            raise UserError(f"{option}: expected numbers such as 1,3 or 1-5, got {shown(text)}")
        if len(some) > MOST_NUMBERS:
            raise UserError(f"{option}: expected at most {MOST_NUMBERS:,} numbers, got {part}")
        numbers |= dict.fromkeys(some)
    return list(numbers)
