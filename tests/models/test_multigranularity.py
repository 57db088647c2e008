"""The multi-granularity model: both views matter, and each is what it is alone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mlt_ray.batch import Batch, InputSizes
from mlt_ray.encoders.text import padded, word_pieces
from mlt_ray.errors import UserError
from mlt_ray.models.dropout import set_dropout_keys
from mlt_ray.models.multigranularity.network import Multigranularity
from mlt_ray.models.multigranularity.values import MultigranularitySpec
from mlt_ray.models.multilevel.values import MultilevelSpec
from mlt_ray.models.registry import build_model, parse_model
from mlt_ray.spec import ExtraInput
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
SPEECH_DIM = 7
DIMS = {"pieces": 1, "text_embedding": WIDTH, "speech_embedding": SPEECH_DIM}
TEXTS = ("so what", "", "i told you", "no", "it's a rather long text")
TOLERANCE = {"rtol": 0, "atol": 1e-5}

WAYS = {
    "tuned": {"fine_tune": True},
    "frozen": {"fine_tune": False},
    "tuned and speech": {"fine_tune": True, "speech_encoder": "heard@1"},
    "frozen and speech": {"fine_tune": False, "speech_encoder": "heard@1"},
    "speech": {"encoder": None, "speech_encoder": "heard@1"},
}
every_way = pytest.mark.parametrize("values", WAYS.values(), ids=WAYS)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("encoders") / "tiny")


@pytest.fixture
def with_text(sizes: InputSizes, encoder: Path) -> InputSizes:
    return replace(sizes, extras=DIMS, encoder=encoder)


@pytest.fixture
def batch(make_batch: MakeBatch, encoder: Path) -> Batch:
    pieces = padded(list(word_pieces(encoder, TEXTS)), 0)
    generator = torch.Generator().manual_seed(2)
    extras = {
        "pieces": pieces,
        "text_embedding": torch.randn(5, WIDTH, generator=generator),
        "speech_embedding": torch.randn(5, SPEECH_DIM, generator=generator),
    }
    return replace(make_batch(FRAMES, WORDS), extras=extras)


def read(values: dict[str, Any]) -> set[str]:
    """The encoders of one of `WAYS`."""
    speech = {"speech"} if values.get("speech_encoder") else set()
    return speech | ({"text"} if values.get("encoder", "minilm") else set())


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
            "speech_embedding": batch.extras["speech_embedding"][order],
        },
    )


@every_way
def test_neither_padding_nor_batch_size_nor_order_changes_logits(
    values: dict[str, Any], with_text: InputSizes, batch: Batch
) -> None:
    model = build(replace(SMALL, **values), with_text)
    together = logits(model, batch)
    assert together.shape == (5, 4)
    for order in ([0], [1], [3], [4, 2, 0], [3, 1, 4, 0, 2]):
        found = logits(model, picked(batch, order))
        torch.testing.assert_close(found, together[order], **TOLERANCE)


@every_way
def test_the_head_reads_the_projections_of_what_each_part_gives_alone(
    values: dict[str, Any], with_text: InputSizes, batch: Batch
) -> None:
    model = build(replace(SMALL, **values), with_text)
    parts = []
    with torch.no_grad():
        if model.text is not None:
            parts.append((model.text(batch), model.text_projection))
        parts.append((model.multilevel.encode(batch), model.multilevel_projection))
        if "speech_encoder" in values:
            parts.append((batch.extras["speech_embedding"], model.speech_projection))
        projected = [vector @ layer.weight.T + layer.bias for vector, layer in parts]
        joined = torch.cat(projected, dim=1)
        expected = joined @ model.classifier.weight.T + model.classifier.bias
    assert joined.shape == (5, (1 + len({"text", "speech"} & read(values))) * 11)
    torch.testing.assert_close(logits(model, batch), expected, **TOLERANCE)


@every_way
def test_speech_words_and_what_encoders_read_all_matter(
    values: dict[str, Any], with_text: InputSizes, batch: Batch, make_batch: MakeBatch
) -> None:
    model = build(replace(SMALL, **values), with_text)
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
def test_a_gradient_reaches_every_parameter(
    values: dict[str, Any], with_text: InputSizes, batch: Batch
) -> None:
    model = build(replace(SMALL, **values), with_text).train()
    set_dropout_keys(model, batch.utterances, 0)
    model.loss(batch).backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []
    tuned = values.get("fine_tune", False)
    assert any(n.startswith("text.") for n, _ in model.named_parameters()) == tuned


@every_way
def test_one_batch_can_be_learnt_by_heart(
    values: dict[str, Any], with_text: InputSizes, batch: Batch
) -> None:
    model = build(replace(SMALL, **values), with_text)
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


def test_a_second_encoder_adds_a_projection_and_leaves_the_rest_as_it_was(
    with_text: InputSizes,
) -> None:
    frozen = replace(SMALL, fine_tune=False)
    one = build(frozen, with_text).state_dict()
    two = build(replace(frozen, speech_encoder="heard@1"), with_text).state_dict()
    assert {n: p.shape for n, p in two.items() if n not in one} == {
        "speech_projection.weight": (11, SPEECH_DIM),
        "speech_projection.bias": (11,),
    }
    assert two["classifier.weight"].shape == (4, 3 * 11)
    same = [n for n in one if not n.startswith("classifier")]
    assert all(torch.equal(one[n], two[n]) for n in same)


@every_way
@pytest.mark.parametrize(("num_frames", "num_words"), [(1, 1), (2843, 61)])
def test_the_shortest_and_the_longest_utterance_work(
    values: dict[str, Any],
    with_text: InputSizes,
    batch: Batch,
    make_batch: MakeBatch,
    num_frames: int,
    num_words: int,
) -> None:
    model = build(replace(SMALL, **values), with_text)
    extras = {name: extra[:1] for name, extra in batch.extras.items()}
    found = logits(model, replace(make_batch([num_frames], [num_words]), extras=extras))
    assert found.shape == (1, 4)
    assert bool(found.isfinite().all())


def test_a_study_file_nests_the_multilevel_transformer() -> None:
    values = {"system": "multigranularity", "fine_tune": False, "multilevel": {"text": "word"}}
    assert parse_model(values, "model") == MultigranularitySpec(
        fine_tune=False, multilevel=MultilevelSpec(text="word")
    )
    with pytest.raises(UserError, match=r"model\.multilevel: unknown key txt; did you mean text"):
        parse_model({**values, "multilevel": {"txt": "word"}}, "model")
    with pytest.raises(UserError, match=r"model\.projection: expected a number at least 1"):
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
    speech = ExtraInput("speech_embedding", "heard@1")
    both = MultigranularitySpec(encoder="tiny@1", speech_encoder="heard@1")
    assert both.extras == (ExtraInput("pieces", "tiny@1"), speech)
    assert replace(both, encoder=None).extras == (speech,)
    assert MultigranularitySpec(encoder="tiny@1").extras == (ExtraInput("pieces", "tiny@1"),)
    frozen = MultigranularitySpec(encoder="tiny@1", fine_tune=False)
    assert frozen.extras == (ExtraInput("text_embedding", "tiny@1"),)
