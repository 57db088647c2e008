"""The verb ``explain``."""

from pathlib import Path
from typing import Annotated

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
from mlt_ray.display.waiting import waiting

Sound = Annotated[Path, typer.Argument(metavar="CLIP", help="A recording of one utterance.")]
Page = Annotated[
    Path | None, typer.Option("--out", help="The page's file; default: explain-CLIP.html, here.")
]


def explain(
    clip: Sound,
    store: Store = DEFAULT_STORE,
    model: Model = None,
    text: Text = None,
    asr: Asr = None,
    out: Page = None,
    device: Device = "auto",
    glove: Glove = None,
    model_file: ModelFile = None,
) -> None:
    """Write a page that shows what a trained model makes of one recording.

    Its attention to words over time, its answer up to each half second, how the answer changes
    without each word and each half second, and the nearest training utterances.
    """
    from mlt_ray.workflows.explain import ExplainRequest, explain_clip

    request = ExplainRequest(
        clip=clip,
        model=model_choice(model, store, device, glove, model_file),
        text=text,
        asr=asr,
        out=out,
    )
    with waiting(Console(stderr=True), f"explaining {clip.name}"):
        lines = explain_clip(request)
    for line in lines:
        print(line)
