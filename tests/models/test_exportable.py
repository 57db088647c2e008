"""Layers for a trace equal those that they stand in for; `SystemChecks` compares whole systems."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mlt_ray.batch import Batch, InputSizes
from mlt_ray.models.attention import Attention
from mlt_ray.models.exportable import LEVELS, exportable, traced_max, write_graph
from mlt_ray.models.layers import ScaledPositions
from mlt_ray.models.li.network import interval_max
from mlt_ray.models.speech.values import SpeechSpec
from mlt_ray.models.system import System
from tests.models import test_multilevel
from tests.models.batches import SIZES, made_up, padded
from tests.models.checks import FRAMES, TOLERANCE, WORDS, build, logits
from tests.models.graphs import traced
from tests.models.test_speech import speech_batch
from tests.tiny_speech_encoder import WIDTH, write_speech_encoder


@torch.no_grad()
@pytest.mark.parametrize("num_keys", [1, 2, 17, 64, 101])
@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_the_same_for_any_number_of_keys(num_keys: int, causal: bool) -> None:
    torch.manual_seed(num_keys)
    layer = Attention(14, 2).eval()
    x, memory = torch.randn(3, 7, 14), torch.randn(3, num_keys, 14)
    mask = torch.arange(num_keys) < torch.tensor([[num_keys], [1], [max(1, num_keys // 2)]])
    found = exportable(layer)(x, memory, mask, causal)
    torch.testing.assert_close(found, layer(x, memory, mask, causal), **TOLERANCE)


@torch.no_grad()
@pytest.mark.parametrize(("num_steps", "width"), [(1, 2), (3, 7), (2049, 14)])
def test_positions_are_the_same_for_any_length_and_width(num_steps: int, width: int) -> None:
    layer, x = ScaledPositions(0.1).eval(), torch.zeros(2, num_steps, width)
    layer.scale.fill_(0.7)
    torch.testing.assert_close(exportable(layer)(x), layer(x), **TOLERANCE)


@pytest.mark.parametrize("num_positions", [1, 2, 5, 1000])
def test_maxima_over_intervals_are_the_same(num_positions: int) -> None:
    generator = torch.Generator().manual_seed(num_positions)
    x = torch.randn(3, num_positions, 5, generator=generator)
    edges = torch.randint(0, num_positions + 1, (3, 23, 2), generator=generator).sort().values
    edges[0, 0] = torch.tensor([0, num_positions])
    first, last = edges.unbind(-1)
    assert num_positions < 1 << LEVELS
    assert torch.equal(traced_max(x, first, last), interval_max(x, first, last))


def test_the_network_itself_stays_as_it_was() -> None:
    network = build(test_multilevel.SMALL, SIZES).train()
    kinds = [type(layer) for layer in network.modules()]
    copied = exportable(network)
    assert [type(layer) for layer in network.modules()] == kinds
    assert network.training
    assert not copied.training
    assert Attention not in {type(layer) for layer in copied.modules()}


def test_speech_synthesis_is_no_part_of_a_graph(tmp_path: Path) -> None:
    """But its attention that sees the past alone is."""
    network = build(replace(test_multilevel.SMALL, tts_weight=0.5), SIZES)
    run = traced(network, made_up([3, 37, 23], [5, 2, 1]), tmp_path / "model.onnx")
    batch = made_up(FRAMES, WORDS)
    torch.testing.assert_close(run(padded(batch)), logits(network, batch), **TOLERANCE)


@pytest.mark.parametrize("kind", ["wavlm", "hubert", "whisper"])
def test_a_speech_encoder_that_was_fine_tuned_is_part_of_the_graph(
    kind: str, tmp_path: Path
) -> None:
    spec = SpeechSpec(fine_tune="all")
    folder = write_speech_encoder(tmp_path / kind, kind)
    sizes = replace(SIZES, frame_dim=WIDTH, extras={}, speech_encoder=folder)
    network = build(spec, sizes)

    def batch(*num_frames: int) -> Batch:
        return speech_batch(made_up(num_frames, [1] * len(num_frames)), spec, WIDTH, 1)

    run = traced(network, batch(23, 7), tmp_path / "model.onnx")
    for given in (batch(1), batch(3, 41, 17)):
        torch.testing.assert_close(run(padded(given)), logits(network, given), **TOLERANCE)


class Halves(System):
    """A network of a user's own, whose rows and widths a trace would fix but for `Reshaping`."""

    def __init__(self, spec: object, sizes: InputSizes) -> None:
        super().__init__()
        self.classifier = nn.Linear(sizes.frame_dim, sizes.num_classes)
        self.register_forward_hook(lambda *_: pytest.fail("a hook is not traced"))

    def forward(self, batch: Batch) -> Tensor:
        halves = batch.frames.unflatten(2, (-1, 1)).flatten(2)
        count = torch.arange(halves.shape[1])
        return self.classifier((halves * (count < batch.num_frames[:, None])[..., None]).sum(1))


@torch.no_grad()
def test_shapes_behind_unflatten_are_not_those_of_the_traced_batch(tmp_path: Path) -> None:
    network = Halves(None, SIZES)
    run = traced(network, made_up([3, 37, 23], [5, 2, 1]), tmp_path / "model.onnx")
    batch = made_up(FRAMES, WORDS)
    sums = (batch.frames * batch.frame_mask[..., None]).sum(1)
    torch.testing.assert_close(run(padded(batch)), network.classifier(sums), **TOLERANCE)


class Sum(nn.Module):
    """The sum of the first of two inputs."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x.sum(dim=1)


def test_a_graph_has_the_named_axes_and_no_input_that_it_does_not_read(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason='needs pip install "mlt-ray[onnx]"')
    inputs = {"frames": torch.zeros(2, 3, 5), "prosody": torch.zeros(2, 7)}
    write_graph(Sum(), inputs, ["sums"], tmp_path / "sum.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "sum.onnx")
    [read], [given] = session.get_inputs(), session.get_outputs()
    assert (read.name, read.shape) == ("frames", ["batch", "frames", 5])
    assert (given.name, given.shape) == ("sums", ["batch", 5])
    frames = np.arange(4 * 3 * 5, dtype=np.float32).reshape(4, 3, 5)
    np.testing.assert_array_equal(session.run(None, {"frames": frames})[0], frames.sum(axis=1))
