"""Made-up recordings for speech encoders."""

import numpy as np


def noise(length: int, seed: int = 0) -> np.ndarray:
    """Samples (N,) of a random walk, float32 in [-1, 1]."""
    found = np.random.default_rng(seed).normal(size=length).cumsum() * 0.003
    return np.clip(found, -1, 1).astype(np.float32)
