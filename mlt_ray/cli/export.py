"""The verb ``export``."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from mlt_ray.cli.options import DEFAULT_STORE, Glove, ModelFile, Store, TrackingUri
from mlt_ray.display.lines import say
from mlt_ray.display.waiting import waiting

Row = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A row with finished runs in the store, as STUDY/ROW, or a run by its digest.",
        show_default=False,
    ),
]
To = Annotated[
    Literal["folder", "mlflow", "onnx"],
    typer.Option(help="A folder that predicts by itself, a model of MLflow's, or ONNX."),
]
Out = Annotated[
    Path | None, typer.Option(help="New folder; default: one here, named after the row.")
]
Licence = Annotated[
    str | None,
    typer.Option("--license", help="Licence of the model, for its card; default: unknown."),
]
Log = Annotated[
    bool, typer.Option("--log", help="With --to mlflow: show it in MLflow as the row's model.")
]


def export(
    row: Row,
    to: To = "folder",
    out: Out = None,
    store: Store = DEFAULT_STORE,
    glove: Glove = None,
    model_file: ModelFile = None,
    licence: Licence = None,
    log: Log = False,
    tracking_uri: TrackingUri = None,
) -> None:
    """Write a row's trained model with all that it needs to predict elsewhere, and a model card."""
    from mlt_ray.storage.store import Store as RunStore
    from mlt_ray.workflows.export import export_model

    console = Console()
    with waiting(console, "writing the model"):
        found = export_model(
            row,
            RunStore(store).looking(),
            to,
            out,
            glove=glove,
            model_file=model_file,
            licence=licence,
            log=log,
            tracking_uri=tracking_uri,
        )
    total = sum(found.sizes.values())
    names = ", ".join(found.sizes)
    for line in (
        *found.notes,
        f"written: {names} in {found.folder}, {total / 1e6:.1f} MB",
        f"try it: {found.try_it}",
    ):
        say(console, line)
