"""Frames of the graph equal those that torchaudio and numpy compute."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlt_ray.features.frames import average_frames, compute_frames
from mlt_ray.inference.graphs.front_end import FrontEnd, write_front_end
from mlt_ray.spec import FeatureSpec, FramesSpec

onnxruntime = pytest.importorskip("onnxruntime", reason='needs pip install "mlt-ray[onnx]"')

SPECS = {
    "log-mel": FeatureSpec(),
    "log-mel, averaged and cut": FeatureSpec(
        frames=FramesSpec(num_bins=40, hop_ms=10.0), frames_per_step=4, max_steps=29
    ),
    "log-mel, averages of many": FeatureSpec(frames_per_step=11),
    "spectrogram": FeatureSpec(frames=FramesSpec(kind="spectrogram", num_bins=257)),
}
HALF_STEP = 2.0**-7
"""Between two neighbours of float16 from 8 to 16, between which a value may be rounded."""


def recordings() -> list[np.ndarray]:
    """Noise with a hum, of lengths around one and two windows, and of a few seconds; silence."""
    generator = np.random.default_rng(3)
    lengths = (0, 1, 399, 400, 401, 591, 592, 593, 16_000, 40_007)
    noise = [generator.normal(scale=0.03, size=n) for n in lengths]
    hum = [np.sin(np.arange(n) * 0.1) * 0.2 + 0.01 for n in lengths]
    return [np.float32(a + b) for a, b in zip(noise, hum, strict=True)] + [
        np.zeros(997, np.float32)
    ]


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_it_gives_the_means_of_frames_that_a_store_keeps(spec: FeatureSpec, tmp_path: Path) -> None:
    write_front_end(spec, tmp_path / "frontend.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "frontend.onnx")
    for samples in recordings():
        stored = compute_frames(samples, 16_000, spec.frames).astype(np.float16)
        expected = average_frames(stored.astype(np.float32), spec.frames_per_step)
        [found] = session.run(None, {"samples": samples})
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected[: spec.max_steps], atol=1.01 * HALF_STEP)
        assert np.abs(found - expected[: spec.max_steps]).mean() < 0.05 * HALF_STEP


def test_frames_of_an_encoder_are_refused() -> None:
    frames = FramesSpec(kind="encoder", encoder="resemblyzer")
    with pytest.raises(ValueError, match="expected frames of kind log_mel or spectrogram, got enc"):
        FrontEnd(replace(FeatureSpec(), frames=frames))
