"""A synthetic voice, for tests of what openSMILE hears."""

from collections.abc import Sequence

import numpy as np

RATE_HZ = 16_000


def voice(
    pitch_hz: float | Sequence[float], duration_s: float = 0.7, gain: float = 0.1
) -> np.ndarray:
    """(N,) float32: ten harmonics of a pitch, or of a pitch that glides from one to another."""
    first, last = np.broadcast_to(pitch_hz, 2)
    times = np.arange(int(duration_s * RATE_HZ)) / RATE_HZ
    phase = 2 * np.pi * np.cumsum(first + (last - first) * times / duration_s) / RATE_HZ
    return (gain * sum(np.sin(n * phase) / n for n in range(1, 11))).astype(np.float32)
