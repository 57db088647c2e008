"""The options that several verbs of the command line share."""

from pathlib import Path
from typing import Annotated

import typer

Corpus = Annotated[Path, typer.Option(help="IEMOCAP's folder, or a folder with manifest.csv.")]
Store = Annotated[
    str,
    typer.Option(
        "--store", help="Folder of results, features and the MLflow database, or s3://bucket/path."
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a value of every configuration, such as training.max_epochs=20.",
    ),
]
Glove = Annotated[
    Path | None,
    typer.Option(help="Word vectors, such as glove.6B.300d.txt; default: 50-d GloVe, packaged."),
]
Encoder = Annotated[
    str | None,
    typer.Option(
        help="Text encoder of every row that has one: minilm (packaged), a folder or a name on the "
        "Hugging Face hub."
    ),
]
SpeechEncoder = Annotated[
    str | None,
    typer.Option(
        help="Speech encoder of every row that has one: resemblyzer, a folder or a name on the "
        "Hugging Face hub, such as facebook/wav2vec2-base."
    ),
]
Out = Annotated[Path | None, typer.Option("--out", help="Folder for the tables' files.")]
TrackingUri = Annotated[
    str | None, typer.Option("--tracking-uri", help="MLflow server; default: a file in the store.")
]
Address = Annotated[
    str | None,
    typer.Option("--address", help="Ray cluster, such as auto; default: this machine alone."),
]
Studies = Annotated[
    list[str],
    typer.Argument(metavar="STUDY...", help="Shipped studies (see mlt-ray studies) or YAML files."),
]
MACHINES = "Machines"
ProfileOption = Annotated[
    str | None,
    typer.Option(
        "--profile",
        rich_help_panel=MACHINES,
        help="Settings of this panel by name or from a YAML file; flags override them.",
    ),
]
CpusPerRun = Annotated[
    float | None,
    typer.Option(min=0.1, rich_help_panel=MACHINES, help="CPUs for each run; default: 1."),
]
GpusPerRun = Annotated[
    float | None,
    typer.Option(
        min=0,
        rich_help_panel=MACHINES,
        help="GPUs or a share of one for each run; default: 1 if there is any.",
    ),
]
Concurrency = Annotated[
    int | None,
    typer.Option(min=1, rich_help_panel=MACHINES, help="Most runs at once; default: what fits."),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1, rich_help_panel=MACHINES, help="DDP workers that share each run; default: 1."
    ),
]
GpusPerWorker = Annotated[
    float | None,
    typer.Option(
        min=0, rich_help_panel=MACHINES, help="GPUs for each worker; default: 1 if there is any."
    ),
]
Pack = Annotated[
    int | None,
    typer.Option(
        min=1,
        rich_help_panel=MACHINES,
        help="Runs of one row that are trained side by side in one process; default: 1 on a CPU, "
        "15 on a GPU.",
    ),
]
