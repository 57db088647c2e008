"""The page of an explanation: what it says, what it leaves out, and that it asks nobody."""

import base64
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mlt_ray.inference.explanation.values import Explanation
from mlt_ray.reports.explanation import render as rendering
from mlt_ray.reports.explanation.figures import DESK, MOST_COLUMNS, MOST_PHONEMES, timeline
from mlt_ray.reports.explanation.render import render, sound, word_rows, write_explanation
from tests.reports.explanation.made_up import SPOKEN, WORDS, explanation
from tests.reports.reading import check_it_asks_nobody, read, words

MOST_BYTES = 1_500_000


@pytest.fixture(scope="module")
def page() -> str:
    return render(explanation())


def bare() -> Explanation:
    """An explanation that lacks all that one can lack."""
    return replace(
        explanation(),
        text="",
        text_source="none",
        words=(),
        phonemes=(),
        attention=None,
        over_time=None,
        changes=None,
        spans=None,
        nearest=None,
        absent={
            "attention": "No frames.",
            "over_time": "No time.",
            "spans": "No spans.",
            "words": "No words.",
            "nearest": "No neighbours.",
        },
    )


def test_the_page_asks_nobody_for_anything(page: str) -> None:
    check_it_asks_nobody(page)
    assert len(page.encode()) < MOST_BYTES


def test_names_and_texts_are_no_markup(page: str) -> None:
    for markup in ("<b>clip", "<left>", "<row>", "u<1>"):
        assert markup not in page
    said = words(page)
    assert "<b>clip</b>.wav" in said
    assert SPOKEN in said
    assert "made/up & <row>" in said


def test_the_page_is_the_same_each_time(page: str) -> None:
    assert render(explanation()) == page


def test_the_answer_comes_first_with_its_probability(page: str) -> None:
    found = explanation()
    share = f"{100 * found.mean.max():.1f}"
    assert f"made/up & <row> says {found.label} with {share} %, in the mean of 3 runs." in words(
        page
    )


def test_attention_and_change_of_a_word_stand_side_by_side() -> None:
    found = explanation()
    assert found.attention is not None
    assert found.changes is not None
    for n, row in enumerate(word_rows(found)):
        assert row["word"] == WORDS[n]
        attention, change = row["cells"]
        assert float(attention) == pytest.approx(
            100 * found.attention.weights[:, n].mean(), abs=0.05
        )
        mean, deviation = change.replace("−", "-").split(" ± ")
        assert float(mean) == pytest.approx(100 * found.changes[:, n].mean(), abs=0.05)
        assert float(deviation) == pytest.approx(100 * found.changes[:, n].std(), abs=0.05)


def test_attention_is_said_not_to_be_importance(page: str) -> None:
    assert "Attention is not importance" in words(page)
    assert "the network has no attention over phonemes" in words(page)


def test_who_transcribed_a_text_is_said() -> None:
    heard = replace(bare(), text="So?", text_source="asr: whisper-tiny")
    assert "Text: as whisper-tiny has transcribed it." in words(render(heard))


def test_what_is_absent_is_said_with_its_reason() -> None:
    said = words(render(bare()))
    for reason in ("No frames.", "No time.", "No spans.", "No words.", "No neighbours."):
        assert reason in said
    assert "No text was given." in said
    assert "adds up to 100 %" not in said


def test_a_single_run_has_no_deviation() -> None:
    found = explanation()
    assert found.changes is not None
    alone = replace(found, probabilities=found.probabilities[:1], changes=found.changes[:1])
    assert all("±" not in cell for row in word_rows(alone) for cell in row["cells"])
    alone = replace(bare(), probabilities=found.probabilities[:1])
    assert "in the mean of" not in words(render(alone))


def test_the_recording_can_be_heard(page: str) -> None:
    [address] = [a for a in read(page).addresses if a.startswith("data:audio/flac")]
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(address.partition(",")[2])))
    assert rate == 16_000
    np.testing.assert_allclose(samples, explanation().samples, atol=2**-15)


def test_a_recording_that_is_too_large_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "MOST_SOUND_BYTES", 1000)
    assert sound(explanation().samples) == ""
    assert "too long to be heard on this page" in words(render(bare()))


def test_very_many_phonemes_are_left_out_and_said_so() -> None:
    found = explanation()
    assert found.attention is not None
    many = ("AH0",) * MOST_PHONEMES
    attention = replace(
        found.attention,
        phoneme_shares=(np.full(len(many), 1 / len(many)), *found.attention.phoneme_shares[1:]),
    )
    crowded = replace(found, phonemes=(many, *found.phonemes[1:]), attention=attention)
    assert "too many to be shown" in words(render(crowded))
    assert len(timeline(crowded, DESK).axes) == len(timeline(found, DESK).axes) - 1


def test_a_long_recording_makes_no_larger_pictures() -> None:
    found = explanation()
    long = replace(found, samples=np.tile(found.samples, 30))
    figure = timeline(long, DESK)
    pictures = [image.get_array() for axes in figure.axes for image in axes.images]
    assert max(picture.shape[1] for picture in pictures) == MOST_COLUMNS


def test_the_page_is_written_where_asked(tmp_path: Path) -> None:
    write_explanation(bare(), tmp_path / "new" / "page.html")
    assert (tmp_path / "new" / "page.html").read_text("utf-8").startswith("<!doctype html>")
