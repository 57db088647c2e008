"""The specification of a run, with everything that its scores depend on, and the run's digest.

Settings that only decide where and how fast a run is computed (CPUs, GPUs, workers) are not part
of it and never of a digest. This file imports neither torch nor Ray.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, ClassVar, Final, Literal, NamedTuple

from mlt_ray.labels import FOUR
from mlt_ray.parsing import Range, Share, check_numbers

SECTIONS: Final = ("folds", "features", "model", "training")
"""Keys of a study file for the parts of a `RunSpec`."""

FoldUnit = Literal["session", "speaker", "stratified", "given"]
"""What the test parts of folds are made of."""

Precision = Literal["float32", "tf32", "bfloat16"]
ClassWeights = Literal["none", "balanced"]
DevScore = Literal["wa", "ua", "macro_f1"]

LayerNumber = Annotated[int, Range(-1_000, 1_000)]

Layer = Literal["last", "weighted"] | LayerNumber
"""A layer of a speech encoder: the last, the mean of all with weights that are learned, or by its
number. Layer 0 is what the first block reads; negative numbers count from the last, which is -1."""

FineTuning = bool | Literal["all", "lora", "last_n"]
"""What of a pre-trained encoder is trained: nothing, all (True), adapters (LoRA), or its last
blocks."""

Blocks = Annotated[int, Range(1, 1_000)]
"""How many of an encoder's last blocks are trained."""

Rank = Annotated[int, Range(1, 1_000_000)]
"""The rank of LoRA's adapters."""

LearningRate = Annotated[float, Range(0, 10_000_000_000, without_lowest=True)]
"""One that is too high ends its run alone, whose loss is no number then."""

Clip = Annotated[float, Range(0, 1_000_000, without_lowest=True)]
"""The norm or the value that a gradient is cut to."""

Epochs = Annotated[int, Range(1, 1_000_000)]

SEEDS: Final = Range(-(2**31), 2**31 - 1)
"""What the seed of a run may be."""

FOLDS: Final = Range(1, 100_000)
"""What the number of a fold may be."""

Milliseconds = Annotated[float, Range(1, 1_000)]

LEAST_MEL_BINS: Final = 4
"""Kaldi has no filter bank of fewer."""

Longest = Annotated[int, Range(1, 10_000_000)]
"""How many steps or words of an utterance are read."""

NO_TF32 = "training.precision: expected a GPU for tf32, found none; set float32 or bfloat16"
"""Text of the error for tf32 without a GPU: a CPU would compute in float32."""

ONLY_SEED: Final = 1
"""Seed of the runs of a system that reads none."""

DEFAULT: Final = "default"
"""Placeholder in a study; planning replaces it by name@digest."""

ENGLISH: Final = "en"
"""The language of texts unless a study names another."""

ADDED_LATER: Final[Mapping[str, Any]] = {
    "classes": FOUR,
    "folds.number": 5,
    "folds.dev": "next",
    "folds.num_folds": 5,
    "features.language": ENGLISH,
    "features.frames.encoder": None,
    "features.frames.layer": "weighted",
    "features.standardise": "train",
    "features.pad_to_30s": False,
    "training.class_weights": "none",
    "training.select_by": "wa",
    "training.encoder_learning_rate": None,
    "training.warmup_steps": 0,
    "training.batch_seconds": None,
    "bert.pool": "cls",
    "bert.last_n": 2,
    "bert.lora_rank": 8,
    "multigranularity.pool": "cls",
    "multigranularity.last_n": 2,
    "multigranularity.lora_rank": 8,
    "multigranularity.speech_layer": "last",
    "classical.speech_encoder": None,
    "classical.speech_layer": "best",
    "classical.speech_c": 0.01,
}
"""Values of a `RunSpec` that no digest names while they are these, by dotted key.

A key of the model stands under the name of its system. What was computed before the key existed was
computed so, and keeps its digest.
"""


@dataclass(frozen=True, kw_only=True)
class FoldSpec:
    """How utterances are divided into folds of train, dev and test; the paper: five, 3/1/1.

    `by` says what a part is made of. It is *assumed* to be ``session`` (section 4.1), the only
    3/1/1 split of IEMOCAP in which each speaker is in one part; `mlt_ray.corpus.folds.make_folds`
    explains all four. `number` of groups: ``each`` makes every session or speaker one. ``given``
    reads no number. `dev` is the ``next`` group, or a random share of all that are not test.
    `text_disjoint`: drop training utterances if an utterance of dev or test has the same text.

    Planning fills in the last two. `num_folds`: how many folds that makes. `members`: digest of the
    utterances in each part; if a new version of a library splits differently, the runs get other
    digests and are not mixed with older ones.
    """

    by: FoldUnit = "session"
    number: Annotated[int, Range(2, 10_000)] | Literal["each"] = 5
    dev: Literal["next"] | Share = "next"
    text_disjoint: bool = False
    num_folds: Annotated[int, FOLDS] = 5
    members: str = DEFAULT

    def __post_init__(self) -> None:
        check_numbers(self)
        if self.by == "stratified" and self.number == "each":
            raise ValueError("number: expected a number with by: stratified, got each")


@dataclass(frozen=True, kw_only=True)
class FramesSpec:
    """Acoustic frames: log-mel filter bank with 128 bins, 25 ms window and 12 ms hop (section 4.2).

    Compared systems use other kinds: ``mfcc`` (`num_bins` / 3 coefficients, and their first and
    second differences) and ``spectrogram`` (log power, `num_bins` = FFT size / 2 + 1).

    ``encoder`` frames are the states of the pre-trained speech `encoder`, mostly 50 a second, of
    one `layer` or of all. They read none of the other values.
    """

    kind: Literal["log_mel", "mfcc", "spectrogram", "encoder"] = "log_mel"
    num_bins: Annotated[int, Range(1, 10_000)] = 128
    window_ms: Milliseconds = 25.0
    hop_ms: Milliseconds = 12.0
    encoder: str | None = None
    layer: Layer = "weighted"

    def __post_init__(self) -> None:
        check_numbers(self)
        if self.kind == "log_mel" and self.num_bins < LEAST_MEL_BINS:
            raise ValueError(
                f"num_bins: expected at least {LEAST_MEL_BINS} for log_mel, got {self.num_bins}"
            )
        if self.kind != "encoder" and self.hop_ms > self.window_ms:
            raise ValueError(
                f"hop_ms: expected at most window_ms ({self.window_ms:g}), got {self.hop_ms:g}; "
                "what lies between two windows would not be heard"
            )
        if self.kind == "encoder" and not self.encoder:
            raise ValueError("encoder: expected resemblyzer, a folder or a name, got none")
        if self.kind != "encoder" and self.encoder is not None:
            raise ValueError(f"encoder: expected it with kind: encoder, got kind: {self.kind}")
        if self.kind != "encoder" and self.layer != "weighted":
            raise ValueError(f"layer: expected it with kind: encoder, got kind: {self.kind}")


@dataclass(frozen=True, kw_only=True)
class FeatureSpec:
    """The features of an utterance: frames, words and phonemes.

    `frames_per_step`: number of consecutive frames that are averaged into one step (the reduction
    factor of Transformer TTS; 1 in the paper). `max_steps`, `max_words`: longer utterances are cut;
    None cuts nothing. `vectors`: word vectors, as ``name@digest``. `phonemizer`: the program that
    turns words into phonemes. `libraries`: what computes the features, with versions
    (`mlt_ray.libraries`). A study leaves these three at ``default`` and planning fills them in.
    `language` of the texts: ``en``, or a code of `mlt_ray.corpus.espeak.languages`, such as ``de``.

    `standardise`: frames and vectors get mean 0 and deviation 1 over the training part, or, with
    ``speaker``, over all recordings of their speaker, also those of a speaker in dev or test, whose
    labels it does not read. `pad_to_30s`: Whisper hears each recording with silence up to 30
    seconds, as it was trained, instead of the recording alone; its states are cut afterwards.
    """

    frames: FramesSpec = FramesSpec()
    frames_per_step: Annotated[int, Range(1, 10_000)] = 1
    max_steps: Longest | None = None
    max_words: Longest | None = None
    vectors: str = DEFAULT
    phonemizer: str = DEFAULT
    libraries: str = DEFAULT
    language: str = ENGLISH
    standardise: Literal["train", "speaker"] = "train"
    pad_to_30s: bool = False

    def __post_init__(self) -> None:
        check_numbers(self)

    @property
    def is_english(self) -> bool:
        """True if words and phonemes are those of English texts."""
        return self.language == ENGLISH


@dataclass(frozen=True, kw_only=True)
class TrainingSpec:
    """Optimisation: Adam, learning rate 1e-5, batches of 4, early stopping by dev WA (section 4.2).

    `select_by` names the score of dev: the first epoch with the best is kept, and training stops
    after `patience` epochs without a better one.

    *Assumed*: `max_epochs`; `patience`; `bucket_batches`, the number of batches that are sorted by
    length together; no gradient clipping; float32.

    `precision` of matrix products and convolutions: ``float32``, ``tf32`` (GPU only) or
    ``bfloat16`` (GPU or CPU, by torch's autocast). Weights, gradients and Adam's state are always
    float32.

    `class_weights`: ``balanced`` lets an utterance of a class with n of the N training utterances
    count N / (K n) times in the loss, for K classes (`mlt_ray.features.class_weights`). The paper
    weighs none.

    `encoder_learning_rate`: that of a pre-trained encoder's weights (None: `learning_rate`).
    `warmup_steps`: over the first steps of a run, learning rates rise linearly from 0.
    `batch_seconds`: batches hold utterances that last, padded, at most so many seconds together,
    instead of `batch_size` utterances.

    `libraries`: what trains, with versions; planning fills it in. Classical systems read nothing
    else here: they always weigh classes as ``balanced`` does, and have no epochs to choose from.
    """

    learning_rate: LearningRate = 1e-5
    batch_size: Annotated[int, Range(1, 1_000_000)] = 4
    max_epochs: Epochs = 100
    patience: Epochs = 10
    clip_norm: Clip | None = None
    clip_value: Clip | None = None
    weight_decay: Annotated[float, Range(0, 1_000)] = 0.0
    bucket_batches: Annotated[int, Range(1, 1_000_000)] = 32
    precision: Precision = "float32"
    libraries: str = DEFAULT
    class_weights: ClassWeights = "none"
    select_by: DevScore = "wa"
    encoder_learning_rate: LearningRate | None = None
    warmup_steps: Annotated[int, Range(0, 1_000_000_000)] = 0
    batch_seconds: Annotated[float, Range(0, 1_000_000, without_lowest=True)] | None = None

    def __post_init__(self) -> None:
        check_numbers(self)


class ExtraInput(NamedTuple):
    """An input besides frames, words and phonemes.

    `encoder` is the name@digest of the pre-trained model that computes it; empty where none does.
    `layer` of a speech encoder: the one that is read, of all that are stored.
    """

    name: str
    encoder: str = ""
    layer: Layer = "last"


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Base class of every system's configuration. `system` is the system's name in study files.

    `source` is the file of a model of one's own, as ``name@digest``, and empty for the systems of
    this package. It is no value of a study, but part of a run's digest where it is not empty.
    """

    system: str
    source: ClassVar[str] = ""

    def __post_init__(self) -> None:
        """`ValueError` for a number out of its bounds; what a subclass checks comes after it."""
        check_numbers(self)

    @property
    def extras(self) -> tuple[ExtraInput, ...]:
        """The inputs of `mlt_ray.features.extras` that this configuration reads."""
        return ()

    @property
    def can_be_packed(self) -> bool:
        """True if several runs of this system can be trained together, as one vectorised pack.

        The system must run under `torch.vmap`, train all its weights, and leave utterances with the
        label `mlt_ray.batch.NO_LABEL` out of its loss.
        """
        return False

    @property
    def reads_audio(self) -> bool:
        """False if the recording does not decide this configuration's predictions."""
        return True

    @property
    def reads_words(self) -> bool:
        """True if this configuration reads the words or phonemes of `mlt_ray.corpus.words`.

        False for a system of audio alone, or if a text encoder alone reads the texts.
        """
        return True

    @property
    def reads_seed(self) -> bool:
        """True if the seed of a run decides its numbers; False if nothing is drawn at random.

        Without a seed there is nothing to repeat: one run a fold is planned (`runs_of`).
        """
        return True

    @property
    def text_encoder(self) -> str | None:
        """Name of the pre-trained text encoder; None if this configuration uses none."""
        return None

    @property
    def speech_encoder(self) -> str | None:
        """Name of the pre-trained speech encoder; None if this configuration uses none.

        That of the study's ``features.frames`` does not count.
        """
        return None

    @property
    def fine_tuning(self) -> FineTuning:
        """What is trained of an encoder that is part of the network; False if none is."""
        return False

    @property
    def frames(self) -> FramesSpec | None:
        """The frames that this configuration must have, whatever the study says; None: any."""
        return None

    @property
    def normalises_frames(self) -> bool:
        """True if the network reads frames of zero mean and unit deviation, False if raw ones."""
        return True


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """Everything that the scores of a row depend on, apart from fold and seed.

    `corpus` is the fingerprint of the utterances that count, and `classes` are the names of their
    classes, in the order of a network's outputs (`mlt_ray.corpus.labelling`). `recipe` is raised
    when a change of the code changes scores; no run that was stored before is then used again.
    """

    corpus: str
    model: ModelSpec
    folds: FoldSpec = FoldSpec()
    features: FeatureSpec = FeatureSpec()
    training: TrainingSpec = TrainingSpec()
    recipe: int = field(default=6)
    classes: tuple[str, ...] = FOUR

    @property
    def can_be_packed(self) -> bool:
        """True if runs of this specification can be trained as one vectorised pack.

        A warm-up would need a learning rate for each run, and batches by seconds differ in number.
        """
        training = self.training
        plain = not training.warmup_steps and training.batch_seconds is None
        return plain and self.model.can_be_packed

    def as_dict(self) -> dict[str, Any]:
        """All values as nested dicts, as stored in a report and logged to MLflow."""
        values = {**dataclasses.asdict(self), "classes": list(self.classes)}
        if self.model.source:
            values["model"]["source"] = self.model.source
        return values


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training: a specification, the fold (from 1) that it is tested on, and a seed."""

    spec: RunSpec
    fold: int
    seed: int

    def __str__(self) -> str:
        return f"fold {self.fold}, seed {self.seed}"

    @cached_property
    def digest(self) -> str:
        """16 hex digits that name the run in the store."""
        values = decisive(self.spec.as_dict())
        return digest_of({"spec": values, "fold": self.fold, "seed": self.seed})


def runs_of(spec: RunSpec, fold_seeds: Iterable[tuple[int, int]]) -> tuple[Run, ...]:
    """The runs of a specification with these folds and seeds, in their order, each once.

    If its system reads no seed, they are one a fold, with `ONLY_SEED`, whatever the seeds are.
    """
    if not spec.model.reads_seed:
        fold_seeds = [(fold, ONLY_SEED) for fold, _ in fold_seeds]
    return tuple(Run(spec=spec, fold=f, seed=s) for f, s in dict.fromkeys(fold_seeds))


def decisive(spec: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of a RunSpec that its digest names: all but those of `ADDED_LATER`.

    Two specifications are the same if these are, also if one was stored before a key existed.
    """
    kept = {}
    for key, value in spec.items():
        dotted = f"{prefix}{key}"
        plain = tuple(value) if isinstance(value, list) else value
        if isinstance(value, Mapping):
            kept[key] = decisive(value, f"{value.get('system', dotted)}.")
        elif dotted not in ADDED_LATER or plain != ADDED_LATER[dotted]:
            kept[key] = value
    return kept


def digest_of(values: Any) -> str:
    """16 hex digits of SHA-256 over the values as JSON with sorted keys; dataclasses as dicts."""
    if dataclasses.is_dataclass(values) and not isinstance(values, type):
        values = dataclasses.asdict(values)
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
