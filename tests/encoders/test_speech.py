"""The states of a recording are transformers' own, whatever stands beside it in a batch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    AutoFeatureExtractor,
    AutoModel,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2Processor,
    WhisperModel,
)

from mlt_ray.corpus.audio import Samples
from mlt_ray.encoders.catalogue import SPEECH, SPEECH_FAMILY
from mlt_ray.encoders.folder import find_encoder
from mlt_ray.encoders.opening import EncoderShape, encoder_shape, open_encoder
from mlt_ray.encoders.pretrained import load_config
from mlt_ray.encoders.speech import SpeechEncoder, layer_states, pooled, resampled
from mlt_ray.encoders.wav2vec2 import receptive_field
from tests.encoders.noise import noise
from tests.tiny_encoder import change_config
from tests.tiny_speech_encoder import SHORTEST, WIDTH, write_speech_encoder

CPU = torch.device("cpu")
LENGTHS = (1601, 4003, SHORTEST, 2503)
NUM_LAYERS = 2
TOLERANCE = {"rtol": 0, "atol": 2e-5}

KINDS = [
    *((kind, norm) for kind in ("wav2vec2", "hubert", "wavlm") for norm in ("group", "layer")),
    ("data2vec-audio", "layer"),  # it knows no other
    ("whisper", ""),
]
every_kind = pytest.mark.parametrize(("kind", "norm"), KINDS)


def recordings(lengths: Sequence[int] = LENGTHS) -> list[Samples]:
    return [noise(length, seed=n) for n, length in enumerate(lengths)]


def write(folder: Path, kind: str, norm: str, **options: Any) -> Path:
    return write_speech_encoder(folder, kind, norm=norm or "group", **options)


@torch.no_grad()
def states_by_transformers(folder: Path, samples: Samples) -> list[Tensor]:
    """(T, H) of every layer for a recording alone, as its family computes it.

    The last is the last hidden state, behind the norm of families that have one there.
    """
    prepare = AutoFeatureExtractor.from_pretrained(folder)
    inputs = prepare(samples, sampling_rate=prepare.sampling_rate, return_tensors="pt")
    if load_config(folder).model_type == "whisper":
        model = WhisperModel.from_pretrained(folder).encoder.eval()
    else:
        model = AutoModel.from_pretrained(folder).eval()
    found = model(next(iter(inputs.values())), output_hidden_states=True)
    return [*(s[0] for s in found.hidden_states[:-1]), found.last_hidden_state[0]]


@every_kind
def test_all_layers_are_what_transformers_gives_the_recording_alone(
    kind: str, norm: str, tmp_path: Path
) -> None:
    folder = write(tmp_path, kind, norm)
    together = layer_states(open_encoder(folder, CPU), recordings(), kind == "whisper")
    for samples, found in zip(recordings(), together, strict=True):
        expected = states_by_transformers(folder, samples)
        if kind == "whisper":  # which pads to 30 s
            expected = [layer[: -(-len(samples) // 320)] for layer in expected]
        assert found.shape == (NUM_LAYERS + 1, *expected[0].shape)
        for layer, wanted in zip(found, expected, strict=True):
            np.testing.assert_allclose(layer.numpy(), wanted.numpy(), **TOLERANCE)


@every_kind
def test_neither_other_recordings_nor_their_order_change_a_state(
    kind: str, norm: str, tmp_path: Path
) -> None:
    encoder = open_encoder(write(tmp_path, kind, norm), CPU)
    together = layer_states(encoder, recordings())
    backwards = layer_states(encoder, recordings()[::-1])[::-1]
    alone = [layer_states(encoder, [samples])[0] for samples in recordings()]
    for one, other, third in zip(together, alone, backwards, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), **TOLERANCE)
        np.testing.assert_allclose(one.numpy(), third.numpy(), **TOLERANCE)
    last = [states[-1].mean(dim=0) for states in alone]
    assert float(torch.pdist(torch.stack(last)).min()) > 1e-3


@every_kind
@pytest.mark.parametrize("first", [0, 1])
def test_blocks_go_on_from_the_states_of_any_layer(
    kind: str, norm: str, first: int, tmp_path: Path
) -> None:
    folder = write(tmp_path, kind, norm)
    whole = layer_states(open_encoder(folder, CPU), recordings())
    tail = open_encoder(folder, CPU, first=first)
    states = pad_sequence([layers[first] for layers in whole], batch_first=True)
    lengths = torch.tensor([layers.shape[1] for layers in whole])
    mask = torch.arange(states.shape[1]) < lengths[:, None]
    with torch.no_grad():
        found = tail(torch.where(mask[..., None], states, 7.0), mask, first)
    assert len(found) == NUM_LAYERS + 1 - first
    for number, layer in enumerate(found, start=first):
        for own, length, expected in zip(layer, lengths.tolist(), whole, strict=True):
            np.testing.assert_allclose(own[:length], expected[number], **TOLERANCE)
    assert len(tail.blocks) == NUM_LAYERS - first
    assert weights_of(tail) < weights_of(open_encoder(folder, CPU))


def weights_of(encoder: SpeechEncoder) -> int:
    return sum(value.numel() for value in encoder.state_dict().values())


@every_kind
def test_blocks_behind_a_layer_can_be_forgotten(kind: str, norm: str, tmp_path: Path) -> None:
    folder = write(tmp_path, kind, norm)
    encoder = open_encoder(folder, CPU)
    [expected] = layer_states(encoder, recordings()[:1])
    encoder.drop_blocks(1)
    with torch.no_grad():
        found = encoder(expected[:1], torch.ones(1, expected.shape[1], dtype=torch.bool), 0, 1)
    np.testing.assert_allclose(found[-1][0], expected[1], **TOLERANCE)
    assert (len(encoder.blocks), encoder.norm) == (1, None)


@every_kind
@pytest.mark.parametrize("length", [0, 1, SHORTEST - 1, SHORTEST])
def test_the_shortest_recordings_have_a_state(
    kind: str, norm: str, length: int, tmp_path: Path
) -> None:
    folder = write(tmp_path, kind, norm)
    [states] = layer_states(open_encoder(folder, CPU), [noise(length)])
    assert states.shape == (NUM_LAYERS + 1, 1, WIDTH)
    assert bool(states.isfinite().all())


@every_kind
def test_the_sizes_of_an_encoder_are_known_without_its_weights(
    kind: str, norm: str, tmp_path: Path
) -> None:
    folder = write(tmp_path, kind, norm)
    encoder = open_encoder(folder, CPU)
    sizes = encoder.num_layers, encoder.width, encoder.states_per_s
    shape = EncoderShape(*sizes, pads_to_30s=kind == "whisper")
    (folder / "model.safetensors").unlink()
    assert encoder_shape(folder) == shape
    assert shape[:2] == (NUM_LAYERS, WIDTH)
    [states] = layer_states(encoder, [noise(80_000)])
    assert states.shape[1] == pytest.approx(5 * shape.states_per_s, abs=2)


@every_kind
def test_recomputing_blocks_gives_the_same_gradient(kind: str, norm: str, tmp_path: Path) -> None:
    encoder = open_encoder(write(tmp_path, kind, norm), CPU, first=0)
    states, mask = torch.randn(3, 7, WIDTH), torch.arange(7) < torch.tensor([[7], [2], [5]])
    gradients = []
    for encoder.recomputes in (False, True):
        encoder.zero_grad()
        encoder(states, mask)[-1][mask].square().sum().backward()
        gradients.append([p.grad.clone() for p in encoder.parameters() if p.grad is not None])
    assert gradients[0]
    for kept, again in zip(*gradients, strict=True):
        assert torch.equal(kept, again)


@pytest.mark.filterwarnings("ignore:At least one mel filter")  # half of them are above 4 kHz
@pytest.mark.parametrize("kind", ["wav2vec2", "whisper"])
def test_an_encoder_hears_at_the_rate_that_it_was_trained_at(kind: str, tmp_path: Path) -> None:
    folder = write(tmp_path, kind, "layer", sample_rate_hz=8_000)
    [found] = layer_states(open_encoder(folder, CPU), [noise(1601)], kind == "whisper")
    samples = resampled(noise(1601), 8_000)
    assert len(samples) == 801
    expected = states_by_transformers(folder, samples)
    for layer, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(layer, wanted[: found.shape[1]], **TOLERANCE)


def test_whisper_hears_a_recording_without_the_silence_behind_it(tmp_path: Path) -> None:
    """Its mel frames and positions are those of the padded recording; attention sees no silence."""
    folder = write_speech_encoder(tmp_path, "whisper")
    encoder = open_encoder(folder, CPU)
    samples = noise(4003)
    [cut], [padded] = layer_states(encoder, [samples]), layer_states(encoder, [samples], True)
    assert cut.shape == padded.shape == (NUM_LAYERS + 1, 13, WIDTH)
    # The last state's convolutions see zeros in place of silence.
    np.testing.assert_allclose(cut[0, :-1], padded[0, :-1], **TOLERANCE)
    assert float((cut[1] - padded[1]).abs().max()) > 1e-3


def test_whisper_cuts_what_it_has_no_positions_for(tmp_path: Path) -> None:
    encoder = open_encoder(write_speech_encoder(tmp_path, "whisper"), CPU)
    long = noise(31 * 16_000)
    [found], [cut] = layer_states(encoder, [long]), layer_states(encoder, [long[: 30 * 16_000]])
    assert found.shape[1] == 1500
    np.testing.assert_array_equal(found, cut)


@pytest.mark.parametrize("kind", ["wav2vec2", "wavlm"])
def test_only_whisper_can_be_padded_to_30_s(kind: str, tmp_path: Path) -> None:
    encoder = open_encoder(write_speech_encoder(tmp_path, kind), CPU)
    with pytest.raises(ValueError, match="only Whisper"):
        encoder.start(noise(1601), pad_to_30s=True)


def test_nothing_is_dropped_or_masked_in_training(tmp_path: Path) -> None:
    """But for the `nn.Dropout` modules of blocks, which whoever trains replaces."""
    for kind, norm in KINDS:
        encoder = open_encoder(write(tmp_path / f"{kind}{norm}", kind, norm), CPU).train()
        for module in encoder.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        states, mask = torch.randn(2, 5, WIDTH), torch.ones(2, 5, dtype=torch.bool)
        with torch.no_grad():
            first, second = (encoder(states, mask)[-1] for _ in range(2))
            expected = encoder.eval()(states, mask)[-1]
        assert torch.equal(first, second)
        np.testing.assert_allclose(first, expected, **TOLERANCE)


@pytest.mark.parametrize("kind", SPEECH_FAMILY)
def test_every_kind_of_encoder_is_found_in_its_folder(kind: str, tmp_path: Path) -> None:
    encoder = find_encoder(str(write_speech_encoder(tmp_path / kind, kind, norm="layer")), SPEECH)
    assert encoder.files == ("config.json", "model.safetensors", "preprocessor_config.json")
    assert encoder.name == kind


def test_the_preprocessor_of_a_recogniser_is_read(tmp_path: Path) -> None:
    """Whose folder, saved by transformers 5, has it in the processor's file."""
    folder = write_speech_encoder(tmp_path / "tiny", norm="layer", do_normalize=False)
    [expected] = layer_states(open_encoder(folder, CPU), [noise(1601)])
    prepare = AutoFeatureExtractor.from_pretrained(folder)
    (folder / "preprocessor_config.json").unlink()
    vocabulary = tmp_path / "letters.json"
    vocabulary.write_text('{"<pad>": 0, "<unk>": 1, "|": 2, "a": 3}')
    Wav2Vec2Processor(prepare, Wav2Vec2CTCTokenizer(vocabulary)).save_pretrained(folder)
    encoder = find_encoder(str(folder), SPEECH)
    assert encoder.files == ("config.json", "model.safetensors", "processor_config.json")
    [found] = layer_states(open_encoder(folder, CPU), [noise(1601)])
    np.testing.assert_array_equal(found, expected)


def test_pooling_is_the_mean_and_the_deviation_over_time() -> None:
    states = np.random.default_rng(1).normal(size=(3, 7, 5)).astype(np.float32)
    expected = np.concatenate([np.mean(states, axis=1), np.std(states, axis=1)], axis=1)
    found = pooled(torch.from_numpy(states))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-6)
    one = pooled(torch.from_numpy(states[:, :1]))
    np.testing.assert_array_equal(one[0].numpy(), [*states[0, 0], *np.zeros(5)])


def test_the_receptive_field_is_what_the_convolutions_need(tmp_path: Path) -> None:
    folder = write_speech_encoder(tmp_path / "tiny")
    model = AutoModel.from_pretrained(folder).eval()
    assert receptive_field(model.config) == SHORTEST
    assert model(torch.zeros(1, SHORTEST)).last_hidden_state.shape[1] == 1
    with pytest.raises(RuntimeError):
        model(torch.zeros(1, SHORTEST - 1))


def test_samples_are_normalised_only_where_the_encoder_was_trained_so(tmp_path: Path) -> None:
    samples = noise(1601)
    for do_normalize in (True, False):
        folder = write_speech_encoder(
            tmp_path / str(do_normalize), norm="layer", do_normalize=do_normalize
        )
        loud, quiet = layer_states(open_encoder(folder, CPU), [samples, samples * 0.02])
        assert torch.allclose(loud[-1], quiet[-1], atol=1e-2) == do_normalize


def test_34_seconds_have_states(tmp_path: Path) -> None:
    folder = write_speech_encoder(tmp_path / "tiny")
    change_config(folder, conv_stride=[20, 4, 4])  # as coarse as the real ones
    [states] = layer_states(open_encoder(folder, CPU), [noise(34 * 16_000)])
    assert states.shape[::2] == (NUM_LAYERS + 1, WIDTH)
    assert bool(states.isfinite().all())
