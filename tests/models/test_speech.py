"""A speech encoder alone: both heads beside torch.nn, and a trained part that begins as frozen."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mlt_ray.batch import Batch, InputSizes
from mlt_ray.encoders.opening import open_encoder
from mlt_ray.encoders.speech import layer_states
from mlt_ray.errors import UserError
from mlt_ray.models.registry import build_model
from mlt_ray.models.speech.network import Speech, pooled
from mlt_ray.models.speech.values import SpeechSpec
from mlt_ray.parsing import parse
from mlt_ray.spec import ExtraInput, FramesSpec, ModelSpec
from tests.models.batches import SIZES, made_up
from tests.models.checks import FRAMES, TOLERANCE, WORDS, MakeBatch, SystemChecks, logits
from tests.tiny_speech_encoder import WIDTH as TUNED_WIDTH
from tests.tiny_speech_encoder import write_speech_encoder

WIDTH, NUM_LAYERS, HIDDEN = 7, 3, 11
"""Values of a state, layers of the encoder with layer 0, units of the hidden layer."""

POOLED = SpeechSpec()
STATES = SpeechSpec(head="states", hidden_width=HIDDEN, dropout=0.2)
TUNED = SpeechSpec(fine_tune="all")
FROZEN = {
    "pooled": POOLED,
    "pooled, a layer": replace(POOLED, speech_layer="last", hidden_width=HIDDEN),
    "states": STATES,
    "states of a layer": replace(STATES, speech_layer=1),
}
FINE_TUNED = {
    "all": TUNED,
    "the last block": replace(TUNED, fine_tune="last_n", last_n=1, speech_layer="last"),
    "all, states": replace(TUNED, head="states", hidden_width=HIDDEN),
}

CPU = torch.device("cpu")


def speech_batch(batch: Batch, spec: SpeechSpec, width: int, num_layers: int) -> Batch:
    """The batch with random states or pooled layers, as the configuration reads them."""
    generator = torch.Generator().manual_seed(3)
    layers = num_layers if spec.speech_layer == "weighted" else 1
    if spec.frames is None:
        shape = (len(batch), layers, 2 * width) if layers > 1 else (len(batch), 2 * width)
        return replace(batch, extras={"speech_layers": torch.randn(shape, generator=generator)})
    size = width if spec.fine_tune else layers * width
    states = torch.randn(*batch.frames.shape[:2], size, generator=generator)
    return replace(batch, frames=states.masked_fill(~batch.frame_mask[..., None], 0), extras={})


def speech_sizes(sizes: InputSizes, spec: SpeechSpec, width: int, num_layers: int) -> InputSizes:
    layers = num_layers if spec.speech_layer == "weighted" else 1
    if spec.frames is None:
        return replace(
            sizes,
            extras={"speech_layers": 2 * width},
            num_speech_layers=layers if layers > 1 else 0,
        )
    return replace(sizes, frame_dim=width * layers, frame_layers=layers, extras={})


@pytest.fixture
def sizes(sizes: InputSizes, spec: SpeechSpec) -> InputSizes:
    return speech_sizes(sizes, spec, WIDTH, NUM_LAYERS)


@pytest.fixture
def make_batch(make_batch: MakeBatch, spec: SpeechSpec) -> MakeBatch:
    def make(num_frames: Sequence[int], num_words: Sequence[int]) -> Batch:
        return speech_batch(make_batch(num_frames, num_words), spec, WIDTH, NUM_LAYERS)

    return make


@pytest.fixture
def batch(make_batch: MakeBatch) -> Batch:
    return make_batch(FRAMES, WORDS)


class TestFrozen(SystemChecks):
    network = Speech
    specs = FROZEN

    def by_heart(self, spec: ModelSpec) -> tuple[float, int]:
        return 1e-1, 300

    def dropout_rates(self, spec: ModelSpec) -> list[float]:
        assert isinstance(spec, SpeechSpec)
        return [spec.dropout]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_speech_encoder(tmp_path_factory.mktemp("encoders") / "tiny")


class TestFineTuned(SystemChecks):
    network = Speech
    specs = FINE_TUNED
    lengths = ((1, 1), (2, 1), (401, 1))

    @pytest.fixture
    def sizes(self, sizes: InputSizes, folder: Path) -> InputSizes:
        return replace(sizes, frame_dim=TUNED_WIDTH, frame_layers=1, speech_encoder=folder)

    @pytest.fixture
    def make_batch(self, make_batch: MakeBatch, spec: SpeechSpec) -> MakeBatch:
        def make(num_frames: Sequence[int], num_words: Sequence[int]) -> Batch:
            return speech_batch(make_batch(num_frames, num_words), spec, TUNED_WIDTH, 1)

        return make

    def by_heart(self, spec: ModelSpec) -> tuple[float, int]:
        return 1e-2, 200

    def dropout_rates(self, spec: ModelSpec) -> list[float]:
        assert isinstance(spec, SpeechSpec)
        blocks = 1 if spec.fine_tune == "last_n" else 2
        return [spec.dropout] + 3 * blocks * [0.1]


def build(spec: SpeechSpec, sizes: InputSizes) -> Speech:
    torch.manual_seed(5)
    model = build_model(spec, sizes).eval()
    assert isinstance(model, Speech)
    if model.mixture is not None:
        with torch.no_grad():
            model.mixture.scores.copy_(torch.linspace(-1, 2, len(model.mixture.scores)))
    return model


def mixed(model: Speech, layers: Tensor) -> Tensor:
    """(…, S, C) → (…, C) with weights that are worked out."""
    assert model.mixture is not None
    shares = model.mixture.scores.exp() / model.mixture.scores.exp().sum()
    return torch.einsum("s,...sc->...c", shares, layers)


@pytest.mark.parametrize("spec", [replace(POOLED, hidden_width=HIDDEN)])
def test_the_pooled_head_is_two_layers_on_the_mean_of_weighted_layers(
    spec: SpeechSpec, sizes: InputSizes, batch: Batch
) -> None:
    model = build(spec, sizes)
    state = model.state_dict()
    vectors = mixed(model, batch.extras["speech_layers"])
    hidden = F.relu(F.linear(vectors, state["hidden.weight"], state["hidden.bias"]))
    expected = F.linear(hidden, state["classifier.weight"], state["classifier.bias"])
    torch.testing.assert_close(logits(model, batch), expected, **TOLERANCE)


@pytest.mark.parametrize("spec", [POOLED])
def test_without_a_hidden_layer_the_pooled_head_is_linear(
    spec: SpeechSpec, sizes: InputSizes, batch: Batch
) -> None:
    """SUPERB's: one linear layer, and as many weights as the encoder has layers."""
    model = build(spec, sizes)
    assert sum(p.numel() for p in model.parameters()) == NUM_LAYERS + 4 * (2 * WIDTH + 1)
    state = model.state_dict()
    vectors = mixed(model, batch.extras["speech_layers"])
    expected = F.linear(vectors, state["classifier.weight"], state["classifier.bias"])
    torch.testing.assert_close(logits(model, batch), expected, **TOLERANCE)


@pytest.mark.parametrize("spec", [STATES])
def test_the_head_on_states_has_its_hidden_layer_before_the_mean_over_time(
    spec: SpeechSpec, sizes: InputSizes, batch: Batch
) -> None:
    model = build(spec, sizes)
    state = model.state_dict()
    for n, found in enumerate(logits(model, batch)):
        alone = batch.frames[n, : FRAMES[n]].reshape(FRAMES[n], NUM_LAYERS, WIDTH)
        states = F.linear(mixed(model, alone), state["hidden.weight"], state["hidden.bias"])
        mean = F.relu(states).mean(dim=0)
        expected = F.linear(mean, state["classifier.weight"], state["classifier.bias"])
        torch.testing.assert_close(found, expected, **TOLERANCE)


@pytest.mark.parametrize("spec", [POOLED, STATES])
def test_layers_weigh_the_same_at_first_and_are_told_by_number(
    spec: SpeechSpec, sizes: InputSizes
) -> None:
    first = build_model(spec, sizes).details()["layer_weights"]
    assert first == {str(n): pytest.approx(1 / 3, abs=1e-6) for n in range(NUM_LAYERS)}
    told = build(spec, sizes).details()["layer_weights"]
    scores = np.exp([-1, 0.5, 2])
    assert list(told.values()) == pytest.approx(scores / scores.sum(), abs=1e-5)


@pytest.mark.parametrize("spec", [replace(POOLED, speech_layer=1)])
def test_a_single_layer_has_no_weights(spec: SpeechSpec, sizes: InputSizes) -> None:
    model = build(spec, sizes)
    assert model.details() == {}
    assert set(model.state_dict()) == {"classifier.weight", "classifier.bias"}


def test_pooling_reads_real_states_alone() -> None:
    states = torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(1))
    mask = torch.arange(5) < torch.tensor([[5], [2]])
    found = pooled(states, mask)
    for n, length in enumerate((5, 2)):
        real = states[n, :, :length].numpy()
        expected = np.concatenate([real.mean(axis=1), real.std(axis=1)], axis=-1)
        np.testing.assert_allclose(found[n], expected, atol=1e-6)
    one = pooled(states[:, :, :1].requires_grad_(), mask[:, :1])
    np.testing.assert_allclose(one[..., 7:].detach(), 1e-4)
    one.sum().backward()


RECORDINGS = [
    np.random.default_rng(n).normal(size=size).astype(np.float32)
    for n, size in enumerate((4001, 1013, 2503))
]


@pytest.mark.parametrize("norm", ["group", "layer"])
@pytest.mark.parametrize(("how", "last_n", "first"), [("all", 2, 0), ("last_n", 1, 1)])
def test_an_encoder_to_be_trained_begins_with_the_states_that_it_has_frozen(
    how: Any, last_n: int, first: int, norm: str, tmp_path: Path
) -> None:
    folder = write_speech_encoder(tmp_path / "tiny", norm=norm)
    states = layer_states(open_encoder(folder, CPU), RECORDINGS)
    lengths = [s.shape[1] for s in states]
    raw = torch.zeros(3, max(lengths), TUNED_WIDTH)
    for n, found in enumerate(states):
        raw[n, : lengths[n]] = found[first]
    states = [F.layer_norm(s, s.shape[-1:]) for s in states]
    expected = torch.stack(
        [torch.cat([s.mean(dim=1), s.std(dim=1, correction=0)], dim=1)[first:] for s in states]
    )
    batch = replace(made_up(lengths, [1, 1, 1]), frames=raw)
    frozen_sizes = replace(
        SIZES, extras={"speech_layers": 2 * TUNED_WIDTH}, num_speech_layers=3 - first
    )
    frozen = build(POOLED, frozen_sizes)
    tuned = build(
        replace(TUNED, fine_tune=how, last_n=last_n),
        replace(SIZES, frame_dim=TUNED_WIDTH, speech_encoder=folder),
    )
    tuned.load_state_dict(frozen.state_dict(), strict=False)
    pooled_batch = replace(batch, extras={"speech_layers": expected})
    torch.testing.assert_close(logits(tuned, batch), logits(frozen, pooled_batch), **TOLERANCE)
    told = [str(layer) for layer in range(first, 3)]
    assert list(tuned.details()["layer_weights"]) == told
    # What trains with the rate of the encoder is the encoder, and nothing below its first block.
    trained = {id(p) for p in tuned.pretrained()}
    named = {n for n, p in tuned.named_parameters() if id(p) in trained}
    assert named == {n for n, _ in tuned.named_parameters() if n.startswith("tail.")}
    blocks = {n.split("blocks.")[1].split(".")[0] for n in named if "blocks." in n}
    assert len(blocks) == 2 - first


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"last_n": 3}, "model.last_n: expected at most the 2 blocks of resemblyzer, got 3"),
        (
            {"last_n": 1, "speech_layer": 1},
            "model.speech_layer: expected a layer behind 1, the last that is frozen, got 1",
        ),
    ],
)
def test_a_layer_that_nothing_trained_gives_is_refused(
    values: dict[str, Any], message: str, folder: Path
) -> None:
    spec = replace(TUNED, fine_tune="last_n", **values)
    with pytest.raises(UserError, match=message):
        build(spec, replace(SIZES, frame_dim=TUNED_WIDTH, speech_encoder=folder))


def test_an_encoder_to_be_trained_must_be_given() -> None:
    with pytest.raises(ValueError, match=r"needs the folder in InputSizes\.speech_encoder"):
        build(TUNED, replace(SIZES, frame_dim=TUNED_WIDTH))


def encoder_frames(layer: Any) -> FramesSpec:
    return FramesSpec(kind="encoder", encoder="ear@1", layer=layer)


@pytest.mark.parametrize(
    ("values", "extras", "frames"),
    [
        ({}, (ExtraInput("speech_layers", "ear@1", "weighted"),), None),
        ({"speech_layer": -2}, (ExtraInput("speech_layers", "ear@1", -2),), None),
        ({"head": "states", "hidden_width": 5}, (), encoder_frames("weighted")),
        ({"head": "states", "hidden_width": 5, "speech_layer": 3}, (), encoder_frames(3)),
        ({"fine_tune": "all"}, (), encoder_frames(0)),
        ({"fine_tune": "lora", "speech_layer": 3}, (), encoder_frames(0)),
        ({"fine_tune": "last_n", "last_n": 2}, (), encoder_frames(-3)),
    ],
)
def test_the_configuration_says_what_it_reads(
    values: dict[str, Any], extras: tuple[ExtraInput, ...], frames: FramesSpec | None
) -> None:
    spec = SpeechSpec(speech_encoder="ear@1", **values)
    assert (spec.extras, spec.frames) == (extras, frames)
    is_frozen = "fine_tune" not in values
    assert (spec.can_be_packed, spec.normalises_frames) == (is_frozen, is_frozen)
    assert spec.fine_tuning == values.get("fine_tune", False)
    assert not spec.reads_words


def test_true_is_another_name_for_all() -> None:
    assert SpeechSpec(fine_tune=True) == SpeechSpec(fine_tune="all")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"speech_encoder": ""}, "speech_encoder: expected resemblyzer, a folder or a name, got"),
        ({"speech_layer": "best"}, "speech_layer: expected last or weighted or int, got 'best'"),
        ({"head": "mean"}, "head: expected one of pooled, states, got 'mean'"),
        ({"head": "states"}, "hidden_width: expected at least 1 with head: states, got 0"),
        ({"hidden_width": -1}, "hidden_width: expected a number from 0 to 10000000, got -1"),
        ({"dropout": 1.0}, "dropout: expected a number at least 0 and below 1"),
        ({"fine_tune": "adapters"}, "fine_tune: expected"),
        ({"last_n": 0}, "last_n: expected a number from 1 to 1000, got 0"),
        ({"lora_rank": 0}, "lora_rank: expected a number from 1 to 1000000, got 0"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=rf"model\.{message}"):
        parse(SpeechSpec, values, "model")
