"""Long recordings are cut into windows, and every second of them counts the same."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from mlt_ray.errors import UserError
from mlt_ray.inference.clips import Clip
from mlt_ray.inference.prediction import GIVEN, NONE
from mlt_ray.inference.windows import Windowing, cut, weights

CLASSES = ("angry", "sad")


def noise(length: int) -> np.ndarray:
    return np.random.default_rng(2).uniform(-0.5, 0.5, length).astype(np.float32)


def clip(duration_s: float, **values: str) -> Clip:
    return Clip(id="a.wav", audio=noise(int(duration_s * 16_000)), **values)


def test_only_what_lasts_more_than_30_s_is_cut_unless_a_window_is_given() -> None:
    assert not Windowing().is_long(clip(30))
    assert Windowing().is_long(clip(30.1))
    assert Windowing.of(None, None) == Windowing()
    given = Windowing.of(4, None)
    assert (given.window_s, given.hop_s) == (4, 2)
    assert given.is_long(clip(4.1))
    assert not given.is_long(clip(4))
    assert Windowing.of(None, 2.5) == Windowing(hop_s=2.5)


def test_the_length_of_a_file_is_that_of_its_header(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(31 * 8_000), 8_000)
    assert Windowing().is_long(Clip(id="a", audio=tmp_path / "a.wav"))


def test_windows_follow_each_other_and_the_last_ends_with_the_recording() -> None:
    assert Windowing().spans(31) == [(0, 10), (5, 15), (10, 20), (15, 25), (20, 30), (21, 31)]
    assert Windowing().spans(35) == [(0, 10), (5, 15), (10, 20), (15, 25), (20, 30), (25, 35)]
    assert Windowing(hop_s=10).spans(30.0625) == [(0, 10), (10, 20), (20, 30), (20.062, 30.062)]
    assert Windowing().spans(7) == [(0, 7)]


@pytest.mark.parametrize("hop_s", [0.0, -1.0, 10.5])
def test_a_hop_that_leaves_gaps_is_refused(hop_s: float) -> None:
    with pytest.raises(UserError, match="--hop: expected at most the window of 10 s"):
        Windowing(hop_s=hop_s)


@pytest.mark.parametrize("duration_s", [31.0, 35.0, 36.7, 90.1])
@pytest.mark.parametrize("hop_s", [1.7, 5.0, 10.0])
def test_every_second_counts_the_same(duration_s: float, hop_s: float) -> None:
    spans = Windowing(hop_s=hop_s).spans(duration_s)
    # Worked out on a fine grid: each point of time gives its share to the windows that hear it.
    times = (np.arange(round(duration_s * 1000)) + 0.5) / 1000
    hears = np.array([(times > start) & (times < end) for start, end in spans])
    expected = (hears / hears.sum(axis=0)).sum(axis=1) / len(times)
    np.testing.assert_allclose(weights(spans), expected, atol=1e-9)


def test_windows_that_do_not_overlap_weigh_by_their_length() -> None:
    np.testing.assert_allclose(weights([(0, 10), (10, 20), (25, 30)]), [0.4, 0.4, 0.2])


def test_each_window_is_a_clip_of_its_samples() -> None:
    whole = clip(31, speaker="ann")
    found = cut(whole, Windowing())
    assert found.spans == tuple(Windowing().spans(31))
    for (start, end), window in zip(found.spans, found.windows, strict=True):
        samples = whole.audio[int(start * 16_000) : int(end * 16_000)]
        np.testing.assert_array_equal(window.audio, samples)
        assert (window.speaker, window.duration_s) == ("ann", 10)
        assert window.id == f"a.wav, {start:g}–{end:g} s"


def test_a_text_is_not_that_of_every_window_unless_nothing_is_said() -> None:
    sources = {
        text_source: {w.text_source for w in cut(clip(31, **values), Windowing()).windows}
        for text_source, values in {
            "some": {"text": "so", "text_source": GIVEN},
            "empty": {"text_source": GIVEN},
            "unknown": {},
        }.items()
    }
    assert sources == {"some": {NONE}, "empty": {GIVEN}, "unknown": {NONE}}


def test_silent_windows_are_left_out() -> None:
    samples = noise(40 * 16_000)
    samples[9 * 16_000 : 26 * 16_000] = 0
    found = cut(Clip(id="a", audio=samples), Windowing())
    assert found.spans == ((0, 10), (5, 15), (20, 30), (25, 35), (30, 40))
    steps = np.repeat(np.float32([0.1, 0.2]), 20 * 16_000)
    with pytest.raises(UserError, match="a: expected speech, got windows silent"):
        cut(Clip(id="a", audio=steps), Windowing(hop_s=10))


def test_the_whole_is_the_mean_of_its_windows_over_time() -> None:
    found = cut(clip(31), Windowing())
    angry = np.array([0.9, 0.1, 0.2, 0.3, 0.4, 0.7])
    whole = found.prediction(np.stack([angry, 1 - angry], axis=1), CLASSES)
    # (0, 10) alone hears 5 s and half of the next 5; the last six windows share 20–31 as worked out
    # by hand: 20–21 by two, 21–25 by three, 25–30 by two, 30–31 by one.
    seconds = np.array([7.5, 5, 5, 2.5 + 0.5 + 4 / 3, 0.5 + 4 / 3 + 2.5, 4 / 3 + 2.5 + 1])
    assert seconds.sum() == pytest.approx(31)
    assert whole.probabilities["angry"] == pytest.approx(angry @ seconds / 31)
    assert sum(whole.probabilities.values()) == pytest.approx(1)
    assert [w.label for w in whole.windows] == ["angry", "sad", "sad", "sad", "sad", "angry"]
    assert [(w.start_s, w.end_s) for w in whole.windows] == list(found.spans)
    assert set(whole.as_dict()["windows"][0]) == {
        "start_s", "end_s", "text", "label", "probabilities",
    }  # fmt: skip
