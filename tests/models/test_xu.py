"""The learnt alignment, put together from torch's own layers."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlt_ray.batch import InputSizes
from mlt_ray.models.dropout import set_dropout_keys
from mlt_ray.models.recurrent import Recurrent
from mlt_ray.models.registry import build_model
from mlt_ray.models.xu.network import AttentionPooling, Xu
from mlt_ray.models.xu.values import XuSpec
from mlt_ray.spec import ModelSpec
from tests.models.batches import SIZES, made_up
from tests.models.checks import SystemChecks, TrainedWordVectors

SMALL = XuSpec(dense_width=19, width=7, num_heads=2)
SPECS = {"lstm": SMALL, "gru": replace(SMALL, cell="gru")}
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


class TestXu(SystemChecks, TrainedWordVectors):
    network = Xu
    specs = SPECS

    def dropout_rates(self, spec: ModelSpec) -> list[float]:
        return [0.0, 0.5, 0.5]


def build(spec: XuSpec) -> Xu:
    torch.manual_seed(5)
    model = build_model(spec, SIZES).eval()
    assert isinstance(model, Xu)
    return model


def read(layer: Recurrent, x: Tensor) -> Tensor:
    """(1, T, D) states of one sequence (1, T, C), by torch's layer in both directions."""
    kind = nn.LSTM if isinstance(layer.ahead, nn.LSTM) else nn.GRU
    theirs = kind(x.shape[2], layer.ahead.hidden_size, batch_first=True, bidirectional=True)
    assert layer.back is not None
    back = {f"{n}_reverse": p for n, p in layer.back.state_dict().items()}
    theirs.load_state_dict({**layer.ahead.state_dict(), **back})
    return theirs(x)[0]


@torch.no_grad()
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_an_utterance_goes_through_torch_s_layers(cell: str) -> None:
    spec = XuSpec(dense_width=19, width=7, num_heads=2, cell=cell)  # type: ignore[arg-type]
    model, batch = build(spec), made_up([11, 1, 5], [2, 7, 1])
    attention = nn.MultiheadAttention(14, 2, batch_first=True).eval()
    ours = model.alignment
    attention.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key_value.weight]))
    attention.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key_value.bias]))
    attention.out_proj.load_state_dict(ours.output.state_dict())
    dense = model.speech.dense[0]
    found = model(batch)
    for n in range(3):
        frames = batch.frames[n : n + 1, : int(batch.num_frames[n])]
        words = batch.words[n : n + 1, : int(batch.num_words[n])]
        heard = F.linear(frames, dense.weight, dense.bias).relu()
        speech = read(model.speech.recurrent, heard)
        text = read(model.text.recurrent, model.text.words(words))
        aligned, _ = attention(text, speech, speech)
        fused = read(model.fusion, torch.cat([text, aligned], dim=-1))[0]
        pooled = pooled_by_hand(model.pooling, fused)
        expected = F.linear(pooled, model.classifier.weight, model.classifier.bias)
        torch.testing.assert_close(found[n], expected, **CLOSE)


def pooled_by_hand(pooling: AttentionPooling, x: Tensor) -> Tensor:
    """(D,) from (W, D), one position at a time."""
    weights = []
    for position in x:
        hidden = torch.tanh(pooling.hidden.weight @ position + pooling.hidden.bias)
        weights.append(math.exp(float(pooling.context.weight[0] @ hidden)))
    pairs = zip(weights, x, strict=True)
    return torch.stack([w / sum(weights) * position for w, position in pairs]).sum(dim=0)


@torch.no_grad()
def test_pooling_leaves_padding_out() -> None:
    torch.manual_seed(0)
    pooling, x = AttentionPooling(5), torch.randn(2, 7, 5)
    lengths = (7, 3)
    mask = torch.arange(7) < torch.tensor(lengths)[:, None]
    found = pooling(x, mask)
    for n, length in enumerate(lengths):
        expected = pooled_by_hand(pooling, x[n, :length])
        torch.testing.assert_close(found[n], expected, **CLOSE)


def test_dropout_falls_on_the_dense_layer_and_on_what_is_classified() -> None:
    model, batch = build(SMALL).train(), made_up([11, 3], [2, 7])
    seen: dict[str, Tensor] = {}

    def remember(name: str, value: Tensor) -> None:
        seen[name] = value

    model.speech.recurrent.register_forward_pre_hook(lambda _, x: remember("dense", x[0]))
    model.classifier.register_forward_pre_hook(lambda _, x: remember("pooled", x[0]))
    set_dropout_keys(model, batch.utterances, 1)
    model(batch)
    # ReLU zeroes a half by itself, and dropout a half of the rest.
    assert 0.6 < float((seen["dense"] == 0).float().mean()) < 0.9
    assert 0.2 < float((seen["pooled"] == 0).float().mean()) < 0.8


def test_nothing_but_frames_and_words_is_needed() -> None:
    assert XuSpec().extras == ()


def test_the_paper_s_model_has_the_parameters_that_its_layers_add_up_to() -> None:
    sizes = InputSizes(
        frame_dim=257,
        num_phonemes=2,
        num_learned_words=331,
        word_vectors=torch.zeros(1009, 300),
    )

    def lstm(inputs: int) -> int:
        return 2 * 4 * 100 * (inputs + 100 + 2)

    words = (331 + 1009 + 1) * 300
    attention = 4 * 201 * 200
    pooling = 201 * 200 + 200
    expected = 258 * 512 + lstm(512) + words + lstm(300) + attention + lstm(400) + pooling
    model = build_model(XuSpec(), sizes)
    assert sum(p.numel() for p in model.parameters()) == expected + 201 * 4


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dropout": -0.1}, "dropout: expected a number at least 0 and below 1"),
        ({"num_heads": 7}, "width: expected twice of it to be a multiple of num_heads"),
        ({"dense_width": 0}, "dense_width: expected a number from 1 to 10000000, got 0"),
    ],
)
def test_numbers_out_of_bounds_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        XuSpec(**values)
