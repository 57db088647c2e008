"""The multilevel transformer in every combination of its options."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlt_ray.batch import Batch, InputSizes
from mlt_ray.models.dropout import set_dropout_keys
from mlt_ray.models.multilevel.network import Multilevel
from mlt_ray.models.multilevel.values import MultilevelSpec
from mlt_ray.models.registry import build_model

MakeBatch = Callable[..., Batch]

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
SPECS = [
    pytest.param(replace(SMALL, inputs=i, text=t, deep_fusion_layers=n), id=f"{i}-{t}-{n}")
    for i, t, n in OPTIONS
]
every_option = pytest.mark.parametrize("spec", SPECS)

FRAMES, WORDS = [13, 1, 7, 29, 5], [3, 7, 1, 2, 5]
TOLERANCE = {"rtol": 0, "atol": 1e-5}


def build(spec: MultilevelSpec, sizes: InputSizes) -> nn.Module:
    torch.manual_seed(5)
    return build_model(spec, sizes).eval()


@torch.no_grad()
def logits(model: nn.Module, batch: Batch) -> Tensor:
    return model(batch)


def picked(batch: Batch, order: list[int]) -> Batch:
    """The utterances of `order`, without the padding that only the others need."""
    frames, words = int(batch.num_frames[order].max()), int(batch.num_words[order].max())
    return Batch(
        utterances=batch.utterances[order],
        labels=batch.labels[order],
        frames=batch.frames[order, :frames],
        num_frames=batch.num_frames[order],
        words=batch.words[order, :words],
        num_words=batch.num_words[order],
        phonemes=batch.phonemes[order, :words],
    )


@every_option
def test_logits_are_one_a_class_and_the_encoding_is_as_wide_as_the_model(
    spec: MultilevelSpec, sizes: InputSizes, make_batch: MakeBatch
) -> None:
    model, batch = build(spec, sizes), make_batch(FRAMES, WORDS)
    assert isinstance(model, Multilevel)
    assert logits(model, batch).shape == (5, 4)
    assert model.encode(batch).shape == (5, 14)


@every_option
def test_padding_does_not_change_logits(
    spec: MultilevelSpec, sizes: InputSizes, make_batch: MakeBatch
) -> None:
    model, batch = build(spec, sizes), make_batch(FRAMES, WORDS)
    padded = replace(
        batch,
        frames=F.pad(batch.frames, (0, 0, 0, 11)),
        words=F.pad(batch.words, (0, 3)),
        phonemes=F.pad(batch.phonemes, (0, 2, 0, 3)),
    )
    torch.testing.assert_close(logits(model, padded), logits(model, batch), **TOLERANCE)


@every_option
def test_neither_batch_size_nor_order_changes_logits(
    spec: MultilevelSpec, sizes: InputSizes, make_batch: MakeBatch
) -> None:
    model, batch = build(spec, sizes), make_batch(FRAMES, WORDS)
    together = logits(model, batch)
    for order in ([0], [1], [2], [3], [4], [4, 2, 0], [3, 1, 4, 0, 2]):
        found = logits(model, picked(batch, order))
        torch.testing.assert_close(found, together[order], **TOLERANCE)


@every_option
def test_what_lies_in_padding_of_frames_and_words_does_not_matter(
    spec: MultilevelSpec, sizes: InputSizes, make_batch: MakeBatch
) -> None:
    model, batch = build(spec, sizes), make_batch(FRAMES, WORDS)
    littered = replace(
        batch,
        frames=batch.frames.masked_fill(~batch.frame_mask[..., None], 3.0),
        words=batch.words.masked_fill(~batch.word_mask, 2),
        phonemes=batch.phonemes.masked_fill(~batch.word_mask[..., None], 2),
    )
    assert not torch.equal(littered.frames, batch.frames)
    torch.testing.assert_close(logits(model, littered), logits(model, batch), **TOLERANCE)


@every_option
def test_utterances_tell_each_other_apart(
    spec: MultilevelSpec, sizes: InputSizes, make_batch: MakeBatch
) -> None:
    found = logits(build(spec, sizes), make_batch(FRAMES, WORDS))
    distances = torch.cdist(found, found) + torch.eye(5)
    assert float(distances.min()) > 1e-3


@every_option
@pytest.mark.parametrize(("num_frames", "num_words"), [(1, 1), (2843, 61)])
def test_the_shortest_and_the_longest_utterance_work(
    spec: MultilevelSpec,
    sizes: InputSizes,
    make_batch: MakeBatch,
    num_frames: int,
    num_words: int,
) -> None:
    found = logits(build(spec, sizes), make_batch([num_frames], [num_words]))
    assert found.shape == (1, 4)
    assert bool(found.isfinite().all())


@every_option
def test_a_gradient_reaches_every_parameter(
    spec: MultilevelSpec, sizes: InputSizes, make_batch: MakeBatch
) -> None:
    model, batch = build(spec, sizes).train(), make_batch(FRAMES, WORDS)
    set_dropout_keys(model, batch.utterances, 0)
    F.cross_entropy(model(batch), batch.labels).backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


@every_option
def test_one_batch_can_be_learnt_by_heart(
    spec: MultilevelSpec, sizes: InputSizes, make_batch: MakeBatch
) -> None:
    model = build(replace(spec, dropout=0.0, prenet_dropout=0.0, mel_prenet_dropout=0.0), sizes)
    batch = make_batch([5, 2, 7, 3, 11, 6, 4], [3, 2, 5, 1, 2, 4, 3])
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(100):
        optimiser.zero_grad()
        loss = F.cross_entropy(model(batch), batch.labels)
        if loss < 0.05:
            return
        loss.backward()
        optimiser.step()
    pytest.fail(f"the loss is still {float(loss):.3f}")


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
