"""A trained model as a folder that needs no store, in the habit of Hugging Face's models.

    config.json                 classes, the specification, the runs and what each has not seen
    preprocessor_config.json    how a recording becomes the model's input, for people and tools
    model.safetensors           weights of all runs as ``<digest>/<name>``, and word vectors
    <digest>.skops              instead of weights, the fitted classifiers of each run
    inputs.json                 what each run fitted on its training part, and words with a vector
    encoders/<digest>/          pre-trained encoders that the model reads
    vectors/words.npy, .txt     the user's table of word vectors, for words that training lacks

Nothing that is read here is run: safetensors, JSON, NumPy arrays without pickle, and skops files in
which types other than scikit-learn's are refused. What else lies in the folder, such as the code
that goes along with it (`mlt_ray.inference.package.write`), is not looked at.

Shapes: V words, D values a vector.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mlt_ray.features.vectors import load_vectors
from mlt_ray.inference.trained import TrainedModel
from mlt_ray.spec import RunSpec

FORMAT: Final = 1
"""Version of the layout; raised when an older reader would misread a newer folder."""

CONFIG: Final = "config.json"
PREPROCESSOR: Final = "preprocessor_config.json"
WEIGHTS: Final = "model.safetensors"
INPUTS: Final = "inputs.json"
ENCODERS: Final = "encoders"
TABLE: Final = ("vectors/words.npy", "vectors/words.txt")

WORD_VECTORS: Final = "word_vectors"
"""Name of the (V, D) tensor in `WEIGHTS`; `INPUTS` has the V words."""

KIND: Final = "mlt_ray"
"""``model_type`` of such a folder."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Who speaks in a part of a fold: sessions, where the corpus has them, and speakers."""

    sessions: tuple[str, ...]
    speakers: tuple[str, ...]
    utterances: int


HeldOut = Mapping[int, Mapping[str, Part]]
"""By fold, the parts ``dev`` and ``test``, which runs of the fold were not trained on."""


def encoders_of(spec: RunSpec) -> tuple[str, ...]:
    """The pre-trained encoders, as ``name@digest``, that a prediction reads, each once."""
    model = spec.model
    named = [spec.features.frames.encoder, model.text_encoder, model.speech_encoder]
    named += [extra.encoder for extra in model.extras]
    return tuple(dict.fromkeys(filter(None, named)))


def reads_vectors(model: TrainedModel) -> bool:
    """True if words are looked up in a table of pre-trained vectors."""
    return model.is_network and model.spec.model.reads_words


@functools.cache
def packaged_vectors() -> str:
    """``name@digest`` of the word vectors that a package has."""
    found = load_vectors()
    return f"{found.name}@{found.sha256[:16]}"


def files_below(folder: Path) -> list[Path]:
    """All files in a folder and its folders, in order."""
    return sorted(path for path in folder.rglob("*") if path.is_file())
