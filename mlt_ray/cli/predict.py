"""The verb ``predict``."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from mlt_ray.cli.options import (
    DEFAULT_STORE,
    Asr,
    Device,
    Glove,
    Model,
    ModelFile,
    Store,
    Text,
    model_choice,
)
from mlt_ray.display.bars import Bars
from mlt_ray.display.lines import say
from mlt_ray.display.waiting import waiting

Sounds = Annotated[
    list[str],
    typer.Argument(
        metavar="AUDIO...",
        help="Recordings; folders of them; CSV files with a column path, and text and speaker if "
        "there are; or - for standard input.",
    ),
]
Texts = Annotated[
    Path | None,
    typer.Option(help="CSV file with columns key (a file's name or path) and text."),
]
Window = Annotated[
    float | None,
    typer.Option(
        min=1,
        max=30,
        metavar="SECONDS",
        help="Cut recordings of more than that into windows of that; default: those of more than "
        "30 s into windows of 10 s.",
    ),
]
Hop = Annotated[
    float | None,
    typer.Option(
        min=0.5,
        max=30,
        metavar="SECONDS",
        help="Seconds from the start of one window to the next; default: half a window.",
    ),
]


def predict(
    audio: Sounds,
    store: Store = DEFAULT_STORE,
    model: Model = None,
    text: Text = None,
    texts: Texts = None,
    asr: Asr = None,
    output: Annotated[
        Literal["table", "json", "csv"],
        typer.Option("--format", help="json: a line a recording, as soon as it is predicted."),
    ] = "table",
    window: Window = None,
    hop: Hop = None,
    device: Device = "auto",
    glove: Glove = None,
    model_file: ModelFile = None,
) -> None:
    """Predict the emotion of recordings with what a study has trained.

    A row answers by the mean of its runs. Only results go to standard output. A recording that
    cannot be used is named there where messages go, the others are predicted, and the exit code
    is 2.
    """
    from mlt_ray.display.predictions import PRINTERS
    from mlt_ray.inference.windows import Windowing
    from mlt_ray.workflows.predict import Request, predict

    request = Request(
        places=audio,
        model=model_choice(model, store, device, glove, model_file),
        text=text,
        texts=texts,
        asr=asr,
        windowing=Windowing.of(window, hop),
    )
    # Kept from before a bar on the other stream takes sys.stdout for its own.
    results, console = sys.stdout, Console(stderr=True)

    def tell(line: str) -> None:
        say(console, line)

    with waiting(console, "opening the model"):
        work = predict(request, sys.stdin.buffer, tell)
    printer = PRINTERS[output](results, work.classes)
    with Bars(console) as bars:
        # Lines that appear one by one are progress enough, and a bar would stand in their way.
        if output == "table" or not results.isatty():
            work.progress = bars.show
        try:
            for predictions in work.predictions():
                printer.show(predictions)
        finally:
            bars.stop()
            printer.end()
    if work.failed:
        tell(f"{work.failed} of {work.num_clips} recordings could not be used")
        raise typer.Exit(2)
