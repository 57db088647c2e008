"""Speakers whose names differ in their writing alone are found, others are not."""

import pytest

from mlt_ray.corpus.speakers import alike_speakers, alike_text
from mlt_ray.corpus.utterance import Corpus


def spoken_by(in_memory, *speakers: str) -> Corpus:
    return in_memory((f"u{n}", "sad", name, "1", "", f"{n}") for n, name in enumerate(speakers))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", "01"),
        ("F1", "f1"),
        ("Ses01F", "Ses1f"),
        ("speaker 7", "Speaker  007"),
        ("Jos\u00e9", "Jose\u0301"),
        ("0", "00"),
    ],
)
def test_names_that_differ_in_writing_alone_are_alike(in_memory, one, other):
    [group] = alike_speakers(spoken_by(in_memory, one, "somebody", other, one))
    assert set(group) == {one, other}


@pytest.mark.parametrize(
    ("one", "other"), [("1", "10"), ("1", "100"), ("F1", "M1"), ("a01", "a10"), ("1-1", "11")]
)
def test_names_that_differ_in_more_are_not_alike(in_memory, one, other):
    corpus = spoken_by(in_memory, one, other)
    assert alike_speakers(corpus) == ()
    assert alike_text(corpus) == ""


def test_groups_are_in_natural_order_and_named_in_a_line(in_memory):
    corpus = spoken_by(in_memory, "10", "f2", "9", "09", "F2", "010", "F02", "009")
    assert alike_speakers(corpus) == (("009", "09", "9"), ("010", "10"), ("F02", "F2", "f2"))
    assert alike_text(corpus) == (
        "speakers whose names are alike count as different ones: "
        "009 and 09 and 9; 010 and 10; F02 and F2 and f2"
    )
