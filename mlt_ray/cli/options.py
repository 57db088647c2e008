"""The options that several verbs of the command line share."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer

if TYPE_CHECKING:
    from mlt_ray.planning.workspace import Places
    from mlt_ray.workflows.model_choice import ModelChoice

DEFAULT_STORE = "runs"

Corpus = Annotated[
    Path, typer.Option(help="Folder of IEMOCAP, EmoBox or MELD, or one with manifest.csv.")
]
Audio = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the recordings, if a corpus of EmoBox or MELD has them elsewhere."
    ),
]
Texts = Annotated[
    Path | None, typer.Option(help="CSV file with columns key and text, for a corpus of EmoBox.")
]
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
        help="Change a value of every configuration asked for, such as training.max_epochs=20.",
    ),
]
Glove = Annotated[
    Path | None,
    typer.Option(help="Word vectors, such as glove.6B.300d.txt; default: 50-d GloVe, packaged."),
]
Text = Annotated[
    str | None, typer.Option(help='What is said in the one recording; "" for nothing.')
]
Asr = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="Transcribe recordings without a text: a folder or a name on the Hugging Face hub, "
        "such as openai/whisper-base.",
    ),
]
Device = Annotated[
    Literal["auto", "cpu", "cuda"], typer.Option(help="auto: a GPU if there is one.")
]
Model = Annotated[
    str | None,
    typer.Option(
        metavar="STUDY/ROW|RUN|FOLDER",
        help="What was trained; default: the best row on dev of the store's only study.",
    ),
]
ModelFile = Annotated[
    Path | None,
    typer.Option(help="Python file of a model of your own, which no store and no folder runs."),
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
UnreadTexts = Annotated[
    bool,
    typer.Option(
        "--unread-texts",
        help="Train rows that read words although many texts are in letters that they do not read.",
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


def _show_logs(is_asked: bool) -> bool:
    """Turn the logs on before anything of Ray or MLflow is imported."""
    if is_asked:
        from mlt_ray.logs import show_logs

        show_logs()
    return is_asked


Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        callback=_show_logs,
        is_eager=True,
        help="Show the logs of Ray, Tune, MLflow and the workers, and each run as it ends.",
    ),
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
    typer.Option(
        min=0.1, max=10_000, rich_help_panel=MACHINES, help="CPUs for each run; default: 1."
    ),
]
GpusPerRun = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1_024,
        rich_help_panel=MACHINES,
        help="GPUs or a share of one for each run; default: 1 if there is any.",
    ),
]
Concurrency = Annotated[
    int | None,
    typer.Option(
        min=1, max=100_000, rich_help_panel=MACHINES, help="Most runs at once; default: what fits."
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=10_000,
        rich_help_panel=MACHINES,
        help="DDP workers that share each run; default: 1.",
    ),
]
GpusPerWorker = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1_024,
        rich_help_panel=MACHINES,
        help="GPUs for each worker; default: 1 if there is any.",
    ),
]
Pack = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=10_000,
        rich_help_panel=MACHINES,
        help="Runs of one row that are trained side by side in one process; default: 1 on a CPU, "
        "15 on a GPU.",
    ),
]
GradientCheckpointing = Annotated[
    bool | None,
    typer.Option(
        "--gradient-checkpointing/--no-gradient-checkpointing",
        rich_help_panel=MACHINES,
        help="Fine-tune encoders in less memory, and more time; default: no.",
    ),
]
CudaGraphs = Annotated[
    bool | None,
    typer.Option(
        "--cuda-graphs/--no-cuda-graphs",
        rich_help_panel=MACHINES,
        help="Whether a GPU records steps and replays them; default: yes where there is one.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class Training:
    """The options that all verbs that train share."""

    corpus: Corpus
    audio: Audio = None
    texts: Texts = None
    store: Store = DEFAULT_STORE
    overrides: Overrides = None
    glove: Glove = None
    encoder: Encoder = None
    speech_encoder: SpeechEncoder = None
    unread_texts: UnreadTexts = False
    tracking_uri: TrackingUri = None
    address: Address = None
    profile: ProfileOption = None
    cpus_per_run: CpusPerRun = None
    gpus_per_run: GpusPerRun = None
    concurrency: Concurrency = None
    workers: Workers = None
    gpus_per_worker: GpusPerWorker = None
    pack: Pack = None
    cuda_graphs: CudaGraphs = None
    gradient_checkpointing: GradientCheckpointing = None
    out: Out = None
    verbose: Verbose = False


def training_options(verb: Callable[..., None]) -> Callable[..., None]:
    """Decorator: adds the options of `Training` to a verb, passed as one `training` argument."""
    fields, hints = dataclasses.fields(Training), get_type_hints(Training, include_extras=True)
    # Typer makes options of a function's signature and annotations.
    signature = inspect.signature(verb, eval_str=True)
    own = [p for p in signature.parameters.values() if p.name != "training"]
    shared = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=inspect.Parameter.empty
            if field.default is dataclasses.MISSING
            else field.default,
            annotation=hints[field.name],
        )
        for field in fields
    ]
    parameters = [*own, *shared]
    parameters.sort(key=lambda p: p.default is not inspect.Parameter.empty)

    @functools.wraps(verb)
    def called(**given: Any) -> None:
        training = Training(**{field.name: given.pop(field.name) for field in fields})
        verb(**given, training=training)

    called.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": None}
    return called


def model_choice(
    model: str | None, store: str, device: str, glove: Path | None, model_file: Path | None
) -> "ModelChoice":
    """The trained model that the options name."""
    from mlt_ray.workflows.model_choice import ModelChoice

    return ModelChoice(
        name=model,
        place=store,
        device=None if device == "auto" else device,
        glove=glove,
        model_file=model_file,
    )


def places_of(training: Training) -> "Places":
    """Places as the options say, else as the profile says, else the defaults."""
    from mlt_ray.corpus.readers.elsewhere import Elsewhere
    from mlt_ray.planning.profile import Profile, load_profile, merged
    from mlt_ray.planning.workspace import Places
    from mlt_ray.storage.store import Store as RunStore

    where = merged(
        Profile() if training.profile is None else load_profile(training.profile),
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
        gradient_checkpointing=training.gradient_checkpointing,
    )
    return Places(
        corpus=training.corpus,
        elsewhere=Elsewhere(audio=training.audio, texts=training.texts),
        store=RunStore(where.store or DEFAULT_STORE),
        glove=training.glove,
        encoder=training.encoder,
        speech_encoder=training.speech_encoder,
        unread_texts=training.unread_texts,
        tracking_uri=where.tracking_uri,
        address=where.address,
        resources=where.resources,
    )
