"""The verb ``doctor``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from mlt_ray.cli.options import DEFAULT_STORE, Store, TrackingUri


def doctor(
    store: Store = DEFAULT_STORE,
    tracking_uri: TrackingUri = None,
    glove: Annotated[Path | None, typer.Option(help="Word vectors to check.")] = None,
    sweep: Annotated[
        bool,
        typer.Option("--sweep", help="Only remove what killed processes have left in the store."),
    ] = False,
) -> None:
    """Check versions, devices, Ray, MLflow and the offline resources; exit 1 if one fails.

    It also says what killed processes have left in the store.
    """
    from mlt_ray.workflows.doctor import examine, sweep_store

    if sweep:
        sweep_store(store, Console())
    elif not examine(store, tracking_uri, glove, Console()):
        raise typer.Exit(1)
