"""From Python: files, bytes and samples, with their texts; and the program of docs/predict.md."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

import mlt_ray
from mlt_ray.errors import UserError
from mlt_ray.inference.load import load
from mlt_ray.inference.prediction import Prediction
from mlt_ray.inference.predictor import Predictor
from mlt_ray.inference.windows import Windowing
from tests.docs.pages import DOCS, blocks
from tests.trained_store import trained_store


@pytest.fixture
def predictor() -> Predictor:
    store, _ = trained_store()
    return load("study/multilevel", store)


def noise(seconds: float) -> np.ndarray:
    rng = np.random.default_rng(3)
    return (0.1 * rng.normal(size=int(16_000 * seconds))).astype(np.float32)


def one(found: Prediction | list[Prediction]) -> Prediction:
    assert isinstance(found, Prediction)
    return found


def test_a_path_bytes_and_samples_of_one_recording_are_predicted_alike(
    predictor: Predictor, tmp_path: Path
) -> None:
    samples, path = noise(0.7), tmp_path / "a.wav"
    soundfile.write(path, samples, 16_000, subtype="FLOAT")
    found = [
        one(predictor.predict(given, "so gloomy"))
        for given in (path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes()), samples)
    ]
    for other in found[1:]:
        assert other.probabilities == found[0].probabilities
        assert other.label == found[0].label
    assert sum(found[0].probabilities.values()) == pytest.approx(1)
    assert found[0].audio == str(path)
    assert found[0].text_source == "given"
    shares = predictor.probabilities([_Heard(samples, "so gloomy")]).mean(axis=0)[0]
    assert list(found[0].probabilities.values()) == pytest.approx(shares.tolist(), abs=1e-7)


class _Heard:
    id, speaker, duration_s, alignment = "x", "", 0.7, None

    def __init__(self, audio: np.ndarray, text: str) -> None:
        self.audio, self.text = audio, text


def test_several_recordings_have_a_text_each(predictor: Predictor) -> None:
    recordings, texts = [noise(0.5), noise(0.9)], ["a joyful day", ""]
    found = predictor.predict(recordings, texts)
    assert isinstance(found, list)
    assert [p.text for p in found] == texts
    alone = [one(predictor.predict(r, t)) for r, t in zip(recordings, texts, strict=True)]
    for p, q in zip(found, alone, strict=True):
        assert list(p.probabilities.values()) == pytest.approx(
            list(q.probabilities.values()), abs=1e-5
        )
    assert predictor.predict([], []) == []
    with pytest.raises(UserError, match="text: expected one of each of 2 recordings"):
        predictor.predict(recordings, "so")
    with pytest.raises(UserError, match="text, speaker: expected one, of one recording"):
        predictor.predict(recordings[0], texts)


def test_a_model_that_reads_text_asks_for_one(predictor: Predictor) -> None:
    with pytest.raises(UserError, match="study/multilevel reads text, and none is given"):
        predictor.predict(noise(0.5))
    store, _ = trained_store()
    deaf = load("study/audio only", store)
    assert one(deaf.predict(noise(0.5))).text_source == "none"


def test_a_long_recording_is_the_mean_over_its_windows(predictor: Predictor) -> None:
    store, _ = trained_store()
    deaf = load("study/audio only", store)
    samples = noise(4)
    found = one(deaf.predict(samples, windowing=Windowing(window_s=2, hop_s=2, longest_s=2)))
    assert [(w.start_s, w.end_s) for w in found.windows] == [(0, 2), (2, 4)]
    halves = [one(deaf.predict(part)) for part in (samples[:32_000], samples[32_000:])]
    for name, share in found.probabilities.items():
        mean = np.mean([half.probabilities[name] for half in halves])
        assert share == pytest.approx(mean, abs=1e-5)
    with pytest.raises(UserError, match="cut it into utterances, each with its text"):
        predictor.predict(noise(31), "one text of all")


@pytest.mark.parametrize(
    ("audio", "says"),
    [
        (
            np.arange(800, dtype=np.int16),
            r"expected samples within -1 and 1, got integers \(int",
        ),
        (np.full(800, np.nan, np.float32), "got samples that are not finite"),
        (np.zeros((800, 2), np.float32), "expected mono samples at 16000 Hz"),
        (torch.zeros(800), "expected a path, bytes of a file, or a NumPy array .* got Tensor"),
        (None, "expected a path, bytes of a file, or a NumPy array .* got NoneType"),
        (b"no sound", "expected audio"),
    ],
)
def test_what_is_no_recording_is_told(predictor: Predictor, audio: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        predictor.predict(audio, "so")


def test_a_device_that_is_not_there_is_told() -> None:
    store, _ = trained_store()
    for name in ("cuda:7", "gpu"):
        with pytest.raises(UserError, match=f"device: expected one of this machine, got {name}"):
            load("study/multilevel", store, device=name)


def test_features_of_other_versions_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    store, _ = trained_store()
    model = load("study/multilevel", store).model
    assert model.notes == ()
    features = replace(model.spec.features, libraries="numpy 0.1, inflect 0.2")
    [note] = replace(model, spec=replace(model.spec, features=features)).notes
    assert f"numpy {np.__version__} (trained with 0.1)" in note


def test_probabilities_that_are_not_finite_are_no_answer(predictor: Predictor) -> None:
    assert predictor.ensemble is not None
    predictor.ensemble.members[1].deviation.zero_()
    with pytest.raises(UserError, match="expected probabilities, got some that are not finite"):
        predictor.predict(noise(0.5), "so")


def test_encoders_are_opened_once(monkeypatch: pytest.MonkeyPatch) -> None:
    store, corpus = trained_store()
    reading = load("study/late fusion", store)
    found = reading.probabilities(corpus.utterances[:2])

    def refuse(*_: object) -> None:
        raise AssertionError("it was opened before")

    monkeypatch.setattr("mlt_ray.encoders.text.load_model", refuse)
    monkeypatch.setattr("mlt_ray.encoders.text.load_tokenizer", refuse)
    np.testing.assert_array_equal(reading.probabilities(corpus.utterances[:2]), found)
    with pytest.raises(AssertionError, match="it was opened before"):
        load("study/late fusion", store).probabilities(corpus.utterances[:2])


def test_the_program_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """That of docs/predict.md, with a store and recordings of the test."""
    store, _ = trained_store()
    for name in ("clip.wav", "other.wav"):
        soundfile.write(tmp_path / name, noise(0.6), 16_000)
    monkeypatch.chdir(tmp_path)
    [block] = [block for block in blocks(DOCS / "predict.md") if block.language == "python"]
    program = block.text.replace("demo/highway network", "study/multilevel")
    program = program.replace('store="demo"', f"store={str(store.root)!r}")
    assert program.count("study/multilevel") == 1
    assert str(store.root) in program
    exec(compile(program, "docs/predict.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[0].split()[0] in ("angry", "happy", "neutral", "sad")
    assert "'audio': 'other.wav'" in lines[2]
    assert "load" in mlt_ray.__all__
