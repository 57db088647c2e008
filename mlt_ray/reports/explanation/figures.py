"""The figures of an explanation: an utterance over time, its words, and its probabilities.

Each is drawn in the style of a report's figures. The timeline is drawn for a desk and, narrower,
for a phone. Shares and changes are drawn in percent and in percentage points.

Shapes: T columns over time, F values a frame, W words, M runs, K classes.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mlt_ray.corpus.audio import SAMPLE_RATE_HZ, Samples
from mlt_ray.features.frames import compute_frames
from mlt_ray.inference.explanation.values import (
    Explanation,
    OverTime,
    SpanChanges,
    WordAttention,
)
from mlt_ray.reports.page.figures import (
    COLOURS,
    FAINT,
    INK,
    MAIN,
    SECOND,
    WIDE,
    drawing,
    panels,
)
from mlt_ray.spec import FramesSpec

DESK, PHONE = 12.5, WIDE
"""Widths of a timeline in inches."""

SHOWN: Final = FramesSpec(num_bins=64, hop_ms=10.0)
"""The log-mel frames that are drawn, whatever the network reads."""

QUIETEST: Final = 13.0
"""What is quieter than the loudest by more, in natural logarithms of power, has no colour."""

PALEST: Final = 0.08
"""Opacity of the least attention that a picture shows."""

MOST_COLUMNS: Final = 800
"""Columns of a picture over time, at most; neighbours are averaged."""

MOST_PHONEMES: Final = 90
"""Phonemes of an utterance that has a row for each, at most."""

MOST_WORDS: Final = 120
"""Words of an utterance that has a row for each, at most."""

FACED_S: Final = 20.0
"""Recordings up to so many seconds have a mark at each point over time."""


class Panel(NamedTuple):
    """A part of the timeline: its height in inches, and what draws it."""

    height: float
    draw: Callable[[Axes], None]


def timeline(found: Explanation, width: float) -> Figure:
    """The utterance over time: samples, log-mel, attention, probabilities, and what spans do."""
    shown = [
        Panel(0.7, lambda axes: _waveform(axes, found.samples)),
        Panel(1.0, lambda axes: _log_mel(axes, found.samples)),
    ]
    attention, over_time, spans = found.attention, found.over_time, found.spans
    if attention is not None and len(found.words) <= MOST_WORDS:
        height = 0.15 + 0.15 * len(found.words)
        shown.append(Panel(height, lambda axes: _words(axes, found.words, attention)))
        num_phonemes = sum(map(len, found.phonemes))
        if attention.phoneme_shares is not None and num_phonemes <= MOST_PHONEMES:
            height = 0.15 + 0.115 * num_phonemes
            shown.append(Panel(height, lambda axes: _phonemes(axes, found.phonemes, attention)))
    if over_time is not None:
        shown.append(Panel(1.3, lambda axes: _probabilities(axes, found, over_time)))
    if spans is not None:
        shown.append(Panel(1.1, lambda axes: _spans(axes, found.label, spans)))
    with panels(width, [0.25 + panel.height for panel in shown]) as (figure, all_axes):
        for axes, panel in zip(all_axes, shown, strict=True):
            panel.draw(axes)
        all_axes[-1].set_xlabel("seconds")
        all_axes[-1].set_xlim(0, found.duration_s)
        figure.align_ylabels(list(all_axes))
    return figure


def word_bars(found: Explanation) -> Figure:
    """The mean attention of each word, and beside it the change without the word."""
    attention = found.attention
    sides = (attention is not None) + (found.changes is not None)
    places = range(len(found.words))
    with panels(WIDE, [0.7 + 0.2 * len(found.words)], sides) as (figure, all_axes):
        left = iter(all_axes)
        if attention is not None:
            axes = next(left)
            axes.barh(places, 100 * attention.of_words, color=SECOND, height=0.6)
            axes.set_xlabel("mean attention, %")
        if found.changes is not None:
            axes = next(left)
            _changes(axes.barh, places, found.changes, height=0.6)
            axes.axvline(0, color=FAINT, lw=0.6)
            axes.set_xlabel(f"change of {found.label}\nwithout the word, points")
        all_axes[0].set_yticks(places, found.words)
        all_axes[0].set_ylim(len(found.words) - 0.5, -0.5)
        for axes in all_axes:
            axes.tick_params(axis="y", length=0)
            axes.grid(axis="x", color=FAINT, lw=0.3)
    return figure


def class_bars(found: Explanation) -> Figure:
    """The probability of each class, the most probable first, with its deviation over runs."""
    order = np.argsort(-found.mean)
    with drawing(WIDE, 0.6 + 0.24 * len(order)) as (figure, axes):
        names = [found.classes[n] for n in order]
        deviation = 100 * found.probabilities.std(axis=0)[order]
        axes.barh(
            names,
            100 * found.mean[order],
            xerr=deviation if len(found.probabilities) > 1 else None,
            color=MAIN,
            ecolor=INK,
            error_kw={"lw": 0.8},
            height=0.6,
        )
        axes.invert_yaxis()
        axes.set_xlim(0, 100)
        axes.set_xlabel("probability, %")
        axes.tick_params(axis="y", length=0)
    return figure


def _waveform(axes: Axes, samples: Samples) -> None:
    """The highest and lowest sample of each of `MOST_COLUMNS` parts of the recording."""
    parts = np.array_split(samples, min(MOST_COLUMNS, len(samples)))
    edges = np.cumsum([0, *map(len, parts)]) / SAMPLE_RATE_HZ
    middles = (edges[1:] + edges[:-1]) / 2
    low, high = [p.min() for p in parts], [p.max() for p in parts]
    axes.fill_between(middles, low, high, color=MAIN, lw=0.3)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_ylabel("samples", rotation=0, ha="right", va="center")


def _log_mel(axes: Axes, samples: Samples) -> None:
    frames = compute_frames(samples, SAMPLE_RATE_HZ, SHOWN)
    low, high = np.percentile(frames, [5, 99.5])
    low = max(low, high - QUIETEST)
    shares = np.clip((frames - low) / max(high - low, 1e-9), 0, 1).T[::-1]
    first = (SHOWN.window_ms - SHOWN.hop_ms) / 2000
    _picture(axes, shares, first, first + frames.shape[0] * SHOWN.hop_ms / 1000, INK)
    axes.set_yticks([])
    axes.set_ylabel("log-mel,\nlow to high", rotation=0, ha="right", va="center")


def _words(axes: Axes, words: Sequence[str], attention: WordAttention) -> None:
    _rows(axes, words, attention.weights.T, attention)
    axes.set_title("attention of the frames over the words", loc="left", pad=2)


def _phonemes(axes: Axes, phonemes: Sequence[Sequence[str]], attention: WordAttention) -> None:
    assert attention.phoneme_shares is not None
    pairs = zip(attention.weights.T, attention.phoneme_shares, strict=True)
    rows = np.concatenate([share[:, None] * of_word for of_word, share in pairs])
    _rows(axes, [symbol for word in phonemes for symbol in word], rows, attention)
    axes.tick_params(axis="y", labelsize=6)
    for edge in np.cumsum([len(word) for word in phonemes])[:-1]:
        axes.axhline(edge - 0.5, color=FAINT, lw=0.4)
    axes.set_title("the same, shared out among each word's phonemes", loc="left", pad=2)


def _rows(axes: Axes, names: Sequence[str], shares: np.ndarray, attention: WordAttention) -> None:
    """A row of the picture for each name: the least of its (rows, T) shares is palest."""
    start = attention.first_s - attention.step_s / 2
    stop = start + shares.shape[1] * attention.step_s
    least, most = shares.min(), shares.max()
    strength = PALEST + (1 - PALEST) * (shares - least) / max(most - least, 1e-9)
    _picture(axes, strength, start, stop, MAIN)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)


def _picture(axes: Axes, shares: np.ndarray, start_s: float, stop_s: float, colour: str) -> None:
    """(rows, T) shares in 0–1 as the opacity of a colour, row by row from the top."""
    groups = np.array_split(shares, min(MOST_COLUMNS, shares.shape[1]), axis=1)
    fewer = np.stack([group.mean(axis=1) for group in groups], axis=1)
    pixels = np.empty((*fewer.shape, 4), np.uint8)
    pixels[..., :3] = np.round(255 * np.asarray(mpl.colors.to_rgb(colour)))
    pixels[..., 3] = np.round(255 * fewer)
    axes.imshow(
        pixels,
        extent=(start_s, stop_s, len(shares) - 0.5, -0.5),
        aspect="auto",
        interpolation="none",
    )


def _probabilities(axes: Axes, found: Explanation, over_time: OverTime) -> None:
    """A line for each class: colours and marks for the most probable at the end, others faint."""
    means = 100 * over_time.probabilities.mean(axis=0)
    order = list(np.argsort(-found.mean))
    for n in order[len(COLOURS) :]:
        name = "others" if n == order[-1] else None
        axes.plot(over_time.times_s, means[:, n], color=FAINT, lw=0.7, label=name)
    for colour, mark, n in zip(COLOURS, "osD", order, strict=False):
        axes.plot(
            over_time.times_s,
            means[:, n],
            color=colour,
            marker=mark if found.duration_s <= FACED_S else "",
            ms=3,
            lw=1.2,
            label=found.classes[n],
            clip_on=False,
        )
    axes.set_ylim(0, 100)
    axes.set_ylabel("up to here, %")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, borderpad=0, handlelength=1.6)


def _spans(axes: Axes, label: str, spans: SpanChanges) -> None:
    middles, widths = spans.spans_s.mean(axis=1), np.diff(spans.spans_s, axis=1)[:, 0]
    _changes(axes.bar, middles, spans.changes, width=0.9 * widths)
    axes.axhline(0, color=FAINT, lw=0.6)
    axes.set_ylabel("change, points")
    axes.set_title(f"change of {label} without the span", loc="left", pad=2)


def _changes(
    bars: Callable[..., object],
    places: Sequence[float] | np.ndarray,
    changes: np.ndarray,
    **size: object,
) -> None:
    """Bars of the mean of (M, N) changes over runs, and their deviation."""
    deviation = 100 * changes.std(axis=0) if len(changes) > 1 else None
    kind = "xerr" if "height" in size else "yerr"
    error = {kind: deviation, "ecolor": INK, "error_kw": {"lw": 0.8}}
    bars(places, 100 * changes.mean(axis=0), color=MAIN, **error, **size)
