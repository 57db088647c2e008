"""The multi-granularity model: both views matter, and each is what it is alone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mlt_ray.batch import Batch, InputSizes
from mlt_ray.errors import UserError
from mlt_ray.features.pieces import padded, word_pieces
from mlt_ray.models.dropout import set_dropout_keys
from mlt_ray.models.multigranularity import Multigranularity, MultigranularitySpec
from mlt_ray.models.multilevel import MultilevelSpec
from mlt_ray.models.registry import build_model, parse_model
from mlt_ray.spec import Need
from tests.tiny_encoder import WIDTH, write_encoder

MakeBatch = Callable[..., Batch]

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
FRAMES, WORDS = [13, 1, 7, 29, 5], [3, 7, 1, 2, 5]
TEXTS = ("so what", "", "i told you", "no", "it's a rather long text")
TOLERANCE = {"rtol": 0, "atol": 1e-5}

either_way = pytest.mark.parametrize("fine_tune", [True, False])


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("encoders") / "tiny")


@pytest.fixture
def with_text(sizes: InputSizes, encoder: Path) -> InputSizes:
    return replace(sizes, extras={"pieces": 1, "text_embedding": WIDTH}, encoder=encoder)


@pytest.fixture
def batch(make_batch: MakeBatch, encoder: Path) -> Batch:
    pieces = padded(list(word_pieces(encoder, TEXTS)), 0)
    vectors = torch.randn(5, WIDTH, generator=torch.Generator().manual_seed(2))
    extras = {"pieces": pieces, "text_embedding": vectors}
    return replace(make_batch(FRAMES, WORDS), extras=extras)


def build(spec: MultigranularitySpec, sizes: InputSizes) -> Multigranularity:
    torch.manual_seed(5)
    model = build_model(spec, sizes).eval()
    assert isinstance(model, Multigranularity)
    return model


@torch.no_grad()
def logits(model: nn.Module, batch: Batch) -> Tensor:
    return model(batch)


def picked(batch: Batch, order: list[int]) -> Batch:
    """The utterances of `order`, without the padding that only the others need."""
    frames, words = int(batch.num_frames[order].max()), int(batch.num_words[order].max())
    pieces = batch.extras["pieces"][order]
    return Batch(
        utterances=batch.utterances[order],
        labels=batch.labels[order],
        frames=batch.frames[order, :frames],
        num_frames=batch.num_frames[order],
        words=batch.words[order, :words],
        num_words=batch.num_words[order],
        phonemes=batch.phonemes[order, :words],
        extras={
            "pieces": pieces[:, : int((pieces != 0).sum(1).max())],
            "text_embedding": batch.extras["text_embedding"][order],
        },
    )


@either_way
def test_neither_padding_nor_batch_size_nor_order_changes_logits(
    fine_tune: bool, with_text: InputSizes, batch: Batch
) -> None:
    model = build(replace(SMALL, fine_tune=fine_tune), with_text)
    together = logits(model, batch)
    assert together.shape == (5, 4)
    for order in ([0], [1], [3], [4, 2, 0], [3, 1, 4, 0, 2]):
        found = logits(model, picked(batch, order))
        torch.testing.assert_close(found, together[order], **TOLERANCE)


@either_way
def test_the_head_reads_the_projections_of_what_each_part_gives_alone(
    fine_tune: bool, with_text: InputSizes, batch: Batch
) -> None:
    model = build(replace(SMALL, fine_tune=fine_tune), with_text)
    with torch.no_grad():
        text, fine = model.text(batch), model.multilevel.encode(batch)
        left = text @ model.text_projection.weight.T + model.text_projection.bias
        right = fine @ model.multilevel_projection.weight.T + model.multilevel_projection.bias
        joined = torch.cat([left, right], dim=1)
        expected = joined @ model.classifier.weight.T + model.classifier.bias
    assert joined.shape == (5, 2 * 11)
    torch.testing.assert_close(logits(model, batch), expected, **TOLERANCE)


@either_way
def test_speech_words_and_pieces_all_matter(
    fine_tune: bool, with_text: InputSizes, batch: Batch, make_batch: MakeBatch
) -> None:
    model = build(replace(SMALL, fine_tune=fine_tune), with_text)
    before, other = logits(model, batch), make_batch(FRAMES, WORDS, seed=1)
    extras = {k: v.flip(0) for k, v in batch.extras.items()}
    for changed in (
        replace(batch, frames=other.frames),
        replace(batch, words=other.words),
        replace(batch, phonemes=other.phonemes),
        replace(batch, extras=extras),
    ):
        assert not torch.allclose(logits(model, changed), before, atol=1e-4)


@either_way
def test_a_gradient_reaches_every_parameter(
    fine_tune: bool, with_text: InputSizes, batch: Batch
) -> None:
    model = build(replace(SMALL, fine_tune=fine_tune), with_text).train()
    set_dropout_keys(model, batch.utterances, 0)
    model.loss(batch).backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []
    assert any(n.startswith("text.") for n, _ in model.named_parameters()) == fine_tune


@either_way
def test_one_batch_can_be_learnt_by_heart(
    fine_tune: bool, with_text: InputSizes, batch: Batch
) -> None:
    model = build(replace(SMALL, fine_tune=fine_tune), with_text)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(100):
        optimiser.zero_grad()
        loss = model.loss(batch)
        if loss < 0.05:
            return
        loss.backward()
        optimiser.step()
    pytest.fail(f"the loss is still {float(loss):.3f}")


def test_the_two_parts_and_the_head_are_all_parameters(with_text: InputSizes) -> None:
    model = build(replace(SMALL, fine_tune=False), with_text)
    fine = build_model(FINE, with_text)
    alone = sum(p.numel() for n, p in fine.named_parameters() if not n.startswith("classifier"))
    added = (WIDTH * 11 + 11) + (14 * 11 + 11) + (2 * 11 * 4 + 4)
    assert sum(p.numel() for p in model.parameters()) == alone + added


def test_a_study_file_nests_the_multilevel_transformer() -> None:
    values = {"system": "multigranularity", "fine_tune": False, "multilevel": {"text": "word"}}
    assert parse_model(values, "model") == MultigranularitySpec(
        fine_tune=False, multilevel=MultilevelSpec(text="word")
    )
    with pytest.raises(UserError, match=r"model\.multilevel: unknown key txt; did you mean text"):
        parse_model({**values, "multilevel": {"txt": "word"}}, "model")
    with pytest.raises(UserError, match=r"model\.projection: expected a number at least 1"):
        parse_model({**values, "projection": 0}, "model")


def test_the_configuration_says_what_it_reads() -> None:
    assert MultigranularitySpec(encoder="tiny@1").needs == (Need("pieces", "tiny@1"),)
    frozen = MultigranularitySpec(encoder="tiny@1", fine_tune=False)
    assert frozen.needs == (Need("text_embedding", "tiny@1"),)
