"""Recordings become words: those that transformers gives for each, however long it is."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    AutoFeatureExtractor,
    AutoTokenizer,
    GenerationConfig,
    Wav2Vec2Config,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    WhisperForConditionalGeneration,
)

from mlt_ray.encoders.recognition import LONGEST_S, open_recogniser, parts
from mlt_ray.errors import UserError
from tests.encoders.noise import noise
from tests.tiny_encoder import change_config, write_encoder
from tests.tiny_speech_encoder import KERNELS, STRIDES, WIDTH, write_speech_encoder, write_whisper

LENGTHS = (16_001, 8_003, 24_007)


def write_recogniser(folder: Path) -> Path:
    """A Whisper of random weights, which speaks at most nine letters."""
    write_whisper(folder, seed=8)  # one that tells recordings apart
    special = ["<pad>", "<bos>", "<eos>"]
    pieces = [*special, *"ABCDEFGHIJKLMNOPQRSTUVWXĠ", "<|notimestamps|>"]
    ids = {piece: n for n, piece in enumerate(pieces)}
    (folder / "vocab.json").write_text(json.dumps(ids))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    names = dict(zip(("pad_token", "bos_token", "eos_token"), special, strict=True))
    values = {"tokenizer_class": "WhisperTokenizer", "unk_token": "<pad>", **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(values))
    GenerationConfig(
        decoder_start_token_id=1, bos_token_id=1, eos_token_id=2, pad_token_id=0, max_length=20
    ).save_pretrained(folder)
    return folder


def write_ctc(folder: Path) -> Path:
    """A wav2vec 2.0 of random weights with a head for letters."""
    folder.mkdir(exist_ok=True)
    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefghij"]
    (folder / "vocab.json").write_text(json.dumps({c: n for n, c in enumerate(letters)}))
    Wav2Vec2CTCTokenizer(folder / "vocab.json").save_pretrained(folder)
    Wav2Vec2FeatureExtractor().save_pretrained(folder)
    config = Wav2Vec2Config(
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=17,
        conv_dim=(7,) * 3,
        conv_kernel=KERNELS,
        conv_stride=STRIDES,
        num_conv_pos_embeddings=11,
        num_conv_pos_embedding_groups=3,
        vocab_size=len(letters),
        initializer_range=0.5,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        Wav2Vec2ForCTC(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recogniser(tmp_path_factory.mktemp("recogniser") / "tiny")


def recordings() -> list[np.ndarray]:
    return [noise(length, seed=n) for n, length in enumerate(LENGTHS)]


@torch.no_grad()
def heard_by_whisper(folder: Path, samples: np.ndarray) -> str:
    """What transformers itself makes of one recording."""
    prepare = AutoFeatureExtractor.from_pretrained(folder)
    network = WhisperForConditionalGeneration.from_pretrained(folder).eval()
    inputs = prepare(samples, sampling_rate=16_000, return_tensors="pt").input_features
    [ids] = network.generate(inputs)
    text = AutoTokenizer.from_pretrained(folder).decode(ids, skip_special_tokens=True)
    return " ".join(text.split())


def test_each_recording_gets_the_words_that_transformers_gives_it(whisper: Path) -> None:
    found = list(open_recogniser(whisper).transcribe(recordings()))
    assert found == [heard_by_whisper(whisper, samples) for samples in recordings()]
    assert len(set(found)) > 1


@torch.no_grad()
def test_a_model_that_reads_letters_off_frames_transcribes_too(tmp_path: Path) -> None:
    folder = write_ctc(tmp_path / "letters")
    opened = open_recogniser(folder)
    network = Wav2Vec2ForCTC.from_pretrained(folder).eval()
    prepare, tokenizer = Wav2Vec2FeatureExtractor(), AutoTokenizer.from_pretrained(folder)
    expected = []
    for samples in recordings():
        inputs = prepare(samples, sampling_rate=16_000, return_tensors="pt").input_values
        expected.append(tokenizer.decode(network(inputs).logits[0].argmax(dim=1)))
    assert list(opened.transcribe(recordings())) == [" ".join(text.split()) for text in expected]
    assert opened.name == "letters"
    [nothing, little] = opened.transcribe([noise(0), noise(1)])
    assert nothing == ""
    assert isinstance(little, str)


def test_a_long_recording_is_cut_where_it_is_quiet_and_heard_whole(whisper: Path) -> None:
    samples = noise(45 * 16_000, seed=1)
    samples[24 * 16_000 : 25 * 16_000] = 0
    first, second = parts(samples)
    np.testing.assert_array_equal(np.concatenate([first, second]), samples)
    assert 24 * 16_000 <= len(first) <= 25 * 16_000
    expected = f"{heard_by_whisper(whisper, first)} {heard_by_whisper(whisper, second)}"
    assert list(open_recogniser(whisper).transcribe([samples])) == [expected]


def test_no_part_is_longer_than_what_is_heard_at_once() -> None:
    samples = noise(400 * 16_000, seed=1)
    found = parts(samples)
    assert max(map(len, found)) <= LONGEST_S * 16_000
    assert sum(map(len, found)) == len(samples)
    assert parts(samples[:17])[0].shape == (17,)
    assert parts(samples[:0]) == []


def test_transcribing_prints_nothing(whisper: Path, capfd: pytest.CaptureFixture[str]) -> None:
    list(open_recogniser(whisper).transcribe(recordings()[:1]))
    assert capfd.readouterr() == ("", "")


def copy(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to)
    return to


def test_what_does_not_transcribe_is_refused_in_one_line(whisper: Path, tmp_path: Path) -> None:
    no_tokenizer, damaged = copy(whisper, tmp_path / "mute"), copy(whisper, tmp_path / "damaged")
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        (no_tokenizer / name).unlink()
    (damaged / "model.safetensors").write_bytes(b"no weights")
    headless = write_speech_encoder(tmp_path / "headless")
    change_config(headless, architectures=["Wav2Vec2ForCTC"])
    for name in ("vocab.json", "tokenizer_config.json"):
        shutil.copy(write_ctc(tmp_path / "letters") / name, headless / name)
    (tmp_path / "empty").mkdir()
    for folder, got in (
        (no_tokenizer, "a folder without tokenizer.json or vocab.json"),
        (damaged, "SafetensorError"),
        (headless, "a wav2vec2 without weights such as lm_head"),
        (write_encoder(tmp_path / "text"), "a bert"),
        (tmp_path / "empty", "a folder without config.json"),
    ):
        with pytest.raises(UserError) as error:
            open_recogniser(folder)
        line = str(error.value)
        assert line.startswith(f"{folder}: expected a model that transcribes speech, got {got}")
        assert line.endswith("such as openai/whisper-base")
        assert "\n" not in line


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: no such folder; name a folder"):
        open_recogniser(tmp_path / "nowhere")
