"""Speech encoders give each recording one vector that does not depend on other recordings."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from transformers import AutoModel

from mlt_ray.encoders.catalogue import SPEECH, SPEECH_FAMILY
from mlt_ray.encoders.folder import find_encoder
from mlt_ray.encoders.speech import open_encoder, pooled, receptive_field, speech_vectors
from mlt_ray.errors import UserError
from tests.encoders.noise import noise
from tests.tiny_encoder import change_config
from tests.tiny_speech_encoder import SHORTEST, WIDTH, write_speech_encoder

CPU = torch.device("cpu")
LENGTHS = (1601, 7, 4003, 1601, SHORTEST, 0, 2503)

every_kind = pytest.mark.parametrize(
    ("kind", "norm"),
    [
        *((kind, norm) for kind in ("wav2vec2", "hubert", "wavlm") for norm in ("group", "layer")),
        ("data2vec-audio", "layer"),  # it knows no other
    ],
)


def write(folder: Path, lengths: Sequence[int] = LENGTHS) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{n}.wav" for n in range(len(lengths))]
    for n, (path, length) in enumerate(zip(paths, lengths, strict=True)):
        soundfile.write(path, noise(length, seed=n), 16_000, subtype="FLOAT")
    return paths


def test_pooling_is_the_mean_and_the_deviation_over_time() -> None:
    states = np.random.default_rng(1).normal(size=(7, 5)).astype(np.float32)
    expected = np.concatenate([np.mean(states, axis=0), np.std(states, axis=0)])
    found = pooled(torch.from_numpy(states))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-6)
    one = pooled(torch.from_numpy(states[:1]))
    np.testing.assert_array_equal(one.numpy(), [*states[0], *np.zeros(5)])


@every_kind
def test_a_vector_is_what_transformers_gives_the_recording_alone(
    kind: str, norm: str, tmp_path: Path
) -> None:
    folder = write_speech_encoder(tmp_path / "tiny", kind, norm=norm)
    paths = write(tmp_path / "audio")
    model = AutoModel.from_pretrained(folder).eval()
    found = list(speech_vectors(folder, paths))
    for n, (vector, length) in enumerate(zip(found, LENGTHS, strict=True)):
        if length < SHORTEST:
            continue
        samples = noise(length, seed=n)
        samples = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
        with torch.no_grad():
            states = model(torch.from_numpy(samples)[None]).last_hidden_state[0].numpy()
        expected = np.concatenate([states.mean(axis=0), states.std(axis=0)])
        assert vector.shape == (1, 2 * WIDTH)
        assert vector.dtype == np.float32
        np.testing.assert_allclose(vector[0], expected, rtol=0, atol=1e-5)


@every_kind
def test_neither_the_order_nor_other_recordings_change_a_vector(
    kind: str, norm: str, tmp_path: Path
) -> None:
    folder = write_speech_encoder(tmp_path / "tiny", kind, norm=norm)
    paths = write(tmp_path / "audio")
    together = list(speech_vectors(folder, paths))
    alone = [next(speech_vectors(folder, [path])) for path in paths]
    backwards = list(speech_vectors(folder, paths[::-1]))[::-1]
    for one, other, third in zip(together, alone, backwards, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(one, third)
    distances = torch.pdist(torch.from_numpy(np.concatenate([together[n] for n in (0, 2, 3, 6)])))
    assert float(distances.min()) > 1e-3


@every_kind
@pytest.mark.parametrize("length", [0, 1, SHORTEST - 1, SHORTEST])
def test_the_shortest_recordings_have_one_state(
    kind: str, norm: str, length: int, tmp_path: Path
) -> None:
    folder = write_speech_encoder(tmp_path / "tiny", kind, norm=norm)
    states = open_encoder(folder, CPU)(noise(length))
    assert states.shape == (1, WIDTH)
    assert bool(states.isfinite().all())


@pytest.mark.parametrize("kind", SPEECH_FAMILY)
def test_every_kind_of_encoder_is_found_in_its_folder(kind: str, tmp_path: Path) -> None:
    encoder = find_encoder(str(write_speech_encoder(tmp_path / kind, kind, norm="layer")), SPEECH)
    assert encoder.files == ("config.json", "model.safetensors", "preprocessor_config.json")
    assert encoder.name == kind


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
        states = open_encoder(folder, CPU)
        same = torch.allclose(states(samples), states(samples * 0.02), atol=1e-2)
        assert same == do_normalize


def test_34_seconds_have_a_vector(tmp_path: Path) -> None:
    folder = write_speech_encoder(tmp_path / "tiny")
    change_config(folder, conv_stride=[20, 4, 4])  # as coarse as the real ones
    [path] = write(tmp_path / "audio", [34 * 16_000])
    [vector] = speech_vectors(folder, [path])
    assert vector.shape == (1, 2 * WIDTH)
    assert np.isfinite(vector).all()


def test_a_recording_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    folder = write_speech_encoder(tmp_path / "tiny")
    broken = tmp_path / "broken.wav"
    broken.write_text("no audio")
    with pytest.raises(UserError, match=r"broken\.wav: expected audio"):
        list(speech_vectors(folder, [broken]))


def test_the_number_of_threads_is_as_before_while_vectors_are_used(tmp_path: Path) -> None:
    folder = write_speech_encoder(tmp_path / "tiny")
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        vectors = speech_vectors(folder, write(tmp_path / "audio"))
        next(vectors)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_recordings_are_read_block_by_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_speech_encoder(tmp_path / "tiny")
    paths = write(tmp_path / "audio")
    expected = list(speech_vectors(folder, paths))
    monkeypatch.setattr("mlt_ray.corpus.audio.BLOCK", 3)
    found = list(speech_vectors(folder, paths))
    assert len(found) == len(paths)
    np.testing.assert_array_equal(found, expected)
