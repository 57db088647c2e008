"""Utterances without one of their parts."""

import numpy as np
import pytest

from mlt_ray.corpus.words import tokenize
from mlt_ray.inference.explanation.parts import (
    MOST_SPANS,
    silenced,
    span_edges,
    up_to,
    without_each,
)


@pytest.mark.parametrize(
    ("duration_s", "edges"),
    [
        (0.1, [0, 0.1]),
        (0.7, [0, 0.7]),
        (0.8, [0, 0.5, 0.8]),
        (2.0, [0, 0.5, 1.0, 1.5, 2.0]),
        (2.2, [0, 0.5, 1.0, 1.5, 2.2]),
    ],
)
def test_spans_last_half_a_second_and_a_short_rest_belongs_to_the_last(
    duration_s: float, edges: list[float]
) -> None:
    np.testing.assert_allclose(span_edges(duration_s), edges)


@pytest.mark.parametrize("duration_s", [19.9, 20.0, 20.3, 61.7, 600.0])
def test_a_long_recording_has_longer_spans(duration_s: float) -> None:
    edges = span_edges(duration_s)
    assert len(edges) - 1 <= MOST_SPANS + 1
    assert (np.diff(edges) > 0).all()
    assert edges[-1] == duration_s


def test_samples_are_cut_and_silenced_at_their_times() -> None:
    samples = np.arange(1, 16_001, dtype=np.float32)
    np.testing.assert_array_equal(up_to(samples, 0.25), samples[:4000])
    quiet = silenced(samples, 0.25, 0.5)
    assert not quiet[4000:8000].any()
    np.testing.assert_array_equal(quiet[:4000], samples[:4000])
    np.testing.assert_array_equal(quiet[8000:], samples[8000:])
    assert samples.all()


def test_a_word_is_cut_out_of_the_text_as_it_is_spelt() -> None:
    assert without_each("Kids are TALKING, by the Door.", "en") == [
        "are TALKING, by the Door.",
        "Kids TALKING, by the Door.",
        "Kids are , by the Door.",
        "Kids are TALKING by the Door.",
        "Kids are TALKING, the Door.",
        "Kids are TALKING, by Door.",
        "Kids are TALKING, by the .",
        "Kids are TALKING, by the Door",
    ]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("the the the cat", "en"),
        ("I--I owe you $5 and 3 cents [LAUGHTER] don’t I?", "en"),
        ("Wait... no!", "en"),
        ("Straße, schöne Straße", "de"),
        ("你好吗", "zh"),
        ("so", "en"),
    ],
)
def test_each_text_has_the_other_tokens(text: str, language: str) -> None:
    tokens = tokenize(text, language)
    for n, shorter in enumerate(without_each(text, language)):
        rest = tokens[:n] + tokens[n + 1 :]
        assert tokenize(shorter, language) == (rest or tokenize("", language))
