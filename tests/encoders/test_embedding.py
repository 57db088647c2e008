"""What is kept of a speech encoder's states, for one recording after another."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from mlt_ray.encoders import embedding
from mlt_ray.encoders.embedding import Embedding, batches, embed, embed_files, layer_index
from mlt_ray.encoders.opening import open_encoder
from mlt_ray.encoders.speech import layer_states, pooled
from mlt_ray.encoders.wav2vec2 import Wav2Vec2
from mlt_ray.errors import UserError
from tests.encoders.noise import noise
from tests.tiny_speech_encoder import WIDTH, write_speech_encoder

CPU = torch.device("cpu")
LENGTHS = (1601, 7, 4003, 1601, 0, 2503)
NUM_LAYERS = 3  # with layer 0


def write(folder: Path, lengths: Sequence[int] = LENGTHS) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{n}.wav" for n in range(len(lengths))]
    for n, (path, length) in enumerate(zip(paths, lengths, strict=True)):
        soundfile.write(path, noise(length, seed=n), 16_000, subtype="FLOAT")
    return paths


@pytest.mark.parametrize("kind", ["wav2vec2", "wavlm", "whisper"])
def test_every_layer_is_pooled(kind: str, tmp_path: Path) -> None:
    folder = write_speech_encoder(tmp_path / "tiny", kind)
    encoder = open_encoder(folder, CPU)
    found = list(embed_files(folder, write(tmp_path / "audio"), Embedding()))
    assert len(found) == len(LENGTHS)
    for n, (array, length) in enumerate(zip(found, LENGTHS, strict=True)):
        [states] = layer_states(encoder, [noise(length, seed=n)])
        assert (array.shape, array.dtype) == ((NUM_LAYERS, 2 * WIDTH), np.float32)
        np.testing.assert_allclose(array, pooled(states).numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("layer", "place"), [("last", 2), (0, 0), (1, 1), (-2, 1)])
def test_the_states_of_one_layer_are_kept_in_half_precision(
    layer: int, place: int, tmp_path: Path
) -> None:
    folder = write_speech_encoder(tmp_path / "tiny")
    [path] = write(tmp_path / "audio", [1601])
    [states] = layer_states(open_encoder(folder, CPU), [noise(1601)])
    [found] = embed_files(folder, [path], Embedding(layer=layer))
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, states[place].numpy(), rtol=1e-3, atol=1e-3)


def test_weighted_layers_stand_side_by_side(tmp_path: Path) -> None:
    folder = write_speech_encoder(tmp_path / "tiny")
    [path] = write(tmp_path / "audio", [1601])
    [states] = layer_states(open_encoder(folder, CPU), [noise(1601)])
    [found] = embed_files(folder, [path], Embedding(layer="weighted"))
    expected = np.concatenate(list(states.numpy()), axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_a_state_beyond_half_precision_becomes_infinite() -> None:
    [[found]] = Embedding(layer=0).of(torch.tensor([[[70_000.0]]]))
    assert np.isinf(found)


@pytest.mark.parametrize("layer", [3, -4, "weighted", "best"])
def test_a_layer_that_is_not_there_is_refused(layer: int) -> None:
    with pytest.raises(UserError, match=r"layer: expected a number from -3 to 2 .*, got"):
        layer_index(layer, 3)


def test_batches_hold_each_recording_once_and_no_more_seconds_than_a_gpu_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(embedding, "BATCH_S", 0.5)
    lengths = (4003, 7, 0, 2503, 8_001, 1601, 4003, 1601)
    samples = [noise(length) for length in lengths]
    found = list(batches(samples))
    assert sorted(n for batch in found for n in batch) == list(range(len(lengths)))
    for batch in found:
        longest = max(len(samples[n]) for n in batch)
        assert len(batch) == 1 or len(batch) * longest <= 8_000
    assert {len(batch) for batch in batches(samples, pad_to_30s=True)} == {1}
    # Longest first, so that memory that is too small is noticed at once.
    assert lengths[found[0][0]] == max(lengths)


def test_batches_give_what_recordings_give_alone(tmp_path: Path) -> None:
    encoder = open_encoder(write_speech_encoder(tmp_path, "wavlm"), CPU)
    samples = [noise(length, seed=n) for n, length in enumerate(LENGTHS)]
    alone = list(embed(encoder, samples, Embedding()))
    for batch in batches(samples):
        together = embedding._embed(encoder, [samples[n] for n in batch], Embedding())
        for n, array in zip(batch, together, strict=True):
            np.testing.assert_allclose(array, alone[n], rtol=0, atol=1e-5)


def test_a_recording_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    folder = write_speech_encoder(tmp_path / "tiny")
    broken = tmp_path / "broken.wav"
    broken.write_text("no audio")
    with pytest.raises(UserError, match=r"broken\.wav: expected audio"):
        list(embed_files(folder, [broken], Embedding()))


def test_the_number_of_threads_is_as_before_while_arrays_are_used(tmp_path: Path) -> None:
    folder = write_speech_encoder(tmp_path / "tiny")
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        next(embed_files(folder, write(tmp_path / "audio"), Embedding()))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_recordings_are_read_block_by_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_speech_encoder(tmp_path / "tiny")
    paths = write(tmp_path / "audio")
    expected = list(embed_files(folder, paths, Embedding()))
    monkeypatch.setattr(embedding, "BLOCK", 4)
    found = list(embed_files(folder, paths, Embedding()))
    assert len(found) == len(paths)
    np.testing.assert_array_equal(found, expected)


def test_blocks_behind_the_layer_are_not_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [path] = write(tmp_path / "audio")[:1]
    folder = write_speech_encoder(tmp_path / "tiny")
    asked: list[int] = []
    real = Wav2Vec2.block

    def block(self: Wav2Vec2, number: int, *given: Any) -> Any:
        asked.append(number)
        return real(self, number, *given)

    monkeypatch.setattr(Wav2Vec2, "block", block)
    expectations: dict[Any, list[int]] = {0: [], 1: [0], -2: [0], "last": [0, 1], None: [0, 1]}
    for layer, expected in expectations.items():
        list(embed_files(folder, [path], Embedding(layer=layer)))
        assert asked == expected
        asked.clear()
