"""The cross modality excitement, with the alignment worked out by loops."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mlt_ray.batch import InputSizes
from mlt_ray.models.li.network import Li, SpeechEncoder, interval_max, interval_mean
from mlt_ray.models.li.values import LiSpec
from mlt_ray.models.registry import build_model
from mlt_ray.spec import ExtraInput, ModelSpec
from tests.models.batches import FRAME_DIM, SIZES, made_up, picked
from tests.models.checks import SystemChecks, TrainedWordVectors

SMALL = LiSpec(channels=7, width=14, recurrent_width=5)
SPECS = {
    "kernels of the code": SMALL,
    "other kernels": replace(SMALL, first_kernel=3, next_kernel=4),
}
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


class TestLi(SystemChecks, TrainedWordVectors):
    network = Li
    specs = SPECS

    def dropout_rates(self, spec: ModelSpec) -> list[float]:
        return []


def build(spec: LiSpec) -> Li:
    torch.manual_seed(5)
    model = build_model(spec, SIZES).eval()
    assert isinstance(model, Li)
    return model


def convolved(frames: np.ndarray, encoder: SpeechEncoder) -> np.ndarray:
    """(P, C): each convolution as a sum over its kernel."""
    x = frames
    for layer in encoder.convolutions:
        weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
        size = weight.shape[2]
        rows = [
            sum(weight[:, :, k] @ x[p + k] for k in range(size)) + bias
            for p in range(len(x) - size + 1)
        ]
        x = np.stack(rows)
    return x


def pooled_mask(span: tuple[int, int], num_frames: int, kernels: tuple[int, ...]) -> list[bool]:
    """True where the mask of the word's frames, mean-pooled with the kernels, is above 0."""
    mask = [float(span[0] <= t < span[1]) for t in range(num_frames)]
    for size in kernels:
        mask = [sum(mask[p : p + size]) / size for p in range(len(mask) - size + 1)]
    return [value > 0 for value in mask]


@torch.no_grad()
@pytest.mark.parametrize("kernels", [(5, 2, 2), (3, 4, 4), (1, 1, 1)])
def test_a_word_is_mean_and_maximum_of_the_positions_that_saw_it(
    kernels: tuple[int, int, int],
) -> None:
    torch.manual_seed(3)
    spec = LiSpec(channels=7, width=6, first_kernel=kernels[0], next_kernel=kernels[1])
    encoder = SpeechEncoder(spec, FRAME_DIM)
    batch = made_up([23, 11, 17], [3, 2, 5])
    spans = {0: [(0, 9), (9, 10), (13, 23)], 1: [(4, 11), (0, 4)]}
    spans[2] = [(2, 3), (2, 3), (16, 17), (0, 17), (16, 29)]
    alignment = torch.zeros(3, 5, 2, dtype=torch.int64)
    for n, rows in spans.items():
        alignment[n, : len(rows)] = torch.tensor(rows)
    found = encoder(replace(batch, extras={"alignment": alignment}))
    assert found.shape == (3, 5, 6)
    for n, rows in spans.items():
        num_frames = int(batch.num_frames[n])
        x = convolved(batch.frames[n, :num_frames].numpy(), encoder)
        for k, span in enumerate(rows):
            kept = x[pooled_mask(span, num_frames, kernels)]
            expected = np.concatenate([kept.mean(axis=0), kept.max(axis=0)])
            np.testing.assert_allclose(found[n, k].numpy(), expected, **CLOSE)
        assert not found[n, len(rows) :].any()


@torch.no_grad()
@pytest.mark.parametrize("num_frames", [1, 2, 6, 7])
def test_few_frames_are_continued_with_zeros_to_one_position(num_frames: int) -> None:
    torch.manual_seed(3)
    encoder = SpeechEncoder(SMALL, FRAME_DIM)
    # Beside an utterance that is long enough, and alone.
    for others in ([], [19]):
        batch = made_up([num_frames, *others], [2, *(1 for _ in others)])
        frames = np.zeros((7, FRAME_DIM), np.float32)
        frames[:num_frames] = batch.frames[0, :num_frames].numpy()
        expected = np.tile(convolved(frames, encoder)[0], 2)
        found = encoder(batch)[0]
        np.testing.assert_allclose(found.numpy(), np.stack([expected, expected]), **CLOSE)


@torch.no_grad()
def test_a_word_behind_the_last_frame_is_zero() -> None:
    torch.manual_seed(3)
    batch = made_up([23, 29], [3, 3])
    alignment = torch.tensor([[[0, 9], [23, 25], [29, 41]], [[0, 9], [23, 25], [28, 41]]])
    found = SpeechEncoder(SMALL, FRAME_DIM)(replace(batch, extras={"alignment": alignment}))
    silent = [[not found[n, k].any() for k in range(3)] for n in range(2)]
    assert silent == [[False, True, True], [False, False, False]]


@pytest.mark.parametrize("seed", range(5))
def test_intervals_have_the_mean_maximum_and_gradients_of_their_rows(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(3, 37, 5, generator=generator).round(decimals=1).requires_grad_()
    y = x.detach().clone().requires_grad_()
    bounds = torch.randint(0, 38, (3, 23, 2), generator=generator).sort(dim=-1).values
    bounds[0, 0] = torch.tensor([0, 37])
    first, last = bounds.unbind(-1)
    means, maxima = interval_mean(x, first, last), interval_max(x, first, last)
    expected_means, expected_maxima = torch.zeros(3, 23, 5), torch.zeros(3, 23, 5)
    for n, w in np.ndindex(3, 23):
        a, b = bounds[n, w].tolist()
        if a < b:
            expected_means[n, w] = y[n, a:b].mean(dim=0)
            expected_maxima[n, w] = y[n, a:b].amax(dim=0)
    torch.testing.assert_close(means, expected_means, **CLOSE)
    assert torch.equal(maxima, expected_maxima)
    weights = torch.randn(3, 23, 5, generator=generator)
    (means * weights).sum().backward()
    (expected_means * weights).sum().backward()
    torch.testing.assert_close(x.grad, y.grad, **CLOSE)


def test_the_gradient_of_a_maximum_goes_to_the_largest_row() -> None:
    x = torch.randperm(37 * 5, generator=torch.Generator().manual_seed(2)).float()
    x = x.reshape(1, 37, 5).requires_grad_()
    first, last = torch.tensor([[3, 0, 7]]), torch.tensor([[29, 37, 8]])
    interval_max(x, first, last).sum().backward()
    expected = torch.zeros_like(x)
    for a, b in ((3, 29), (0, 37), (7, 8)):
        expected[0, x[0, a:b].argmax(dim=0) + a, torch.arange(5)] += 1
    torch.testing.assert_close(x.grad, expected)


@torch.no_grad()
def test_each_modality_is_excited_by_the_other_value_by_value() -> None:
    model = build(SMALL)
    generator = torch.Generator().manual_seed(1)
    text, speech = (torch.randn(2, 3, 14, generator=generator) for _ in range(2))
    words = torch.tensor([[1, 5, 19], [7, 2, 0]])
    found = model.excite(text, speech, words)
    weight, bias = model.text_excitement.weight.tolist(), model.text_excitement.bias.tolist()
    for place in np.ndindex(2, 3, 14):
        n, w, c = place
        heard = sum(a * b for a, b in zip(weight[c], speech[n, w].tolist(), strict=True)) + bias[c]
        row = float(model.speech_excitement.weight[words[n, w], c])
        for values, excited, score in ((text, found[0], heard), (speech, found[1], row)):
            expected = float(values[place]) * (1 + 1 / (1 + math.exp(-score)))
            assert float(excited[place]) == pytest.approx(expected, abs=1e-5)


@torch.no_grad()
def test_an_utterance_is_the_maximum_of_what_is_read_from_both() -> None:
    model, batch = build(SMALL), made_up([23, 29], [3, 2])
    found = model(batch)
    for n, num_words in enumerate((3, 2)):
        one = picked(batch, [n])
        text = model.text(model.words(one.words))
        excited = model.excite(text, model.speech(one), one.words)
        states = model.fusion(torch.cat(excited, dim=-1), one.num_words)
        assert states.shape == (1, num_words, 10)
        expected = model.classifier(states[0].amax(dim=0))
        torch.testing.assert_close(found[n], expected, **CLOSE)


def test_alignment_is_needed_and_used() -> None:
    assert SMALL.extras == (ExtraInput("alignment"),)
    model, batch = build(SMALL), made_up([23, 29], [3, 2])
    moved = replace(batch, extras={"alignment": batch.extras["alignment"].flip(1)})
    assert not torch.allclose(model(batch), model(moved), atol=1e-3)


def test_every_word_has_a_row_of_excitement_of_its_own() -> None:
    model = build(SMALL)
    assert model.speech_excitement.num_embeddings == 7 + 13
    rows: Tensor = model.speech_excitement.weight
    assert not rows[:2].any()
    assert bool(rows[2:].any(dim=1).all())


def test_the_paper_s_model_has_the_parameters_that_its_layers_add_up_to() -> None:
    sizes = InputSizes(
        frame_dim=40,
        num_phonemes=2,
        num_learned_words=331,
        word_vectors=torch.zeros(1009, 300),
        extras={"alignment": 2},
    )
    convolutions = (5 * 40 + 1) * 64 + (2 * 64 + 1) * 128 + (2 * 128 + 1) * 128
    words = (331 + 1009 + 1) * 300 + (331 + 1009) * 256
    lstm = 2 * 4 * 256 * (512 + 256 + 2)
    expected = convolutions + words + 301 * 256 + 257 * 256 + lstm + 513 * 4
    model = build_model(LiSpec(), sizes)
    assert sum(p.numel() for p in model.parameters()) == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 7}, "width: expected an even number, got 7"),
        ({"next_kernel": 0}, "next_kernel: expected a number from 1 to 10000, got 0"),
    ],
)
def test_numbers_out_of_bounds_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LiSpec(**values)
