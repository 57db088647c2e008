"""Layers against torch.nn, and against their formulas worked out element by element."""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlt_ray.batch import real
from mlt_ray.models.attention import FEW_KEYS, KEY_MULTIPLE, Attention
from mlt_ray.models.dropout import set_dropout_keys
from mlt_ray.models.layers import (
    CharCnn,
    ConvolutionPrenet,
    Highway,
    MelPrenet,
    ScaledPositions,
    TransformerLayer,
    WordEmbedding,
    masked_max,
)

# Float32 sums of a dozen products in another order.
CLOSE = {"rtol": 1e-5, "atol": 1e-6}

B, T, S, HEADS, WIDTH, HIDDEN = 5, 7, 11, 3, 39, 17
QUERY_LENGTHS = torch.tensor([7, 1, 3, 5, 2])
MEMORY_LENGTHS = torch.tensor([2, 11, 1, 7, 5])


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(23)


def copy_attention(ours: Attention, theirs: nn.MultiheadAttention) -> None:
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key_value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key_value.bias]))
    theirs.out_proj.load_state_dict(ours.output.state_dict())


def copy_layer(
    ours: TransformerLayer, theirs: nn.TransformerEncoderLayer | nn.TransformerDecoderLayer
) -> None:
    # New norms hold only ones and zeros; other values show whether each is at its place.
    for module in ours.modules():
        if isinstance(module, nn.LayerNorm):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    copy_attention(ours.self_attention, theirs.self_attn)
    norms = [ours.self_norm.norm, ours.feed_forward_norm.norm]
    if isinstance(theirs, nn.TransformerDecoderLayer):
        assert ours.cross_attention is not None
        assert ours.cross_norm is not None
        copy_attention(ours.cross_attention, theirs.multihead_attn)
        norms.insert(1, ours.cross_norm.norm)
    for number, norm in enumerate(norms, start=1):
        getattr(theirs, f"norm{number}").load_state_dict(norm.state_dict())
    theirs.linear1.load_state_dict(ours.feed_forward[0].state_dict())
    theirs.linear2.load_state_dict(ours.feed_forward[2].state_dict())


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("steps", [S, KEY_MULTIPLE, KEY_MULTIPLE + 7, FEW_KEYS - 1, FEW_KEYS + 1])
def test_attention_equals_that_of_torch(steps: int, dropout: float) -> None:
    ours = Attention(WIDTH, HEADS, dropout).eval()
    theirs = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True).eval()
    copy_attention(ours, theirs)
    x, memory = torch.randn(B, T, WIDTH), torch.randn(B, steps, WIDTH)
    mask = real(MEMORY_LENGTHS, steps)
    expected, _ = theirs(x, memory, memory, key_padding_mask=~mask)
    torch.testing.assert_close(ours(x, memory, mask), expected, **CLOSE)


def test_attention_refuses_a_width_that_the_heads_do_not_divide() -> None:
    with pytest.raises(ValueError, match="width 13 is not a multiple of num_heads 3"):
        Attention(13, 3, dropout=0.0)


def test_a_layer_without_memory_equals_the_encoder_layer_of_torch() -> None:
    ours = TransformerLayer(WIDTH, HEADS, HIDDEN, dropout=0.5).eval()
    theirs = nn.TransformerEncoderLayer(WIDTH, HEADS, HIDDEN, batch_first=True).eval()
    copy_layer(ours, theirs)
    x, mask = torch.randn(B, T, WIDTH), real(QUERY_LENGTHS, T)
    expected = theirs(x, src_key_padding_mask=~mask)
    # Torch's fast path leaves zeros at padding; only real positions are comparable.
    torch.testing.assert_close(ours(x, mask)[mask], expected[mask], **CLOSE)


def test_a_layer_with_memory_equals_the_decoder_layer_of_torch() -> None:
    ours = TransformerLayer(WIDTH, HEADS, HIDDEN, dropout=0.5, cross=True).eval()
    theirs = nn.TransformerDecoderLayer(WIDTH, HEADS, HIDDEN, batch_first=True).eval()
    copy_layer(ours, theirs)
    x, memory = torch.randn(B, T, WIDTH), torch.randn(B, S, WIDTH)
    mask, memory_mask = real(QUERY_LENGTHS, T), real(MEMORY_LENGTHS, S)
    expected = theirs(x, memory, tgt_key_padding_mask=~mask, memory_key_padding_mask=~memory_mask)
    torch.testing.assert_close(ours(x, mask, memory, memory_mask), expected, **CLOSE)


def test_a_causal_layer_equals_the_decoder_layer_of_torch_with_a_causal_mask() -> None:
    ours = TransformerLayer(WIDTH, HEADS, HIDDEN, dropout=0.5, cross=True, causal=True).eval()
    theirs = nn.TransformerDecoderLayer(WIDTH, HEADS, HIDDEN, batch_first=True).eval()
    copy_layer(ours, theirs)
    x, memory = torch.randn(B, T, WIDTH), torch.randn(B, S, WIDTH)
    mask, memory_mask = real(QUERY_LENGTHS, T), real(MEMORY_LENGTHS, S)
    causal = torch.ones(T, T, dtype=torch.bool).triu(1)
    expected = theirs(
        x,
        memory,
        tgt_mask=causal,
        tgt_key_padding_mask=~mask,
        memory_key_padding_mask=~memory_mask,
    )
    found = ours(x, mask, memory, memory_mask)
    torch.testing.assert_close(found, expected, **CLOSE)
    ours.causal = False
    assert not torch.allclose(ours(x, mask, memory, memory_mask), found, atol=1e-3)


def test_a_causal_layer_without_memory_equals_the_encoder_layer_of_torch() -> None:
    ours = TransformerLayer(WIDTH, HEADS, HIDDEN, dropout=0.5, causal=True).eval()
    theirs = nn.TransformerEncoderLayer(WIDTH, HEADS, HIDDEN, batch_first=True).eval()
    copy_layer(ours, theirs)
    x, mask = torch.randn(B, T, WIDTH), real(QUERY_LENGTHS, T)
    causal = torch.ones(T, T, dtype=torch.bool).triu(1)
    expected = theirs(x, src_mask=causal, src_key_padding_mask=~mask)
    torch.testing.assert_close(ours(x, mask)[mask], expected[mask], **CLOSE)


@pytest.mark.parametrize("cross", [False, True])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_the_first_positions_alone_are_those_of_all(
    cross: bool, causal: bool, training: bool
) -> None:
    layer = TransformerLayer(WIDTH, HEADS, HIDDEN, 0.5, cross, causal).train(training)
    set_dropout_keys(layer, torch.arange(B), 1)
    x, memory = torch.randn(B, T, WIDTH), torch.randn(B, S, WIDTH)
    inputs = x, real(QUERY_LENGTHS, T), memory, real(MEMORY_LENGTHS, S)
    whole = layer(*inputs)
    for first in (1, 3):
        torch.testing.assert_close(layer(*inputs, first=first), whole[:, :first], **CLOSE)


def test_a_layer_with_cross_attention_asks_for_its_memory() -> None:
    layer = TransformerLayer(WIDTH, HEADS, HIDDEN, dropout=0.0, cross=True)
    with pytest.raises(ValueError, match="needs a memory and its mask"):
        layer(torch.randn(B, T, WIDTH), real(QUERY_LENGTHS, T))


def test_dropout_falls_on_the_output_of_each_sub_layer_and_nowhere_else() -> None:
    """Worked by hand: Vaswani et al. 2017, section 5.4. Each sub-layer's mask is another."""
    layer = TransformerLayer(WIDTH, HEADS, HIDDEN, dropout=0.4, cross=True).train()
    set_dropout_keys(layer, torch.arange(B), 1)
    x, memory = torch.randn(B, T, WIDTH), torch.randn(B, S, WIDTH)
    mask, memory_mask = real(QUERY_LENGTHS, T), real(MEMORY_LENGTHS, S)
    assert layer.cross_attention is not None
    assert layer.cross_norm is not None
    ones, kept = torch.ones(B, T, WIDTH), []
    y = x
    for norm, output in (
        (layer.self_norm, lambda y: layer.self_attention(y, y, mask)),
        (layer.cross_norm, lambda y: layer.cross_attention(y, memory, memory_mask)),
        (layer.feed_forward_norm, layer.feed_forward),
    ):
        kept.append(norm.dropout(ones))
        assert kept[-1].unique().tolist() == pytest.approx([0.0, 1 / 0.6])
        y = norm.norm(y + output(y) * kept[-1])
    torch.testing.assert_close(layer(x, mask, memory, memory_mask), y, **CLOSE)
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(kept, 2))


@pytest.mark.parametrize("causal", [False, True])
def test_dropout_of_attention_weights_is_a_value_of_its_own(causal: bool) -> None:
    attention = Attention(WIDTH, HEADS, dropout=0.4).train()
    set_dropout_keys(attention, torch.arange(B), 1)
    x, mask = torch.randn(B, T, WIDTH), real(QUERY_LENGTHS, T)
    query = attention.query(x).view(B, T, HEADS, -1).transpose(1, 2)
    key, value = (
        y.view(B, T, HEADS, -1).transpose(1, 2) for y in attention.key_value(x).chunk(2, -1)
    )
    scores = query @ key.mT / math.sqrt(WIDTH / HEADS)
    scores = scores.masked_fill(~mask[:, None, None], -math.inf)
    if causal:
        scores = scores.masked_fill(torch.ones(T, T).triu(1).bool(), -math.inf)
    # Keys are padded to `KEY_MULTIPLE`; a mask does not depend on padding.
    kept = attention.dropout(torch.ones(B, HEADS, T, KEY_MULTIPLE))[..., :T]
    mixed = (scores.softmax(-1) * kept) @ value
    expected = attention.output(mixed.transpose(1, 2).flatten(2))
    torch.testing.assert_close(attention(x, x, mask, causal), expected, **CLOSE)
    assert not torch.allclose(attention.eval()(x, x, mask, causal), expected, atol=1e-3)


def test_highway_is_equation_3_worked_value_by_value() -> None:
    highway = Highway(3, num_layers=2)
    u = torch.randn(2, 5, 3)
    with torch.no_grad():
        output = highway(u)
    layers = [
        [[p.tolist() for p in (linear.weight, linear.bias)] for linear in pair]
        for pair in zip(highway.transforms, highway.gates, strict=True)
    ]
    for place in np.ndindex(2, 5):
        values = u[place].tolist()
        for (transform, transform_bias), (gate, gate_bias) in layers:
            following = []
            for i in range(3):
                h = max(
                    0.0,
                    sum(w * v for w, v in zip(transform[i], values, strict=True))
                    + transform_bias[i],
                )
                a = sum(w * v for w, v in zip(gate[i], values, strict=True)) + gate_bias[i]
                t = 1 / (1 + math.exp(-a))
                following.append(h * t + values[i] * (1 - t))
            values = following
        assert output[place].tolist() == pytest.approx(values, abs=1e-6)


@pytest.mark.filterwarnings("ignore:Using padding=.same. with even kernel")
@pytest.mark.parametrize("kernel", [3, 4, 5])
def test_a_word_gets_what_the_convolution_gives_for_it_alone(kernel: int) -> None:
    cnn = CharCnn(num_symbols=13, dim=5, channels=7, kernel=kernel)
    spelt = [[[3, 1, 4], [1]], [[5, 9, 2, 6, 5, 3, 12], [8, 9, 7, 9]], [[11, 2], []]]
    phonemes = torch.zeros(3, 2, 11, dtype=torch.int64)
    for place in np.ndindex(3, 2):
        word = spelt[place[0]][place[1]]
        phonemes[place][: len(word)] = torch.tensor(word, dtype=torch.int64)
    output = cnn(phonemes)
    assert output.shape == (3, 2, 7)
    left = (kernel - 1) // 2
    for place in np.ndindex(3, 2):
        word = spelt[place[0]][place[1]]
        expected = torch.zeros(7)
        if word:
            symbols = cnn.embedding.weight[word].T[None]
            around = F.pad(symbols, (left, kernel - 1 - left))
            convolved = F.conv1d(around, cnn.convolution.weight, cnn.convolution.bias)
            expected = convolved.relu().amax(dim=2)[0]
        torch.testing.assert_close(output[place], expected, **CLOSE)


def test_word_ids_below_the_learned_ones_are_learned_and_the_others_frozen() -> None:
    vectors = torch.randn(7, 3)
    embedding = WordEmbedding(5, vectors)
    words = torch.tensor([[0, 1, 4], [5, 8, 11]])
    output = embedding(words)
    learned = embedding.learned.weight
    expected = torch.stack([torch.zeros(3), learned[1], learned[4], *vectors[[0, 3, 6]]])
    torch.testing.assert_close(output.flatten(0, 1), expected, rtol=0, atol=0)
    assert embedding.dim == 3
    assert [name for name, _ in embedding.named_parameters()] == ["learned.weight"]


def test_frozen_vectors_are_not_in_the_weights() -> None:
    embedding = WordEmbedding(5, torch.randn(7, 3))
    assert list(embedding.state_dict()) == ["learned.weight"]


def test_trainable_vectors_start_as_given_and_are_in_the_weights() -> None:
    vectors = torch.randn(7, 3)
    embedding = WordEmbedding(5, vectors, trainable=True)
    words = torch.tensor([[0, 1, 4], [5, 8, 5]])
    assert torch.equal(embedding(words)[1], vectors[[0, 3, 0]])
    embedding(words).sum().backward()
    assert embedding.vectors.grad is not None
    expected = torch.zeros(8, 3)
    expected[[0, 3]] = torch.tensor([[2.0], [1.0]])
    assert torch.equal(embedding.vectors.grad, expected)
    assert set(embedding.state_dict()) == {"learned.weight", "vectors"}


@pytest.mark.parametrize("trainable", [False, True])
def test_a_vocabulary_without_vectors_can_be_embedded(trainable: bool) -> None:
    embedding = WordEmbedding(5, torch.zeros(0, 3), trainable)
    words = torch.tensor([[1, 2, 4]])
    torch.testing.assert_close(embedding(words)[0], embedding.learned.weight[[1, 2, 4]])


@pytest.mark.parametrize(("length", "width"), [(1, 6), (11, 6), (131, 7)])
def test_positions_are_the_sines_of_the_formula_times_the_scale(length: int, width: int) -> None:
    positions = ScaledPositions(dropout=0.5).eval()
    assert positions.scale.item() == 1
    with torch.no_grad():
        positions.scale.fill_(0.7)
    x = torch.randn(3, length, width)
    expected = np.empty((length, width))
    for t in range(length):
        for c in range(width):
            angle = t / 10000 ** (2 * (c // 2) / width)
            expected[t, c] = math.sin(angle) if c % 2 == 0 else math.cos(angle)
    added = (positions(x) - x).detach().numpy()
    # A float32 angle of 130 is off by up to 130 · 2⁻²⁴ · a few.
    np.testing.assert_allclose(added, np.broadcast_to(0.7 * expected, x.shape), atol=5e-5)


def test_the_masked_maximum_is_that_of_the_real_positions() -> None:
    x, lengths = torch.randn(B, T, 3) - 5, QUERY_LENGTHS
    expected = np.stack([x[n, :length].numpy().max(axis=0) for n, length in enumerate(lengths)])
    found = masked_max(x, real(lengths, T))
    np.testing.assert_array_equal(found.numpy(), expected)


def test_the_convolution_prenet_gives_an_utterance_what_it_gives_it_alone() -> None:
    prenet = ConvolutionPrenet(3, 13, num_layers=3, kernel=5, dropout=0.5).eval()
    x = torch.randn(B, T, 3)
    together = prenet(x, real(QUERY_LENGTHS, T))
    for n, length in enumerate(QUERY_LENGTHS.tolist()):
        alone = prenet(x[n : n + 1, :length], torch.ones(1, length, dtype=torch.bool))
        torch.testing.assert_close(together[n, :length], alone[0], **CLOSE)


def test_the_convolution_prenet_is_convolutions_norms_and_a_projection() -> None:
    prenet = ConvolutionPrenet(3, 13, num_layers=2, kernel=5, dropout=0.5).eval()
    x = torch.randn(2, T, 3)
    y: Tensor = x
    for convolution, norm in zip(prenet.convolutions, prenet.norms, strict=True):
        y = F.conv1d(y.transpose(1, 2), convolution.weight, convolution.bias, padding=2)
        y = F.layer_norm(y.transpose(1, 2), (13,), norm.weight, norm.bias).relu()
    expected = F.linear(y, prenet.projection.weight, prenet.projection.bias)
    found = prenet(x, torch.ones(2, T, dtype=torch.bool))
    torch.testing.assert_close(found, expected, **CLOSE)


def test_the_mel_prenet_is_two_layers_on_every_frame() -> None:
    prenet = MelPrenet(3, 7, 13, dropout=0.5).eval()
    x = torch.randn(2, T, 3)
    first, second = (m for m in prenet if isinstance(m, nn.Linear))
    expected = (x @ first.weight.T + first.bias).relu() @ second.weight.T + second.bias
    torch.testing.assert_close(prenet(x), expected.relu(), **CLOSE)
