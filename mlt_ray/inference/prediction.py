"""What a trained model says of one recording."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlt_ray.corpus.utterance import Spoken

GIVEN = "given"
"""Source of a text that came with the recording."""

NONE = "none"
"""Source of the text of a recording that came without one."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """A part of a long recording, in seconds, with its text and its probabilities."""

    start_s: float
    end_s: float
    text: str
    label: str
    probabilities: Mapping[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**vars(self), "probabilities": dict(self.probabilities)}


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The most probable class of a recording, and the probability of each class; they sum to 1.

    `text_source` says where the text is from: `GIVEN`, ``asr: MODEL``, or `NONE`. `windows` are
    there for a long recording alone, in order.
    """

    audio: str
    text: str
    text_source: str
    label: str
    probabilities: Mapping[str, float]
    windows: tuple[Window, ...] = ()

    @classmethod
    def of(
        cls, spoken: Spoken, text_source: str, shares: np.ndarray, classes: tuple[str, ...]
    ) -> "Prediction":
        """The prediction with the (K,) probabilities of the classes."""
        return cls(
            audio=spoken.id,
            text=spoken.text,
            text_source=text_source,
            label=classes[int(shares.argmax())],
            probabilities=dict(zip(classes, map(float, shares), strict=True)),
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the key ``windows`` is left out where there are none."""
        values = {**vars(self), "probabilities": dict(self.probabilities)}
        values["windows"] = [window.as_dict() for window in self.windows]
        return values if self.windows else {k: v for k, v in values.items() if k != "windows"}
