"""The multilevel transformer in every combination of its options."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from mlt_ray.batch import Batch, InputSizes
from mlt_ray.models.multilevel.network import Multilevel
from mlt_ray.models.multilevel.values import MultilevelSpec
from mlt_ray.models.registry import build_model
from mlt_ray.spec import ModelSpec
from tests.models.checks import FRAMES, TOLERANCE, WORDS, MakeBatch, SystemChecks, build, logits

SMALL = MultilevelSpec(
    width=14,
    num_heads=2,
    feed_forward=19,
    phoneme_dim=5,
    phoneme_channels=7,
    phoneme_kernel=3,
    prenet_kernel=3,
    mel_prenet_width=17,
)
TEXTS = ("highway", "concatenation", "phoneme", "word")
# What text is made of does not matter to a model that only hears.
OPTIONS = [*product(("both", "text"), TEXTS, (0, 2)), *product(("audio",), TEXTS[:1], (0, 2))]
SPECS = {
    f"{i}-{t}-{n}": replace(SMALL, inputs=i, text=t, deep_fusion_layers=n) for i, t, n in OPTIONS
}
MIXED = {name: SPECS[name] for name in ("both-highway-2", "audio-highway-0")}
every_option = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)


class TestMultilevel(SystemChecks):
    network = Multilevel
    specs = SPECS

    def by_heart(self, spec: ModelSpec) -> tuple[float, int]:
        return 1e-2, 100

    def dropout_rates(self, spec: ModelSpec) -> list[float]:
        assert isinstance(spec, MultilevelSpec)
        layer, cross_layer = [0.0, 0.1, 0.1], [0.0, 0.0, 0.1, 0.1, 0.1]
        rates = layer * spec.deep_fusion_layers
        if spec.inputs != "audio":
            rates += [0.2, 0.2, 0.2, 0.1, *layer]
        if spec.inputs != "text":
            rates += [0.2, 0.2, 0.1, *(cross_layer if spec.inputs == "both" else layer)]
        return sorted(rates)


LAYERED = 3
"""Layers of a speech encoder that stand side by side in a frame."""


def layered(make_batch: MakeBatch) -> MakeBatch:
    """Batches with further layers beside their frames."""

    def make(num_frames: Sequence[int], num_words: Sequence[int], seed: int = 0) -> Batch:
        each = [make_batch(num_frames, num_words, seed + 7 * n) for n in range(LAYERED)]
        return replace(each[0], frames=torch.cat([one.frames for one in each], dim=2))

    return make


def layered_sizes(sizes: InputSizes) -> InputSizes:
    return replace(sizes, frame_dim=LAYERED * sizes.frame_dim, frame_layers=LAYERED)


class TestFramesOfLayers(SystemChecks):
    network = Multilevel
    specs = MIXED
    lengths = ((1, 1), (2, 101), (401, 3))

    @pytest.fixture
    def sizes(self, sizes: InputSizes) -> InputSizes:
        return layered_sizes(sizes)

    @pytest.fixture
    def make_batch(self, make_batch: MakeBatch) -> MakeBatch:
        return layered(make_batch)

    by_heart = TestMultilevel.by_heart
    dropout_rates = TestMultilevel.dropout_rates


@pytest.mark.parametrize("spec", MIXED.values(), ids=MIXED)
def test_layers_of_a_frame_are_mixed_before_anything_else(
    spec: MultilevelSpec, sizes: InputSizes, make_batch: MakeBatch
) -> None:
    """The dummy vector and all weights are those of a model that reads one layer."""
    one, mixing = build(spec, sizes), build(spec, layered_sizes(sizes))
    same, own = one.state_dict(), mixing.state_dict()
    assert set(own) - set(same) == {"speech.mixture.scores"}
    assert all(torch.equal(own[name], value) for name, value in same.items())
    assert isinstance(mixing, Multilevel)
    assert mixing.speech is not None
    assert mixing.speech.mixture is not None
    with torch.no_grad():
        mixing.speech.mixture.scores.copy_(torch.tensor([0.5, -1.0, 2.0]))
    batch = layered(make_batch)(FRAMES, WORDS)
    shares = np.exp([0.5, -1, 2]) / np.exp([0.5, -1, 2]).sum()
    mean = sum(s * part for s, part in zip(shares, batch.frames.split(11, dim=2), strict=True))
    assert isinstance(mean, torch.Tensor)
    expected = logits(one, replace(batch, frames=mean))
    torch.testing.assert_close(logits(mixing, batch), expected, **TOLERANCE)
    told = mixing.details()["frame_layer_weights"]
    assert list(told.values()) == pytest.approx(shares, abs=1e-5)
    assert one.details() == {}


def test_a_model_that_reads_alone_mixes_no_frames(sizes: InputSizes) -> None:
    model = build(replace(SMALL, inputs="text"), layered_sizes(sizes))
    assert model.details() == {}


@every_option
def test_the_encoding_is_as_wide_as_the_model(
    spec: MultilevelSpec, sizes: InputSizes, make_batch: MakeBatch
) -> None:
    model, batch = build(spec, sizes), make_batch(FRAMES, WORDS)
    assert isinstance(model, Multilevel)
    assert model.encode(batch).shape == (5, 14)


@every_option
def test_there_is_a_dummy_vector_only_where_deep_fusion_reads_it(
    spec: MultilevelSpec, sizes: InputSizes
) -> None:
    names = {n for n, _ in build(spec, sizes).named_parameters() if "dummy" in n}
    expected = {"text_dummy"} if spec.inputs == "text" else {"speech.dummy"}
    assert names == (expected if spec.deep_fusion_layers else set())


@pytest.mark.parametrize("deep_fusion_layers", [0, 2])
@pytest.mark.parametrize("inputs", ["both", "audio", "text"])
def test_a_model_uses_the_inputs_that_it_is_given_and_no_others(
    inputs: str, deep_fusion_layers: int, sizes: InputSizes, make_batch: MakeBatch
) -> None:
    spec = replace(SMALL, inputs=inputs, deep_fusion_layers=deep_fusion_layers)
    model, batch = build(spec, sizes), make_batch(FRAMES, WORDS)
    other = make_batch(FRAMES, WORDS, seed=1)
    unheard = replace(batch, frames=other.frames)
    unread = replace(batch, words=other.words, phonemes=other.phonemes)
    before = logits(model, batch)
    assert torch.equal(logits(model, unheard), before) == (inputs == "text")
    assert torch.equal(logits(model, unread), before) == (inputs == "audio")


@pytest.mark.parametrize("text", TEXTS)
def test_text_is_made_of_the_levels_that_are_asked_for(
    text: str, sizes: InputSizes, make_batch: MakeBatch
) -> None:
    model, batch = build(replace(SMALL, text=text), sizes), make_batch(FRAMES, WORDS)
    other = make_batch(FRAMES, WORDS, seed=1)
    before = logits(model, batch)
    other_words = logits(model, replace(batch, words=other.words))
    other_phonemes = logits(model, replace(batch, phonemes=other.phonemes))
    assert torch.equal(other_words, before) == (text == "phoneme")
    assert torch.equal(other_phonemes, before) == (text == "word")


def test_the_dummy_vector_is_the_first_position_and_always_real(
    sizes: InputSizes, make_batch: MakeBatch
) -> None:
    model, batch = build(SMALL, sizes), make_batch(FRAMES, WORDS)
    assert isinstance(model, Multilevel)
    assert model.speech is not None
    x, mask = model.speech(batch)
    assert x.shape == (5, 1 + 29, 14)
    assert mask.sum(dim=1).tolist() == [1 + t for t in FRAMES]
    assert bool(mask[:, 0].all())
    torch.testing.assert_close(x[:, 0], x[:1, 0].expand(5, 14))


def test_the_paper_s_model_has_the_parameters_that_its_layers_add_up_to() -> None:
    bins, symbols, learned, dim = 128, 79, 331, 300
    sizes = InputSizes(
        frame_dim=bins,
        num_phonemes=symbols,
        num_learned_words=learned,
        word_vectors=torch.zeros(1009, dim),
    )

    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + outputs

    width, hidden, channels = 128, 512, 100
    norm = 2 * width
    block = linear(width, hidden) + linear(hidden, width) + norm
    attention = 4 * linear(width, width) + norm
    convolution = linear(5 * width, width) + norm
    text = symbols * 64 + linear(5 * 64, channels) + learned * dim
    text += 2 * 2 * linear(channels + dim, channels + dim)
    text += linear(5 * (channels + dim), width) + norm + 2 * convolution + linear(width, width) + 1
    speech = bins + linear(bins, 256) + linear(256, width) + 1
    layers = (attention + block) + (2 * attention + block) + 2 * (attention + block)
    expected = text + speech + layers + linear(width, 4)
    model = build_model(MultilevelSpec(), sizes)
    assert sum(p.numel() for p in model.parameters()) == expected
