"""The multi-granularity model: every part matters, and each computes what it computes alone."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mlt_ray.batch import Batch, InputSizes
from mlt_ray.encoders.text import padded, word_pieces
from mlt_ray.errors import UserError
from mlt_ray.models.multigranularity.network import Multigranularity
from mlt_ray.models.multigranularity.values import MultigranularitySpec
from mlt_ray.models.multilevel.values import MultilevelSpec
from mlt_ray.models.registry import build_model, parse_model
from mlt_ray.spec import ExtraInput, ModelSpec
from tests.models.checks import FRAMES, TOLERANCE, WORDS, MakeBatch, SystemChecks, logits
from tests.tiny_encoder import DROPOUT_RATES, WIDTH, write_encoder

FINE = MultilevelSpec(
    width=14,
    num_heads=2,
    feed_forward=19,
    phoneme_dim=5,
    phoneme_channels=7,
    phoneme_kernel=3,
    prenet_kernel=3,
    mel_prenet_width=17,
)
SMALL = MultigranularitySpec(multilevel=FINE, projection=11)
SPEECH_DIM = 7
DIMS = {"pieces": 1, "text_embedding": WIDTH, "speech_layers": SPEECH_DIM}
TEXTS = ("so what", "", "i told you", "no", "it's a rather long text", "oh", "what for")

WAYS = {
    "tuned": {"fine_tune": True},
    "frozen": {"fine_tune": False},
    "tuned and speech": {"fine_tune": True, "speech_encoder": "heard@1"},
    "frozen and speech": {"fine_tune": False, "speech_encoder": "heard@1"},
    "speech": {"encoder": None, "speech_encoder": "heard@1"},
}
every_way = pytest.mark.parametrize("values", WAYS.values(), ids=WAYS)
SPECS = {name: replace(SMALL, **values) for name, values in WAYS.items()}
FINE_RATES = [0.0] * 5 + [0.1] * 11 + [0.2] * 5
"""Dropouts of the multilevel transformer `FINE`."""


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("encoders") / "tiny")


@pytest.fixture
def sizes(sizes: InputSizes, encoder: Path) -> InputSizes:
    return replace(sizes, extras=DIMS, encoder=encoder)


@pytest.fixture
def make_batch(make_batch: MakeBatch, encoder: Path) -> MakeBatch:
    def make(num_frames: Sequence[int], num_words: Sequence[int], seed: int = 0) -> Batch:
        size = len(num_frames)
        generator = torch.Generator().manual_seed(2)
        extras = {
            "pieces": padded(list(word_pieces(encoder, TEXTS[:size])), 0),
            "text_embedding": torch.randn(size, WIDTH, generator=generator),
            "speech_layers": torch.randn(size, SPEECH_DIM, generator=generator),
        }
        return replace(make_batch(num_frames, num_words, seed), extras=extras)

    return make


@pytest.fixture
def batch(make_batch: MakeBatch) -> Batch:
    return make_batch(FRAMES, WORDS)


class TestMultigranularity(SystemChecks):
    network = Multigranularity
    specs = SPECS

    def by_heart(self, spec: ModelSpec) -> tuple[float, int]:
        return 1e-2, 100

    def dropout_rates(self, spec: ModelSpec) -> list[float]:
        assert isinstance(spec, MultigranularitySpec)
        is_tuned = spec.encoder is not None and spec.fine_tune
        return sorted([0.1, *FINE_RATES, *(DROPOUT_RATES if is_tuned else [])])


WEIGHTED = {
    name: replace(SPECS[name], speech_layer="weighted") for name in ("frozen and speech", "speech")
}


class TestWeightedLayers(TestMultigranularity):
    """With three layers of the speech encoder, and as many side by side in each frame."""

    specs = WEIGHTED
    lengths = ((1, 1), (2, 101), (401, 3))

    @pytest.fixture
    def sizes(self, sizes: InputSizes) -> InputSizes:
        return layered_sizes(sizes)

    @pytest.fixture
    def make_batch(self, make_batch: MakeBatch) -> MakeBatch:
        return layered(make_batch)


def layered_sizes(sizes: InputSizes) -> InputSizes:
    return replace(sizes, frame_dim=3 * sizes.frame_dim, frame_layers=3, num_speech_layers=3)


def layered(make_batch: MakeBatch) -> MakeBatch:
    """Batches with three layers of the encoder, pooled and in frames."""

    def make(num_frames: Sequence[int], num_words: Sequence[int], seed: int = 0) -> Batch:
        each = [make_batch(num_frames, num_words, seed + 7 * n) for n in range(3)]
        pooled = torch.stack([b.extras["speech_layers"] * (n + 1) for n, b in enumerate(each)], 1)
        return replace(
            each[0],
            frames=torch.cat([b.frames for b in each], dim=2),
            extras={**each[0].extras, "speech_layers": pooled},
        )

    return make


def test_layers_are_mixed_where_they_are_read_and_told_apart(
    sizes: InputSizes, make_batch: MakeBatch
) -> None:
    """All other weights are those of the model that reads one layer."""
    spec = SPECS["speech"]
    one = build(spec, sizes)
    mixing = build(replace(spec, speech_layer="weighted"), layered_sizes(sizes))
    own = mixing.state_dict()
    assert set(own) - set(one.state_dict()) == {
        "mixture.scores",
        "multilevel.speech.mixture.scores",
    }
    assert all(torch.equal(own[name], value) for name, value in one.state_dict().items())
    own["mixture.scores"].copy_(torch.tensor([0.5, -1.0, 2.0]))
    own["multilevel.speech.mixture.scores"].copy_(torch.tensor([1.0, 0.0, -3.0]))
    shares, frame_shares = (np.exp(s) / np.exp(s).sum() for s in ([0.5, -1, 2], [1, 0, -3]))
    batch = layered(make_batch)(FRAMES, WORDS)
    pooled = np.average(batch.extras["speech_layers"], axis=1, weights=shares)
    frames = np.average(batch.frames.unflatten(2, (3, -1)).numpy(), axis=2, weights=frame_shares)
    mean = replace(
        batch,
        frames=torch.from_numpy(frames).float(),
        extras={**batch.extras, "speech_layers": torch.from_numpy(pooled).float()},
    )
    torch.testing.assert_close(logits(mixing, batch), logits(one, mean), **TOLERANCE)
    details = mixing.details()
    assert list(details) == ["layer_weights", "frame_layer_weights"]
    assert list(details["layer_weights"].values()) == pytest.approx(shares, abs=1e-5)
    assert list(details["frame_layer_weights"].values()) == pytest.approx(frame_shares, abs=1e-5)
    assert one.details() == {}


def read(values: dict[str, Any]) -> set[str]:
    """The encoders of one of `WAYS`."""
    speech = {"speech"} if values.get("speech_encoder") else set()
    return speech | ({"text"} if values.get("encoder", "minilm") else set())


def build(spec: MultigranularitySpec, sizes: InputSizes) -> Multigranularity:
    torch.manual_seed(5)
    model = build_model(spec, sizes).eval()
    assert isinstance(model, Multigranularity)
    return model


@every_way
def test_the_head_reads_the_projections_of_what_each_part_gives_alone(
    values: dict[str, Any], sizes: InputSizes, batch: Batch
) -> None:
    model = build(replace(SMALL, **values), sizes)
    parts = []
    with torch.no_grad():
        if model.text is not None:
            parts.append((model.text(batch), model.text_projection))
        parts.append((model.multilevel.encode(batch), model.multilevel_projection))
        if "speech_encoder" in values:
            parts.append((batch.extras["speech_layers"], model.speech_projection))
        projected = [vector @ layer.weight.T + layer.bias for vector, layer in parts]
        joined = torch.cat(projected, dim=1)
        expected = joined @ model.classifier.weight.T + model.classifier.bias
    assert joined.shape == (5, (1 + len({"text", "speech"} & read(values))) * 11)
    torch.testing.assert_close(logits(model, batch), expected, **TOLERANCE)


@every_way
def test_speech_words_and_what_encoders_read_all_matter(
    values: dict[str, Any], sizes: InputSizes, batch: Batch, make_batch: MakeBatch
) -> None:
    model = build(replace(SMALL, **values), sizes)
    before, other = logits(model, batch), make_batch(FRAMES, WORDS, seed=1)
    for changed in (
        replace(batch, frames=other.frames),
        replace(batch, words=other.words),
        replace(batch, phonemes=other.phonemes),
    ):
        assert not torch.allclose(logits(model, changed), before, atol=1e-4)
    for name, extra in batch.extras.items():
        changed = replace(batch, extras={**batch.extras, name: extra.flip(0)})
        matters = not torch.allclose(logits(model, changed), before, atol=1e-4)
        assert matters == (name in {extra.name for extra in replace(SMALL, **values).extras})


@every_way
def test_only_an_encoder_that_is_tuned_has_parameters(
    values: dict[str, Any], sizes: InputSizes
) -> None:
    model = build(replace(SMALL, **values), sizes)
    tuned = values.get("fine_tune", False)
    assert any(n.startswith("text.") for n, _ in model.named_parameters()) == tuned


def test_the_two_parts_and_the_head_are_all_parameters(sizes: InputSizes) -> None:
    model = build(replace(SMALL, fine_tune=False), sizes)
    fine = build_model(FINE, sizes)
    alone = sum(p.numel() for n, p in fine.named_parameters() if not n.startswith("classifier"))
    added = (WIDTH * 11 + 11) + (14 * 11 + 11) + (2 * 11 * 4 + 4)
    assert sum(p.numel() for p in model.parameters()) == alone + added


def test_a_second_encoder_adds_a_projection_and_leaves_the_rest_as_it_was(
    sizes: InputSizes,
) -> None:
    frozen = replace(SMALL, fine_tune=False)
    one = build(frozen, sizes).state_dict()
    two = build(replace(frozen, speech_encoder="heard@1"), sizes).state_dict()
    assert {n: p.shape for n, p in two.items() if n not in one} == {
        "speech_projection.weight": (11, SPEECH_DIM),
        "speech_projection.bias": (11,),
    }
    assert two["classifier.weight"].shape == (4, 3 * 11)
    same = [n for n in one if not n.startswith("classifier")]
    assert all(torch.equal(one[n], two[n]) for n in same)


def test_a_study_file_nests_the_multilevel_transformer() -> None:
    values = {"system": "multigranularity", "fine_tune": False, "multilevel": {"text": "word"}}
    assert parse_model(values, "model") == MultigranularitySpec(
        fine_tune=False, multilevel=MultilevelSpec(text="word")
    )
    with pytest.raises(UserError, match=r"model\.multilevel: unknown key txt; did you mean text"):
        parse_model({**values, "multilevel": {"txt": "word"}}, "model")
    with pytest.raises(UserError, match=r"model\.projection: expected a number from 1 to 10000000"):
        parse_model({**values, "projection": 0}, "model")


def test_a_study_file_can_do_without_a_text_encoder() -> None:
    values = {"system": "multigranularity", "encoder": None, "speech_encoder": "resemblyzer"}
    spec = parse_model(values, "model")
    assert spec == MultigranularitySpec(encoder=None, speech_encoder="resemblyzer")
    assert (spec.text_encoder, spec.speech_encoder) == (None, "resemblyzer")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"encoder": None}, "encoder: expected a text encoder or speech_encoder, got neither"),
        ({"encoder": ""}, "encoder: expected minilm, a folder or a name, got an empty text"),
        ({"speech_encoder": ""}, "speech_encoder: expected resemblyzer, a folder or a name, got"),
    ],
)
def test_a_model_without_an_encoder_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_model({"system": "multigranularity", **values}, "model")


def test_bert_cannot_do_without_its_encoder() -> None:
    with pytest.raises(UserError, match="encoder: expected minilm, a folder or a name, got None"):
        parse_model({"system": "bert", "encoder": None}, "model")


def test_the_configuration_says_what_it_reads() -> None:
    speech = ExtraInput("speech_layers", "heard@1")
    both = MultigranularitySpec(encoder="tiny@1", speech_encoder="heard@1")
    assert both.extras == (ExtraInput("pieces", "tiny@1"), speech)
    assert replace(both, encoder=None).extras == (speech,)
    assert MultigranularitySpec(encoder="tiny@1").extras == (ExtraInput("pieces", "tiny@1"),)
    frozen = MultigranularitySpec(encoder="tiny@1", fine_tune=False)
    assert frozen.extras == (ExtraInput("text_embedding", "tiny@1"),)
    weighted = MultigranularitySpec(encoder=None, speech_encoder="heard@1", speech_layer="weighted")
    assert weighted.extras == (ExtraInput("speech_layers", "heard@1", "weighted"),)
