"""The specification of a run, with everything that its scores depend on, and the run's digest.

Settings that only decide where and how fast a run is computed (CPUs, GPUs, workers) are not part
of it and never of a digest. This file imports neither torch nor Ray.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal, NamedTuple

from mlt_ray.parsing import ABOVE_0, at_least, require

SECTIONS: Final = ("folds", "features", "model", "training")
"""Keys of a study file for the parts of a `RunSpec`."""

Precision = Literal["float32", "tf32", "bfloat16"]

NO_TF32 = "training.precision: expected a GPU for tf32, found none; set float32 or bfloat16"
"""Text of the error for tf32 without a GPU: a CPU would compute in float32."""

DEFAULT: Final = "default"
"""Placeholder in a study; planning replaces it by name@digest."""


@dataclass(frozen=True, kw_only=True)
class FoldSpec:
    """How utterances are divided into five folds of train, dev and test, 3/1/1 (section 4.1).

    `by`: *assumed* to be ``session``, the only 3/1/1 split of IEMOCAP in which each speaker is in
    one part; `mlt_ray.corpus.folds.make_folds` explains all three. `text_disjoint`: drop training
    utterances if an utterance of dev or test has the same text. `members`: digest of the utterances
    in each part. A study leaves it at ``default`` and planning fills it in: if a new version of a
    library splits differently, the runs get other digests and are not mixed with older ones.
    """

    by: Literal["session", "speaker", "stratified"] = "session"
    text_disjoint: bool = False
    members: str = DEFAULT


@dataclass(frozen=True, kw_only=True)
class FramesSpec:
    """Acoustic frames: log-mel filter bank with 128 bins, 25 ms window and 12 ms hop (section 4.2).

    Compared systems use other kinds: ``mfcc`` (`num_bins` / 3 coefficients, and their first and
    second differences) and ``spectrogram`` (log power, `num_bins` = FFT size / 2 + 1).
    """

    kind: Literal["log_mel", "mfcc", "spectrogram"] = "log_mel"
    num_bins: int = 128
    window_ms: float = 25.0
    hop_ms: float = 12.0

    def __post_init__(self) -> None:
        require(self, at_least(1), "num_bins", "window_ms", "hop_ms")


@dataclass(frozen=True, kw_only=True)
class FeatureSpec:
    """The features of an utterance: frames, words and phonemes.

    `frames_per_step`: number of consecutive frames that are averaged into one step (the reduction
    factor of Transformer TTS; 1 in the paper). `max_steps`, `max_words`: longer utterances are cut;
    None cuts nothing. `vectors`: word vectors, as ``name@digest``. `phonemizer`: the program that
    turns words into phonemes. `libraries`: what computes the features, with versions
    (`mlt_ray.libraries`). A study leaves the last three at ``default`` and planning fills them in.
    """

    frames: FramesSpec = FramesSpec()
    frames_per_step: int = 1
    max_steps: int | None = None
    max_words: int | None = None
    vectors: str = DEFAULT
    phonemizer: str = DEFAULT
    libraries: str = DEFAULT

    def __post_init__(self) -> None:
        require(self, at_least(1), "frames_per_step", "max_steps", "max_words")


@dataclass(frozen=True, kw_only=True)
class TrainingSpec:
    """Optimisation: Adam, learning rate 1e-5, batches of 4, early stopping by dev WA (section 4.2).

    *Assumed*: `max_epochs`; `patience`, the epochs without a better dev WA after which training
    stops; `bucket_batches`, the number of batches that are sorted by length together; no gradient
    clipping; float32.

    `precision` of matrix products and convolutions: ``float32``, ``tf32`` (GPU only) or
    ``bfloat16`` (GPU or CPU, by torch's autocast). Weights, gradients and Adam's state are always
    float32.

    `libraries`: what trains, with versions; planning fills it in.
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
    libraries: str = DEFAULT

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
    """Base class of every system's configuration. `system` is the system's name in study files."""

    system: str

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
    def reads_words(self) -> bool:
        """True if this configuration reads the words or phonemes of `mlt_ray.corpus.words`.

        False for a system of audio alone, or if a text encoder alone reads the texts.
        """
        return True

    @property
    def text_encoder(self) -> str | None:
        """Name of the pre-trained text encoder; None if this configuration uses none."""
        return None

    @property
    def speech_encoder(self) -> str | None:
        """Name of the pre-trained speech encoder; None if this configuration uses none."""
        return None


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """Everything that the scores of a row depend on, apart from fold and seed.

    `corpus` is the corpus's fingerprint. `recipe` is raised when a change of the code changes
    scores; no run that was stored before is then used again.
    """

    corpus: str
    model: ModelSpec
    folds: FoldSpec = FoldSpec()
    features: FeatureSpec = FeatureSpec()
    training: TrainingSpec = TrainingSpec()
    recipe: int = field(default=6)

    def as_dict(self) -> dict[str, Any]:
        """All values as nested dicts, as stored in a report and logged to MLflow."""
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
    """16 hex digits of SHA-256 over the values as JSON with sorted keys; dataclasses as dicts."""
    if dataclasses.is_dataclass(values) and not isinstance(values, type):
        values = dataclasses.asdict(values)
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
