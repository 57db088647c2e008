"""What is counted on the meta device is what a network takes on a CPU."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from mlt_ray.batch import Batch, InputSizes
from mlt_ray.models.dropout import set_dropout_keys
from mlt_ray.models.registry import SYSTEMS, build_model
from mlt_ray.spec import ModelSpec
from mlt_ray.training.footprint import Footprint, Peak, _is_plain, _Unrolled, footprint

STEPS, WORDS, FRAME_DIM, VECTORS, VECTOR_DIM = 67, 7, 23, 101, 19
SIZE, SCORED = 5, 3

MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "multilevel": ("multilevel", {"width": 32, "feed_forward": 64}),
    "audio": ("multilevel", {"width": 32, "inputs": "audio"}),
    "dropping": ("multilevel", {"width": 32, "attention_dropout": 0.1}),
    "synthesis": ("multilevel", {"width": 32, "tts_weight": 0.1}),
    "xu": ("xu", {"dense_width": 64, "width": 32}),
    "xu gru": ("xu", {"dense_width": 64, "width": 32, "cell": "gru"}),
    "yoon": ("yoon", {"width": 50}),
    "li": ("li", {}),
}


def spec_of(name: str) -> ModelSpec:
    system, values = MODELS[name]
    return SYSTEMS[system](**values)


def sizes_on(device: str) -> InputSizes:
    return InputSizes(
        frame_dim=FRAME_DIM,
        num_phonemes=31,
        num_learned_words=29,
        word_vectors=torch.zeros(VECTORS, VECTOR_DIM, device=device),
        extras={"prosody": 35, "alignment": 2},
    )


def batch_on(device: str, size: int = SIZE, steps: int = STEPS) -> Batch:
    with torch.device(device):
        spans = torch.zeros(size, WORDS, 2, dtype=torch.int64)
        spans[..., 1] = steps
        return Batch(
            utterances=torch.arange(size),
            labels=torch.zeros(size, dtype=torch.int64),
            frames=torch.zeros(size, steps, FRAME_DIM),
            num_frames=torch.full((size,), steps),
            words=torch.ones(size, WORDS, dtype=torch.int64),
            num_words=torch.full((size,), WORDS),
            phonemes=torch.ones(size, WORDS, 11, dtype=torch.int64),
            extras={"prosody": torch.zeros(size, 35), "alignment": spans},
        )


def counted(name: str) -> Footprint:
    return footprint(
        spec_of(name), sizes_on("meta"), batch_on("meta"), batch_on("meta", size=SCORED)
    )


def on_a_cpu(name: str) -> int:
    """The most bytes that a training step makes on a CPU."""
    network, batch = build_model(spec_of(name), sizes_on("cpu")), batch_on("cpu")
    network.train()
    with Peak() as peak:
        set_dropout_keys(network, batch.utterances, 1)
        network.loss(batch).backward()
    return peak.most


@pytest.mark.parametrize("name", MODELS)
def test_weights_are_those_of_the_network(name: str) -> None:
    network = build_model(spec_of(name), sizes_on("cpu"))
    found = counted(name)
    weights = [*network.parameters(), *network.buffers()]
    assert found.weights == sum(w.numel() * w.element_size() for w in weights)
    assert found.trained == sum(4 * w.numel() for w in network.parameters())


@pytest.mark.parametrize("name", MODELS)
def test_a_step_takes_about_what_it_takes_on_a_cpu(name: str) -> None:
    """With torch's own recurrent layers and fused attention there, and ours in their place here."""
    assert 0.85 < counted(name).step / on_a_cpu(name) < 1.8


def test_a_peak_counts_what_is_alive_at_once() -> None:
    with torch.device("meta"), Peak() as peak:
        first = torch.zeros(1000)
        first = first[:10].view(2, 5)  # the same bytes
        torch.ones(500, dtype=torch.float64)  # gone at once
        second = torch.ones(250)
    assert peak.most == 8000
    assert second.is_meta


def test_an_absurd_network_is_counted_and_not_made() -> None:
    spec = replace(spec_of("multilevel"), width=10_000_000)
    found = footprint(spec, sizes_on("meta"), batch_on("meta"), batch_on("meta"))
    assert found.weights > 10**16


class Reading:
    """A forward pass that reads values of tensors, which the meta device does not have."""

    def __init__(self, forward: Any) -> None:
        self._forward = forward

    def __call__(self, *given: Any) -> Tensor:
        bool(given[0].labels.sum() > 0)
        found: Tensor = self._forward(*given)
        return found


def test_a_network_that_cannot_be_stepped_there_is_taken_by_its_layers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mlt_ray.models.multilevel.network import Multilevel

    traced = counted("multilevel")
    forward = Multilevel.forward
    monkeypatch.setattr(
        Multilevel, "forward", lambda self, batch: Reading(lambda b: forward(self, b))(batch)
    )
    found = counted("multilevel")
    assert found[:2] == traced[:2]
    assert 0.5 < found.step / traced.step < 4


@pytest.mark.parametrize("kind", [torch.nn.LSTM, torch.nn.GRU, torch.nn.RNN])
def test_a_recurrent_layer_is_counted_however_it_was_made(kind: Any) -> None:
    x = torch.zeros(2, 5, 3, device="meta")
    plain = kind(3, 4, batch_first=True, device="meta")
    given, wanted = _Unrolled(plain)(x), plain(x)
    assert [t.shape for t in tensors(given)] == [t.shape for t in tensors(wanted)]
    assert _is_plain(plain)
    for options in ({"num_layers": 2}, {"bias": False}, {"bidirectional": True}):
        assert not _is_plain(kind(3, 4, batch_first=True, device="meta", **options))


def tensors(found: Any) -> list[Tensor]:
    """The tensors of nested tuples, in order."""
    return [found] if isinstance(found, Tensor) else [t for part in found for t in tensors(part)]
