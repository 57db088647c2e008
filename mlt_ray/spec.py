"""What decides a number: the frozen parts of a run, their strict parsing and their digest.

Everything here is free of torch and Ray. What only decides where and how fast a run is computed
(processors, workers, concurrency) is not here and never in a digest.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal, NamedTuple

from mlt_ray.parsing import ABOVE_0, at_least, require

SECTIONS: Final = ("folds", "features", "model", "training")
"""Parts of a run's specification that a study sets."""

Precision = Literal["float32", "tf32", "bfloat16"]

NO_TF32 = "training.precision: expected a GPU for tf32, found none; set float32 or bfloat16"
"""What is said where there is none: it would be float32 that bears another name."""

DEFAULT: Final = "default"
"""What a study leaves to planning, which puts the name of a content in its place."""


@dataclass(frozen=True, kw_only=True)
class FoldSpec:
    """Who is in train, dev and test: five folds of 3/1/1 parts (section 4.1).

    `by` is *assumed* to be ``session``: the only 3/1/1 split of IEMOCAP without a speaker in two
    parts. `text_disjoint` drops training utterances whose text stands in the dev or test part.
    `members` is the digest of who is where; a study leaves it at ``default``, and planning fills
    it in, so that a library that splits otherwise can never mix its numbers with older ones.
    """

    by: Literal["session", "speaker", "stratified"] = "session"
    text_disjoint: bool = False
    members: str = DEFAULT


@dataclass(frozen=True, kw_only=True)
class FramesSpec:
    """Acoustic frames: a log-mel filter bank of 128 bins, 25 ms window, 12 ms hop (section 4.2).

    The compared systems have others: ``mfcc`` (a third of `num_bins` coefficients with their first
    and second differences) and ``spectrogram`` (log power, `num_bins` = half the FFT + 1).
    """

    kind: Literal["log_mel", "mfcc", "spectrogram"] = "log_mel"
    num_bins: int = 128
    window_ms: float = 25.0
    hop_ms: float = 12.0

    def __post_init__(self) -> None:
        require(self, at_least(1), "num_bins", "window_ms", "hop_ms")


@dataclass(frozen=True, kw_only=True)
class FeatureSpec:
    """What a model is given.

    `frames_per_step` consecutive frames are averaged into one step (the reduction factor of
    Transformer TTS; 1 in the paper). `max_steps` and `max_words` cut off what comes later; None
    cuts nothing. `vectors` names the word vectors by content:
    ``name@digest``, `phonemizer` the engine that spelt the words; a study leaves both at
    ``default``, and planning fills them in.
    """

    frames: FramesSpec = FramesSpec()
    frames_per_step: int = 1
    max_steps: int | None = None
    max_words: int | None = None
    vectors: str = DEFAULT
    phonemizer: str = DEFAULT

    def __post_init__(self) -> None:
        require(self, at_least(1), "frames_per_step", "max_steps", "max_words")


@dataclass(frozen=True, kw_only=True)
class TrainingSpec:
    """Optimisation (section 4.2): Adam, learning rate 1e-5, batches of 4, dev WA stops early.

    *Assumed*: `max_epochs`, `patience` (epochs without a better dev WA), `bucket_batches`
    (batches that are sorted by length together), no gradient clipping and float32 throughout.

    `precision` is that of matrix products and convolutions: ``float32``, ``tf32`` (a GPU's
    alone) or ``bfloat16`` (both, by torch's autocast). Weights, gradients and
    the optimiser are float32 in every case.
    """

    learning_rate: float = 1e-5
    batch_size: int = 4
    max_epochs: int = 100
    patience: int = 10
    clip_norm: float | None = None
    clip_value: float | None = None
    weight_decay: float = 0.0
    bucket_batches: int = 32
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        require(self, at_least(1), "batch_size", "max_epochs", "patience", "bucket_batches")
        require(self, at_least(0), "weight_decay")
        require(self, ABOVE_0, "learning_rate", "clip_norm", "clip_value")


class ExtraInput(NamedTuple):
    """An input besides frames, words and phonemes.

    `encoder` is the name@digest of the pre-trained model that computes it; empty where none does.
    """

    name: str
    encoder: str = ""


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Base of every system's configuration; `system` is its name in study files."""

    system: str

    @property
    def extras(self) -> tuple[ExtraInput, ...]:
        """The inputs of `mlt_ray.features.extras` that this configuration reads."""
        return ()

    @property
    def can_be_packed(self) -> bool:
        """Whether runs of this configuration are stepped by one call where they are a pack.

        Such a system runs under `torch.vmap`, all its weights are trained, and its loss leaves
        out utterances that bear `mlt_ray.batch.NO_LABEL`.
        """
        return False

    @property
    def text_encoder(self) -> str | None:
        """What the field `encoder` names, where this configuration reads a text encoder."""
        return None

    @property
    def speech_encoder(self) -> str | None:
        """What the field of this name says, where a configuration has it."""
        return None


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """Everything that decides a row's numbers, apart from fold and seed.

    `corpus` is the corpus's fingerprint. `recipe` counts changes of the code that alter numbers
    under the same values; raising it retires every stored run.
    """

    corpus: str
    model: ModelSpec
    folds: FoldSpec = FoldSpec()
    features: FeatureSpec = FeatureSpec()
    training: TrainingSpec = TrainingSpec()
    recipe: int = field(default=6)

    def as_dict(self) -> dict[str, Any]:
        """Nested plain values, as stored in a report and logged to MLflow."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training: a specification, the fold (1–5) that it is tested on, and a seed."""

    spec: RunSpec
    fold: int
    seed: int

    def __str__(self) -> str:
        return f"fold {self.fold}, seed {self.seed}"

    @cached_property
    def digest(self) -> str:
        """16 hex digits that name the run in the store."""
        values = {"spec": self.spec.as_dict(), "fold": self.fold, "seed": self.seed}
        return digest_of(values)


def digest_of(values: Any) -> str:
    """16 hex digits of SHA-256 over canonical JSON; dataclasses count as their fields."""
    if dataclasses.is_dataclass(values) and not isinstance(values, type):
        values = dataclasses.asdict(values)
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
