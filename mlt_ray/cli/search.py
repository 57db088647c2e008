"""The verb ``search``."""

import re
from typing import Annotated, Final

import typer
from rich.console import Console

from mlt_ray.cli.options import Training, places_of, training_options
from mlt_ray.cli.report import print_failures
from mlt_ray.display.waiting import waiting
from mlt_ray.errors import UserError
from mlt_ray.parsing import shown

LONGEST_S: Final = 365 * 86_400
"""Seconds after which a search can be told to stop, at most."""


@training_options
def search(
    space: Annotated[
        str, typer.Argument(help="Shipped search space (see mlt-ray studies) or YAML file.")
    ],
    training: Training,
    trials: Annotated[
        int | None,
        typer.Option(
            min=1, max=1_000_000, help="Configurations to propose; default: as in the file."
        ),
    ] = None,
    best: Annotated[
        int | None,
        typer.Option(min=1, max=10_000, help="How many of them to train on all folds and seeds."),
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
    from mlt_ray.reports.results import results_of
    from mlt_ray.storage.files import check_writable
    from mlt_ray.studies.space import load_space, with_changes
    from mlt_ray.workflows.report import show_results
    from mlt_ray.workflows.search import run_search, show_space

    places = places_of(training)
    loaded = with_changes(load_space(space, training.overrides or []), trials=trials, best=best)
    timeout_s = parse_duration("--timeout", timeout) if timeout else None
    console = Console()
    if dry_run:
        show_space(loaded, places, console)
        return
    if training.out is not None:
        check_writable(training.out, "--out")
    outcome = run_search(loaded, places, console, timeout_s)
    if outcome.records:
        with waiting(console, "reading the store"):
            found = results_of(outcome.records, places.store)
        show_results(found, places.store, training.out, console, outcome.failures, outcome.tracker)
    print_failures(outcome.failures)


def parse_duration(option: str, text: str) -> float:
    """Seconds of a text such as ``90s``, ``30m`` or ``2h``."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    found = re.fullmatch(r"([0-9]+\.?[0-9]*|\.[0-9]+)([smhd])", text)
    seconds = float(found[1]) * units[found[2]] if found else 0
    if not seconds:
        raise UserError(f"{option}: expected a time such as 90s, 30m or 2h, got {shown(text)}")
    if seconds > LONGEST_S:
        raise UserError(f"{option}: expected at most {LONGEST_S // units['d']}d, got {shown(text)}")
    return seconds
