"""The verb ``explain``."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from mlt_ray.cli.options import DEFAULT_STORE, Glove, Store
from mlt_ray.display.waiting import waiting

Sound = Annotated[Path, typer.Argument(metavar="CLIP", help="A recording of one utterance.")]
Model = Annotated[
    str, typer.Option(metavar="STUDY/ROW|RUN|FOLDER", help="What was trained.", show_default=False)
]
Text = Annotated[str | None, typer.Option(help='What is said in the recording; "" for nothing.')]
Asr = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="Transcribe the recording: a folder or a name on the Hugging Face hub, such as "
        "openai/whisper-base.",
    ),
]
Page = Annotated[
    Path | None, typer.Option("--out", help="The page's file; default: explain-CLIP.html, here.")
]
Device = Annotated[
    Literal["auto", "cpu", "cuda"], typer.Option(help="auto: a GPU if there is one.")
]
ModelFile = Annotated[
    Path | None, typer.Option(help="Python file of a model of your own, as in its study.")
]


def explain(
    clip: Sound,
    model: Model,
    store: Store = DEFAULT_STORE,
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
        model=model,
        store=store,
        text=text,
        asr=asr,
        out=out,
        device=None if device == "auto" else device,
        glove=glove,
        model_file=model_file,
    )
    with waiting(Console(stderr=True), f"explaining {clip.name}"):
        lines = explain_clip(request)
    for line in lines:
        print(line)
