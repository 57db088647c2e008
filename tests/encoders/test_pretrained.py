"""Encoders are loaded by one thread at a time, and leave transformers and torch as they were."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from transformers import PreTrainedModel

from mlt_ray.encoders.pretrained import load_model
from mlt_ray.encoders.recognition import open_recogniser
from tests.encoders.noise import noise
from tests.encoders.test_recognition import write_recogniser
from tests.tiny_encoder import write_encoder


def replaced() -> list[object]:
    """What transformers puts others in the place of while it loads."""
    names = ("normal_", "kaiming_uniform_", "zeros_", "ones_", "uniform_")
    return [PreTrainedModel.tie_weights, *(getattr(torch.nn.init, name) for name in names)]


def test_threads_that_load_at_once_leave_everything_in_its_place(tmp_path: Path) -> None:
    text, recogniser = write_encoder(tmp_path / "text"), write_recogniser(tmp_path / "recogniser")
    before, start = replaced(), threading.Barrier(6)
    expected = list(open_recogniser(recogniser).transcribe([noise(16_000, seed=1)]))

    def loads(number: int) -> None:
        start.wait()
        for _ in range(3):
            if number % 2:
                load_model(text)
            else:
                open_recogniser(recogniser)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(loads, range(6)))
    assert replaced() == before
    assert list(open_recogniser(recogniser).transcribe([noise(16_000, seed=1)])) == expected
