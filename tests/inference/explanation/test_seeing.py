"""What is seen of a network while it reads an utterance."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from mlt_ray.batch import Batch
from mlt_ray.inference.explanation.seeing import Seen, last_vectors, maximum_shares, see
from mlt_ray.models.multilevel.network import Multilevel
from mlt_ray.models.multilevel.values import MultilevelSpec
from mlt_ray.models.registry import build_model
from tests.models.batches import SIZES, made_up, padded

SMALL = MultilevelSpec(
    width=14, num_heads=2, feed_forward=19, phoneme_dim=5, phoneme_channels=7, phoneme_kernel=3
)
NUM_FRAMES, NUM_WORDS = 13, 5


@pytest.fixture
def batch() -> Batch:
    return made_up([NUM_FRAMES], [NUM_WORDS])


def built(spec: MultilevelSpec) -> Multilevel:
    torch.manual_seed(3)
    network = build_model(spec, SIZES).eval()
    assert isinstance(network, Multilevel)
    return network


def seen(network: nn.Module, batch: Batch) -> Seen:
    return see(network, lambda: network(batch))


@pytest.mark.parametrize("deep_fusion_layers", [0, 2])
def test_attention_is_the_mean_over_heads_and_layers_that_torch_gives(
    batch: Batch, deep_fusion_layers: int
) -> None:
    """With deep fusion there is a learnt vector before the frames, whose row is left out."""
    network = built(replace(SMALL, cross_modality_layers=2, deep_fusion_layers=deep_fusion_layers))
    expected, first = [], int(deep_fusion_layers > 0)
    with torch.no_grad():
        x, mask = network.speech(batch)
        text = network.text(batch, batch.word_mask)
        for layer in network.cross_modality:
            asking = layer.self_norm(x, layer.self_attention(x, x, mask))
            attention = layer.cross_attention
            theirs = nn.MultiheadAttention(SMALL.width, SMALL.num_heads, batch_first=True)
            weights = torch.cat([attention.query.weight, attention.key_value.weight])
            theirs.in_proj_weight.copy_(weights)
            biases = torch.cat([attention.query.bias, attention.key_value.bias])
            theirs.in_proj_bias.copy_(biases)
            _, shares = theirs(asking, text, text, average_attn_weights=True)
            expected.append(shares[0, first:])
            x = layer(x, mask, text, batch.word_mask)
    found = seen(network, batch).attention
    assert found is not None
    assert found.shape == (NUM_FRAMES, NUM_WORDS)
    np.testing.assert_allclose(found, torch.stack(expected).mean(0).numpy(), atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


def test_padding_is_not_seen(batch: Batch) -> None:
    network = built(SMALL)
    one, other = seen(network, batch), seen(network, padded(batch))
    assert one.attention is not None
    assert one.phoneme_shares is not None
    assert other.phoneme_shares is not None
    np.testing.assert_allclose(one.attention, other.attention, atol=1e-6)
    for share, same in zip(one.phoneme_shares, other.phoneme_shares, strict=True):
        np.testing.assert_allclose(share, same, atol=1e-6)


def test_a_network_that_only_hears_or_only_reads_has_no_attention(batch: Batch) -> None:
    for inputs in ("audio", "text"):
        assert seen(built(replace(SMALL, inputs=inputs)), batch).attention is None


def test_a_network_without_phonemes_shares_nothing_among_them(batch: Batch) -> None:
    assert seen(built(replace(SMALL, text="word")), batch).phoneme_shares is None


def test_each_word_has_a_share_for_each_of_its_phonemes(batch: Batch) -> None:
    shares = seen(built(SMALL), batch).phoneme_shares
    assert shares is not None
    lengths = (batch.phonemes[0] != 0).sum(dim=1).tolist()
    assert [len(share) for share in shares] == lengths
    for share in shares:
        assert share.sum() == pytest.approx(1) or not share.any()


def test_shares_count_the_channels_whose_maximum_a_phoneme_gives() -> None:
    """Four channels of three phonemes, the third of which is padding."""
    channels = torch.tensor(
        [
            # won by the first; by the second; by both; by none, for it is below zero
            [[3.0, 1.0, 2.0, -1.0], [1.0, 5.0, 2.0, -2.0], [9.0, 9.0, 9.0, 9.0]],
            [[-1.0, -1.0, -1.0, -1.0], [-1.0, -1.0, -1.0, -1.0], [0.0, 0.0, 0.0, 0.0]],
        ]
    )
    mask = torch.tensor([[True, True, False], [True, True, False]])
    expected = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(maximum_shares(channels, mask), expected)


def test_the_last_layer_makes_the_logits_of_the_vectors_that_are_seen() -> None:
    network, batch = built(SMALL), made_up([7, 3], [2, 5])
    vectors = last_vectors(network, lambda: network(batch))
    assert vectors is not None
    with torch.no_grad():
        torch.testing.assert_close(network.classifier(vectors), network(batch))


def test_a_network_without_such_a_layer_gives_no_vectors(batch: Batch) -> None:
    network = built(SMALL)
    network.classifier = nn.Sequential(nn.Linear(SMALL.width, 4))
    assert last_vectors(network, lambda: network(batch)) is None


def test_nothing_listens_afterwards(batch: Batch) -> None:
    network = built(SMALL)
    seen(network, batch)
    last_vectors(network, lambda: network(batch))
    assert not any(module._forward_pre_hooks for module in network.modules())
