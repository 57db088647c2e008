"""eGeMAPS vectors are openSMILE's own values, for recordings of any length, in their order."""

import warnings
from pathlib import Path

import numpy as np
import opensmile
import pytest
import soundfile as sf

from mlt_ray.corpus.utterance import Corpus, Utterance
from mlt_ray.errors import UserError
from mlt_ray.features.egemaps import NUM_VALUES, egemaps, egemaps_vectors
from mlt_ray.features.extras import extract_extra, open_cache
from mlt_ray.features.prosody import prosody
from mlt_ray.labels import FOUR
from mlt_ray.spec import ExtraInput, FeatureSpec
from mlt_ray.storage.store import Store
from tests.features.voices import RATE_HZ, voice


@pytest.fixture(scope="module")
def smile() -> opensmile.Smile:
    """openSMILE's own extractor."""
    return opensmile.Smile(
        feature_set=opensmile.FeatureSet.eGeMAPSv02,
        feature_level=opensmile.FeatureLevel.Functionals,
    )


def test_values_are_those_of_the_recording(smile: opensmile.Smile) -> None:
    names = smile.feature_names
    low, high = (
        dict(zip(names, egemaps(voice(pitch)).tolist(), strict=True)) for pitch in (131, 262)
    )
    assert len(names) == NUM_VALUES == 88
    pitch = "F0semitoneFrom27.5Hz_sma3nz_amean"
    assert low[pitch] == pytest.approx(12 * np.log2(131 / 27.5), abs=0.5)
    assert high[pitch] - low[pitch] == pytest.approx(12, abs=0.5)
    loud = dict(zip(names, egemaps(voice(131, gain=0.3)).tolist(), strict=True))
    assert loud["loudness_sma3_amean"] > 1.3 * low["loudness_sma3_amean"]
    assert loud[pitch] == pytest.approx(low[pitch], rel=0.01)


def test_a_file_gives_what_opensmile_gives_it(smile: opensmile.Smile, tmp_path: Path) -> None:
    path = tmp_path / "one.wav"
    sf.write(path, voice(131), RATE_HZ, subtype="FLOAT")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = smile.process_file(path).to_numpy()
    (found,) = egemaps_vectors([path])
    assert found.shape == (1, NUM_VALUES)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("num_samples", [0, 1, 400, 959, 960, 1599, 1600])
def test_the_shortest_recording_has_finite_values(num_samples: int) -> None:
    for waveform in (voice(131)[:num_samples], np.zeros(num_samples, np.float32)):
        found = egemaps(waveform)
        assert found.shape == (NUM_VALUES,)
        assert np.isfinite(found).all()


def test_values_do_not_depend_on_what_was_computed_before() -> None:
    first = egemaps(voice(131))
    egemaps(voice(301))
    prosody(voice(211))
    np.testing.assert_array_equal(egemaps(voice(131)), first)


def test_recordings_come_in_their_order_and_are_cached_by_content(
    store: Store, tmp_path: Path
) -> None:
    pitches = (131, 211, 131)
    utterances = []
    for number, pitch in enumerate(pitches):
        path = tmp_path / f"{number}.wav"
        sf.write(path, voice(pitch, 0.3), RATE_HZ, subtype="FLOAT")
        utterances.append(
            Utterance(
                id=path.stem,
                audio=path,
                text="so",
                emotion="sad",
                speaker="one",
                session="one",
                duration_s=0.3,
                audio_sha256=str(pitch),
            )
        )
    extra = ExtraInput("egemaps")
    corpus = Corpus(name="three", classes=FOUR, utterances=tuple(utterances))
    assert extract_extra(corpus, extra, store, FeatureSpec(), lambda *args: None) == 2
    assert extract_extra(corpus, extra, store, FeatureSpec(), lambda *args: None) == 0
    cache = open_cache(extra, store, FeatureSpec())
    alone = list(egemaps_vectors([u.audio for u in utterances]))
    for utterance, expected in zip(utterances, alone, strict=True):
        np.testing.assert_array_equal(cache[utterance.audio_sha256], expected)
    assert not np.array_equal(alone[0], alone[1])


def test_a_recording_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.wav: expected audio"):
        list(egemaps_vectors([tmp_path / "gone.wav"]))
