"""An utterance without one of its parts: the recording up to a time, without a span, or a word."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from mlt_ray.corpus.audio import SAMPLE_RATE_HZ, Samples
from mlt_ray.corpus.words import tokenize

SPAN_S: Final = 0.5
"""Length of a span."""

MOST_SPANS: Final = 40
"""Spans of a recording, at most: in a longer one, spans are several times `SPAN_S` long."""


@dataclass(frozen=True, kw_only=True)
class Altered:
    """An utterance with other samples or another text.

    `duration_s` and `alignment` stay those of the whole: so the words keep their times.
    """

    id: str
    audio: Samples
    text: str
    speaker: str
    duration_s: float
    alignment: Path | None


def span_edges(duration_s: float) -> np.ndarray:
    """(S + 1,) seconds at which the spans of a recording begin and end.

    A rest of less than half a span belongs to the last one.
    """
    length = SPAN_S * max(1, np.ceil(duration_s / (SPAN_S * MOST_SPANS)))
    num_spans = max(1, int(duration_s / length + 0.5))
    return np.append(length * np.arange(num_spans), duration_s)


def up_to(samples: Samples, time_s: float) -> Samples:
    """The samples before a time."""
    return samples[: round(time_s * SAMPLE_RATE_HZ)]


def silenced(samples: Samples, start_s: float, stop_s: float) -> Samples:
    """The samples with zeros in a span."""
    found = samples.copy()
    found[round(start_s * SAMPLE_RATE_HZ) : round(stop_s * SAMPLE_RATE_HZ)] = 0
    return found


def without_each(text: str, language: str) -> list[str]:
    """The text without its first token, without its second, and so on.

    Each has the text's other tokens (`mlt_ray.corpus.words.tokenize`), in the text's own spelling
    where the token can be cut out, else as tokens with spaces between.
    """
    tokens = tokenize(text, language)
    places = _places(text.lower(), tokens)
    found = []
    for n in range(len(tokens)):
        rest = (*tokens[:n], *tokens[n + 1 :])
        start, stop = places[n] if len(places) == len(tokens) else (0, 0)
        cut = f"{text[:start]} {text[stop:]}"
        spelt = " ".join(cut.split())
        found.append(spelt if rest and tokenize(spelt, language) == rest else " ".join(rest))
    return found


def _places(text: str, tokens: Sequence[str]) -> list[tuple[int, int]]:
    """Where each token stands in a text, as far as they stand there one after another."""
    places: list[tuple[int, int]] = []
    end = 0
    for token in tokens:
        start = text.find(token, end)
        if start < 0:
            break
        end = start + len(token)
        places.append((start, end))
    return places
