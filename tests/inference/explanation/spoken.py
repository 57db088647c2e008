"""A recording that no run of a test's store has heard."""

import numpy as np

from mlt_ray.inference.explanation.parts import Altered

SPOKEN = "I am so joyful, now."
SECONDS = 1.7


def utterance(text: str = SPOKEN, seconds: float = SECONDS) -> Altered:
    """Noise that grows louder, and a text."""
    size = round(16_000 * seconds)
    noise = np.random.default_rng(101).normal(size=size) * np.linspace(0.01, 0.2, size)
    return Altered(
        id="clip",
        audio=noise.astype(np.float32),
        text=text,
        speaker="",
        duration_s=size / 16_000,
        alignment=None,
    )
