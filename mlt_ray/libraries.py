"""Which libraries decide numbers, and their versions: a part of a run's digest and of cache keys.

Features that two versions of a library computed lie in two caches, and runs of two versions have
two digests, so no table mixes them. A specification holds the versions as one text, such as
``numpy 2.4.6, torch 2.11.0``, in the order of the names. A version is the public one: torch for a
GPU and for a CPU have the same.
"""

import platform
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from importlib.util import find_spec
from typing import Any, Final, NamedTuple

from mlt_ray.errors import UserError

_OWN: Final = "mlt_ray.features"

RECIPE: Final = 1
"""Version of our own code of features; raised when a change of it alters a feature."""

_AUDIO: Final = (_OWN, "libsndfile", "numpy", "soundfile", "torch", "torchaudio")
_ENCODED_TEXT: Final = (_OWN, "numpy", "tokenizers", "torch", "transformers")

FEATURES: Final[Mapping[str, tuple[str, ...]]] = {
    "frames": _AUDIO,
    "tokens": (_OWN, "inflect", "numpy"),
    "vectors": (_OWN,),
    "alignment": (_OWN, "inflect", "numpy"),
    "prosody": (*_AUDIO, "opensmile"),
    "egemaps": (*_AUDIO, "opensmile"),
    "encoder_frames": (*_AUDIO, "transformers"),
    "speech_layers": (*_AUDIO, "transformers"),
    "pieces": _ENCODED_TEXT,
    "text_embedding": _ENCODED_TEXT,
    "text_mean": _ENCODED_TEXT,
    "sentence_embedding": _ENCODED_TEXT,
}
"""What computes each kind of features. What else a kind depends on is named by content: the word
vectors, the encoders, and the phonemizer with its dictionary."""

BY_SPEECH_ENCODERS: Final = ("encoder_frames", "speech_layers")
"""Those kinds that a pre-trained speech encoder computes."""

IN_OTHER_LANGUAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "tokens": (_OWN, "espeakng-loader"),
    "alignment": (_OWN, "espeakng-loader", "numpy"),
}
"""What computes those kinds of features that depend on the language, where it is not English."""

ALWAYS: Final = ("frames", "tokens", "vectors")
"""The kinds of features that every run reads."""

NETWORK: Final = ("numpy", "torch")
"""What trains a network."""

FINE_TUNED: Final = (*NETWORK, "transformers")
"""What trains a network with a text encoder inside."""

ADAPTED: Final = (*FINE_TUNED, "peft")
"""What trains a network with adapters in an encoder."""

CLASSICAL: Final = ("numpy", "scikit-learn", "scipy")
"""What fits a system that is no network."""

NONE: Final = "none"
"""The version of a library that is not installed."""


class Extra(NamedTuple):
    """A library that few rows and verbs need, and that an extra of this package installs.

    `called` is its name in messages, `module` what is imported, and `licence` what is told of it.
    """

    called: str
    module: str
    extra: str
    licence: str

    @property
    def remedy(self) -> str:
        """How it is installed, and under which licence."""
        return f'pip install "mlt-ray[{self.extra}]" ({self.licence})'


EXTRAS: Final[Mapping[str, Extra]] = {
    "opensmile": Extra(
        "openSMILE", "opensmile", "opensmile", "free for research, not for commercial products"
    ),
    "espeakng-loader": Extra("espeak-ng", "espeakng_loader", "espeak", "licence GPL-3.0"),
}
"""The libraries of extras by their names in the tables above. All others come with the package."""


class LibraryMissing(UserError):
    """The library of an extra is needed and not installed."""


def require(names: Iterable[str], where: str, otherwise: str = "") -> None:
    """Raise `LibraryMissing` if one of `EXTRAS` is among `names` and not installed.

    The message begins with `where`; `otherwise` stands behind its remedy.
    """
    wanted = set(names)
    for name, extra in EXTRAS.items():
        if name in wanted and find_spec(extra.module) is None:
            raise LibraryMissing(
                f"{where}: expected {extra.called}, got none installed; {extra.remedy}{otherwise}"
            )


def installed(names: Iterable[str]) -> str:
    """Libraries with the versions that are installed here, as a specification holds them."""
    return ", ".join(f"{name} {version(name)}" for name in sorted(set(names)))


def computing(kinds: Iterable[str], is_english: bool) -> set[str]:
    """The libraries that compute some kinds of `FEATURES` of texts in English, or not."""
    table = FEATURES if is_english else {**FEATURES, **IN_OTHER_LANGUAGES}
    return {name for kind in kinds for name in table[kind]}


def versions(libraries: str) -> dict[str, str]:
    """The versions in a specification's text by name; empty where planning has not filled it in."""
    pairs = (library.partition(" ") for library in libraries.split(", "))
    return {name: number for name, space, number in pairs if space}


def versions_of(spec: Mapping[str, Any]) -> dict[str, str]:
    """The versions of all libraries that a run's specification, as plain values, names."""
    parts = (spec.get(part, {}).get("libraries", "") for part in ("features", "training"))
    return {name: number for part in parts for name, number in versions(part).items()}


def of_kind(kind: str, libraries: str, is_english: bool = True) -> str:
    """Those libraries of a specification that compute one kind of `FEATURES`."""
    found, names = versions(libraries), sorted(computing([kind], is_english))
    return ", ".join(f"{name} {found[name]}" for name in names if name in found)


def check_installed(libraries: str) -> None:
    """`UserError` if this machine has other versions than those that a run was planned with."""
    for name, expected in versions(libraries).items():
        if version(name) != expected:
            raise UserError(
                f"{platform.node()}: expected {name} {expected}, with which the run was planned, "
                f"got {version(name)}; install the same versions on all machines"
            )


def version(name: str) -> str:
    """The public version of an installed library, or of something that only the table below knows.

    `NONE` if it is not installed.
    """
    try:
        return _OTHERS[name]() if name in _OTHERS else _public(metadata.version(name))
    except (metadata.PackageNotFoundError, ImportError):
        return NONE


def _public(number: str) -> str:
    return number.partition("+")[0]


def _libsndfile() -> str:
    import soundfile

    number: str = soundfile.__libsndfile_version__
    return number


_OTHERS: Final[Mapping[str, Callable[[], str]]] = {
    _OWN: lambda: str(RECIPE),
    "libsndfile": _libsndfile,
}
"""Versions that are not those of an installed distribution."""
