"""The dual recurrent encoder, worked through step by step."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mlt_ray.batch import Batch, InputSizes, real
from mlt_ray.models.dropout import set_dropout_keys
from mlt_ray.models.registry import build_model
from mlt_ray.models.yoon.network import Encoder, Yoon, attend, initialise, projection
from mlt_ray.models.yoon.values import YoonSpec
from mlt_ray.spec import ExtraInput, ModelSpec
from tests.models.batches import SIZES, made_up
from tests.models.checks import SystemChecks, TrainedWordVectors

SMALL = YoonSpec(width=13)
SPECS = {"mdrea": SMALL, "mdre": replace(SMALL, variant="mdre")}
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


class TestYoon(SystemChecks, TrainedWordVectors):
    network = Yoon
    specs = SPECS

    def dropout_rates(self, spec: ModelSpec) -> list[float]:
        return [0.3, 0.3, 0.7, 0.7]


def build(spec: YoonSpec) -> Yoon:
    torch.manual_seed(5)
    model = build_model(spec, SIZES).eval()
    assert isinstance(model, Yoon)
    return model


def states_of(encoder: Encoder, x: Tensor) -> Tensor:
    """(H, …) states of one sequence (T, C), by torch's cell, step after step."""
    gru = encoder.gru.ahead
    cell = nn.GRUCell(gru.input_size, gru.hidden_size)
    cell.load_state_dict({n.removesuffix("_l0"): p for n, p in gru.state_dict().items()})
    state, states = torch.zeros(gru.hidden_size), []
    for step in x:
        state = cell(step[None], state[None])[0]
        states.append(state)
    return torch.stack(states)


def words_of(model: Yoon, batch: Batch, n: int) -> Tensor:
    return model.words(batch.words[n : n + 1])[0, : int(batch.num_words[n])]


@torch.no_grad()
def test_mdrea_is_worked_utterance_by_utterance() -> None:
    model, batch = build(SMALL), made_up([11, 1, 5], [2, 7, 1])
    found = model(batch)
    for n in range(3):
        heard = states_of(model.audio, batch.frames[n, : int(batch.num_frames[n])])[-1]
        read = states_of(model.text, words_of(model, batch, n))
        query = model.audio_projection(torch.cat([heard, batch.extras["prosody"][n]]))
        scores = [math.exp(float(query @ state)) for state in read]
        text = sum(s / sum(scores) * state for s, state in zip(scores, read, strict=True))
        expected = model.classifier(torch.cat([text, query]))
        torch.testing.assert_close(found[n], expected, **CLOSE)


@torch.no_grad()
def test_mdre_is_worked_utterance_by_utterance() -> None:
    model, batch = build(replace(SMALL, variant="mdre")), made_up([11, 1, 5], [2, 7, 1])
    assert model.text_projection is not None
    found = model(batch)
    for n in range(3):
        heard = states_of(model.audio, batch.frames[n, : int(batch.num_frames[n])])[-1]
        read = states_of(model.text, words_of(model, batch, n))[-1]
        audio = model.audio_projection(torch.cat([heard, batch.extras["prosody"][n]]))
        expected = model.classifier(torch.cat([model.text_projection(read), audio]))
        torch.testing.assert_close(found[n], expected, **CLOSE)


def test_attention_is_the_softmax_of_products_over_real_words() -> None:
    generator = torch.Generator().manual_seed(1)
    query, states = (torch.randn(*s, generator=generator) for s in ((2, 5), (2, 3, 5)))
    found = attend(query, states, real(torch.tensor([3, 2]), 3))
    for n, length in enumerate((3, 2)):
        products = states[n, :length].numpy() @ query[n].numpy()
        weights = np.exp(products) / np.exp(products).sum()
        expected = weights @ states[n, :length].numpy()
        np.testing.assert_allclose(found[n].numpy(), expected, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_the_loss_is_the_sigmoid_cross_entropy_of_every_class() -> None:
    model, batch = build(SMALL), made_up([11, 1, 5], [2, 7, 1])
    total = 0.0
    for row, label in zip(model(batch).tolist(), batch.labels.tolist(), strict=True):
        for k, logit in enumerate(row):
            share = 1 / (1 + math.exp(-logit))
            total -= math.log(share if k == label else 1 - share)
    assert float(model.loss(batch)) == pytest.approx(total / 12, rel=1e-5)


def test_dropout_falls_on_what_goes_in_and_on_outputs_but_not_on_the_last_state() -> None:
    torch.manual_seed(0)
    encoder = Encoder(3, 13, dropout=0.5).train()
    set_dropout_keys(encoder, torch.arange(2), 1)
    x, lengths = torch.ones(2, 7, 3), torch.tensor([7, 5])
    outputs, last = encoder(x, lengths)
    states = encoder.gru(encoder.input_dropout(x), lengths)
    assert torch.equal(last, torch.stack([states[0, 6], states[1, 4]]))
    torch.testing.assert_close(outputs, encoder.output_dropout(states))
    assert 0.3 < float((outputs == 0).float().mean()) < 0.7
    assert bool((encoder.input_dropout(x) == 0).any())


def test_a_gru_starts_orthogonal_with_open_gates() -> None:
    inputs, width = 11, 7
    gru = nn.GRU(inputs, width)
    torch.manual_seed(0)
    initialise(gru, inputs, width)
    both = torch.cat([gru.weight_ih_l0, gru.weight_hh_l0], dim=1).detach()
    for rows in (both[: 2 * width], both[2 * width :]):
        torch.testing.assert_close(rows @ rows.T, torch.eye(len(rows)), **CLOSE)
    assert gru.bias_ih_l0.tolist() == [1.0] * 2 * width + [0.0] * width
    assert not gru.bias_hh_l0.any()


def test_a_projection_starts_within_a_quarter() -> None:
    layer = projection(103, 29)
    assert not layer.bias.any()
    assert 0.24 < layer.weight.abs().max().item() <= 0.25


def test_prosody_is_needed_and_used() -> None:
    assert SMALL.extras == (ExtraInput("prosody"),)
    model, batch = build(SMALL), made_up([11, 3], [2, 7])
    other = replace(batch, extras={"prosody": batch.extras["prosody"] + 1})
    assert not torch.allclose(model(batch), model(other), atol=1e-3)


@pytest.mark.parametrize("variant", ["mdrea", "mdre"])
def test_the_paper_s_model_has_the_parameters_that_its_layers_add_up_to(variant: str) -> None:
    sizes = InputSizes(
        frame_dim=39,
        num_phonemes=2,
        num_learned_words=331,
        word_vectors=torch.zeros(1009, 300),
        extras={"prosody": 35},
    )
    gru = 3 * 200 * (39 + 200 + 2) + 3 * 200 * (300 + 200 + 2)
    words = (331 + 1009 + 1) * 300
    joined = {
        "mdrea": 236 * 200 + 401 * 4,
        "mdre": 236 * 117 + 201 * 100 + 218 * 4,
    }
    spec = YoonSpec(variant=variant)  # type: ignore[arg-type]
    model = build_model(spec, sizes)
    assert sum(p.numel() for p in model.parameters()) == gru + words + joined[variant]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 1}, "width: expected a number from 2 to 10000000, got 1"),
        ({"text_dropout": 1.0}, "text_dropout: expected a number at least 0 and below 1"),
    ],
)
def test_numbers_out_of_bounds_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        YoonSpec(**values)
