"""Start and end of each spoken word: from a Sphinx segmentation, or uniform without one."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from mlt_ray.corpus.texts import normalise_word, read_lines
from mlt_ray.corpus.utterance import Spoken

_FRAMES_PER_S: Final = 100
FRAME_S: Final = 1 / _FRAMES_PER_S
"""Duration of a Sphinx frame, and shortest span of a word."""

_OVERHANG_S: Final = 0.1  # the last frames of a segmentation may reach past the last sample
_VARIANT = re.compile(r"\(\d+\)$")
_FILLER = re.compile(r"<.*>|\+.*\+|\[.*\]")


@dataclass(frozen=True)
class WordTime:
    """A word and its span, in seconds from the start of the recording."""

    word: str
    start_s: float
    end_s: float


def word_times(utterance: Spoken, words: Sequence[str]) -> tuple[WordTime, ...]:
    """One span per given word, from the utterance's alignment, else uniform.

    The spans of spoken words follow each other inside the recording. Punctuation gets the span of
    the word before it (at the start: of the first word). So no span is empty, and a mean over its
    frames is always defined.
    """
    aligned = align(utterance, words)
    return uniform(words, utterance.duration_s) if aligned is None else aligned


def uniform(words: Sequence[str], duration_s: float) -> tuple[WordTime, ...]:
    """The recording in equal spans, one per spoken word; punctuation as in `word_times`."""
    spoken = [bool(normalise_word(word)) for word in words]
    if not any(spoken):
        spoken = [True] * len(words)
    spans = iter(_equal_spans(0.0, duration_s, sum(spoken)))
    return _fill(words, [next(spans) if s else None for s in spoken])


def align(utterance: Spoken, words: Sequence[str]) -> tuple[WordTime, ...] | None:
    """Spans as in `word_times`, but ``None`` without a usable alignment.

    An alignment is unusable if it is malformed, reaches past the recording's end, or holds fewer
    than half of the spoken words (it belongs to another sentence).
    """
    if utterance.alignment is None:
        return None
    try:
        aligned = read_wdseg(utterance.alignment)
    except (OSError, ValueError):
        return None
    if not aligned or aligned[-1].end_s > utterance.duration_s + _OVERHANG_S:
        return None
    keys = [normalise_word(word) for word in words]
    matched = _match([key for key in keys if key], aligned, utterance.duration_s)
    if matched is None:
        return None
    spans = iter(matched)
    times = _fill(words, [next(spans) if key else None for key in keys])
    return tuple(_inside(time, utterance.duration_s) for time in times)


def read_wdseg(path: Path) -> tuple[WordTime, ...]:
    """Words and times of a Sphinx segmentation, without pronunciation marks such as ``(2)``.

    Silences and fillers (``<sil>``, ``++NOISE++``, ``[SPEECH]``) are left out. Raises `ValueError`
    with the number of a line that is malformed or starts before the line above ends, and
    `OSError` for a file that cannot be read.
    """
    times, next_frame = [], 0
    for number, line in enumerate(read_lines(path), start=1):
        cells = line.split()
        if not cells or cells[0] == "SFrm" or line.strip().startswith("Total score"):
            continue
        try:
            first, last = int(cells[0]), int(cells[1])
            _score, word = cells[2:]
        except (ValueError, IndexError):
            reason = f"expected first frame, last frame, score and word, got {line.strip()!r}"
            raise ValueError(f"{path.name}, line {number}: {reason}") from None
        if not next_frame <= first <= last:
            reason = f"frames {first} to {last} after frame {next_frame - 1}"
            raise ValueError(f"{path.name}, line {number}: {reason}")
        next_frame = last + 1
        if not _FILLER.fullmatch(word):
            start_s, end_s = first / _FRAMES_PER_S, next_frame / _FRAMES_PER_S
            times.append(WordTime(_VARIANT.sub("", word), start_s, end_s))
    return tuple(times)


def _match(
    keys: list[str], aligned: Sequence[WordTime], duration_s: float
) -> list[tuple[float, float] | None] | None:
    """Span of each normalised word, ``None`` for a word without time.

    ``None`` instead of the list if fewer than half of the words match.
    """
    names = [normalise_word(time.word) for time in aligned]
    blocks = difflib.SequenceMatcher(None, keys, names, autojunk=False).get_opcodes()
    if 2 * sum(b - a for tag, a, b, _, _ in blocks if tag == "equal") < max(len(keys), 1):
        return None
    spans: list[tuple[float, float] | None] = []
    for tag, first, last, start, stop in blocks:
        if tag == "equal":
            spans += [(time.start_s, time.end_s) for time in aligned[start:stop]]
        elif tag == "replace":
            spans += _divide(aligned[start].start_s, aligned[stop - 1].end_s, last - first)
        elif tag == "delete":
            left = aligned[start - 1].end_s if start else 0.0
            right = aligned[start].start_s if start < len(aligned) else duration_s
            spans += _divide(left, right, last - first)
    return spans


def _divide(start_s: float, end_s: float, count: int) -> Sequence[tuple[float, float] | None]:
    """`count` equal spans, or as many ``None`` if they would be shorter than a frame."""
    if end_s - start_s < count * FRAME_S:
        return [None] * count
    return _equal_spans(start_s, end_s, count)


def _equal_spans(start_s: float, end_s: float, count: int) -> list[tuple[float, float]]:
    edges = [start_s + (end_s - start_s) * i / max(count, 1) for i in range(count + 1)]
    return list(pairwise(edges))


def _fill(
    words: Sequence[str], spans: Sequence[tuple[float, float] | None]
) -> tuple[WordTime, ...]:
    """Give each word without a span that of the word before, else of the first word with one."""
    current = next((span for span in spans if span is not None), (0.0, FRAME_S))
    times = []
    for word, span in zip(words, spans, strict=True):
        current = span or current
        times.append(WordTime(word, *current))
    return tuple(times)


def _inside(time: WordTime, duration_s: float) -> WordTime:
    """The span cut to the recording, at least a frame long."""
    end_s = min(time.end_s, duration_s)
    return WordTime(time.word, max(0.0, min(time.start_s, end_s - FRAME_S)), end_s)
