"""The figures of a report: each is a matplotlib figure, for the page as SVG and for papers as PDF.

They are narrow, so that a phone shows them at a legible size, and the page sets several side by
side. Shares are drawn as percentages.
"""

import html
import io
import re
import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from mlt_ray.reports.breakdown import Calibration, Part

INK, FAINT, MAIN, SECOND, THIRD = "#1b1b1f", "#8a8a94", "#2166ac", "#b2541b", "#3a7d44"
"""Colours of a figure on paper. On the page they follow its light or dark theme."""

COLOURS: Final = (MAIN, SECOND, THIRD)

ON_PAGE: Final[Mapping[str, str]] = {
    INK: "currentColor",
    FAINT: "var(--faint)",
    MAIN: "var(--main)",
    SECOND: "var(--second)",
    THIRD: "var(--third)",
}

WIDE = 5.4
"""Width in inches, of 72 pixels each on the page."""

MOST_PARTS = 40
"""Speakers, for instance, that a figure shows at most."""

ROOM = 0.1
"""Inches to the right of and above the axes of small figures."""

_STYLE: Final = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mlt_ray",
    "pdf.fonttype": 42,
    "font.family": "sans-serif",
    "font.size": 8,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 8,
    "xtick.color": INK,
    "ytick.color": INK,
    "savefig.transparent": True,
    "legend.frameon": False,
    "legend.fontsize": 7,
}


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """A row's pooled score with its interval, and the published mean; shares in 0–1."""

    name: str
    score: float | None
    low: float | None = None
    high: float | None = None
    published: float | None = None


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The dev scores of a run by epoch, from epoch 1 on, and the epoch that was chosen."""

    scores: Sequence[float]
    best_epoch: int


@contextmanager
def drawing(width: float, height: float) -> Iterator[tuple[Figure, Axes]]:
    """A figure of one set of axes, in our style while it is drawn."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.add_subplot()


@contextmanager
def panels(
    width: float, heights: Sequence[float], columns: int = 1
) -> Iterator[tuple[Figure, Sequence[Axes]]]:
    """A figure of axes one above another, of these heights in inches, with one horizontal axis.

    With several `columns`, a row of axes has the height, and one vertical axis.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, sum(heights)), layout="constrained")
        axes = figure.subplots(
            len(heights),
            columns,
            squeeze=False,
            sharex=columns == 1,
            sharey=columns > 1,
            height_ratios=heights,
        )
        yield figure, list(axes.flat)


@contextmanager
def small_drawing(
    width: float, height: float, left: float = 0.52, bottom: float = 0.44
) -> Iterator[tuple[Figure, Axes]]:
    """A figure whose axes have a size in inches, and room to the left and below for labels.

    A page may have a hundred of them: to measure their labels would take as long as to draw them.
    """
    with mpl.rc_context(_STYLE):
        whole = (left + width + ROOM, bottom + height + ROOM)
        figure = Figure(figsize=whole)
        box = (left / whole[0], bottom / whole[1], width / whole[0], height / whole[1])
        yield figure, figure.add_axes(box)


def forest(rows: Sequence[Pooled], score: str) -> Figure:
    """A line for each row: pooled score and interval; the published mean as a hollow diamond."""
    with drawing(WIDE, 0.6 + 0.26 * len(rows)) as (figure, axes):
        for place, row in enumerate(rows):
            if row.score is not None:
                if row.low is not None and row.high is not None:
                    axes.plot([100 * row.low, 100 * row.high], [place, place], color=MAIN, lw=1.4)
                axes.plot(100 * row.score, place, "o", color=MAIN, ms=4)
            if row.published is not None:
                axes.plot(100 * row.published, place, "D", mfc="none", mec=SECOND, ms=4)
        names = [textwrap.fill(row.name, 34) for row in rows]
        axes.set_yticks(range(len(rows)), names)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel(f"pooled {score}, %")
        axes.grid(axis="x", color=FAINT, lw=0.3)
        axes.tick_params(axis="y", length=0)
    return figure


def curves(runs: Sequence[Curve], score: str) -> Figure:
    """The dev score of every run of a row by epoch; a dot marks the epoch that was chosen."""
    with small_drawing(2.0, 1.3) as (figure, axes):
        for run in runs:
            epochs = range(1, len(run.scores) + 1)
            axes.plot(epochs, 100 * np.asarray(run.scores), color=FAINT, lw=0.6)
        for run in runs:
            chosen = 100 * run.scores[run.best_epoch - 1]
            axes.plot(run.best_epoch, chosen, "o", color=MAIN, ms=2.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
        axes.set_xlabel("epoch")
        axes.set_ylabel(f"dev {score}, %")
    return figure


def confusion(matrix: np.ndarray, classes: Sequence[str]) -> Figure:
    """A (K, K) confusion matrix, true by predicted class; shares of each true class in percent."""
    support = matrix.sum(axis=1, keepdims=True)
    shares = 100 * np.divide(matrix, support, out=np.zeros(matrix.shape), where=support > 0)
    size, longest = 0.36 * len(classes), max(map(len, classes))
    with small_drawing(size, size, 0.4 + 0.065 * longest, 0.35 + 0.05 * longest) as (figure, axes):
        for (true, predicted), share in np.ndenumerate(shares):
            box = (predicted - 0.5, true - 0.5)
            axes.add_patch(Rectangle(box, 1, 1, color=MAIN, alpha=share / 125, lw=0))
            axes.text(predicted, true, f"{share:.0f}", ha="center", va="center", fontsize=7)
        places = range(len(classes))
        axes.set_xticks(places, classes, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(places, classes)
        axes.set(xlim=(-0.5, len(classes) - 0.5), ylim=(len(classes) - 0.5, -0.5))
        axes.set(xlabel="predicted", ylabel="true", aspect="equal")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    return figure


def reliability(found: Calibration) -> Figure:
    """How often predictions are right by how sure they are, with the line of perfect ones."""
    with small_drawing(1.5, 1.5) as (figure, axes):
        axes.plot([0, 100], [0, 100], color=FAINT, lw=0.8, ls="--")
        confidence, accuracy = (100 * np.asarray(v) for v in (found.confidence, found.accuracy))
        most = max(found.num)
        axes.scatter(confidence, accuracy, [2 + 28 * n / most for n in found.num], color=MAIN)
        axes.set(xlim=(0, 100), ylim=(0, 100))
        axes.set_xlabel("probability given, %")
        axes.set_ylabel("right, %")
    return figure


def by_part(rows: Mapping[str, Sequence[Part]]) -> Figure:
    """UA of each part of the test predictions, a mark for each row.

    At most three rows: each has a colour. Of very many parts those in which the first row is worst.
    """
    ua = {row: {part.name: part.ua for part in parts} for row, parts in rows.items()}
    names = list(dict.fromkeys(name for found in ua.values() for name in found))
    if len(names) > MOST_PARTS:
        first = next(iter(ua.values()))
        worst = sorted(names, key=lambda name: first.get(name, 1.0))[:MOST_PARTS]
        names = [name for name in names if name in worst]
    with drawing(WIDE, 0.7 + 0.17 * len(names)) as (figure, axes):
        for colour, marker, (row, found) in zip(COLOURS, "osD", ua.items(), strict=False):
            known = [n for n, name in enumerate(names) if name in found]
            values = [100 * found[names[n]] for n in known]
            axes.plot(values, known, marker, mec=colour, mfc="none", ms=4, label=row)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlabel("UA, %")
        axes.grid(axis="x", color=FAINT, lw=0.3)
        if len(rows) > 1:
            axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=1)
    return figure


def layer_counts(
    counts: Sequence[Sequence[int]], rows: Sequence[Pooled], names: Sequence[str]
) -> Figure:
    """Pooled scores by one or two numbers of layers, and the published means.

    `counts` has the number or the two numbers of each row, `names` says what they count. A line
    joins the rows that have the second number in common.
    """
    with drawing(WIDE, 2.6) as (figure, axes):
        seconds = sorted({tuple(c[1:]) for c in counts})
        for second, style, colour in zip(seconds, cycle(("-", "--", ":")), cycle(COLOURS)):
            pairs = zip(counts, rows, strict=True)
            of_second = ((c[0], row) for c, row in pairs if tuple(c[1:]) == second)
            own = sorted(of_second, key=lambda pair: pair[0])
            found = [(x, 100 * row.score) for x, row in own if row.score is not None]
            label = f"{second[0]} {names[1]}" if second else "measured"
            if found:
                axes.plot(
                    *zip(*found, strict=True), "o" + style, color=colour, ms=4, lw=1, label=label
                )
            told = [(x, 100 * row.published) for x, row in own if row.published is not None]
            if told:
                said = f"{label}, published" if second else "published"
                axes.plot(
                    *zip(*told, strict=True),
                    "D" + style,
                    color=colour,
                    mfc="none",
                    ms=4,
                    lw=0.5,
                    label=said,
                )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel(names[0])
        axes.set_ylabel("pooled UA, %")
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def search_history(
    numbers: Sequence[int], values: Sequence[float], best: Sequence[float], objective: str
) -> Figure:
    """The objective of each configuration by its number, and the best one so far."""
    with drawing(WIDE, 2.2) as (figure, axes):
        axes.plot(numbers, values, "o", color=MAIN, ms=3.5)
        axes.plot(numbers, best, color=SECOND, lw=1, drawstyle="steps-post", label="best so far")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("configuration")
        axes.set_ylabel(objective)
        axes.legend(loc="lower right")
    return figure


def importance(shares: Mapping[str, float]) -> Figure:
    """How much of the objective's variance each parameter explains."""
    with drawing(WIDE, 0.7 + 0.26 * len(shares)) as (figure, axes):
        axes.barh(list(shares), [100 * share for share in shares.values()], color=MAIN, height=0.6)
        axes.invert_yaxis()
        axes.set_xlabel("share of the variance, %")
        axes.tick_params(axis="y", length=0)
    return figure


def as_svg(figure: Figure, description: str) -> str:
    """The figure for the page: colours by its theme, and a description for screen readers."""
    svg = _saved(figure, "svg").decode()
    svg = svg[svg.index("<svg") :]
    for colour, on_page in ON_PAGE.items():
        svg = svg.replace(colour, on_page)
    # Names of groups that nothing refers to, the same in every figure of the page.
    svg = re.sub(r' id="[a-zA-Z0-9]+_\d+"', "", svg)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"\s*\n\s*", "\n", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{html.escape(description)}"', 1)


def write_figure(figure: Figure, folder: Path, name: str) -> tuple[Path, Path]:
    """Write the figure as PDF and SVG; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / f"{name}.pdf", folder / f"{name}.svg"
    for path in paths:
        path.write_bytes(_saved(figure, path.suffix[1:]))
    return paths


def as_png(figure: Figure, title: str = "") -> bytes:
    """The figure as a picture on white, with a title above."""
    with mpl.rc_context(_STYLE):
        if title:
            figure.suptitle(title, fontsize=8)
    return _saved(figure, "png", dpi=150, facecolor="white", bbox_inches="tight", transparent=False)


def _saved(figure: Figure, kind: str, **more: Any) -> bytes:
    """The file's bytes, the same for the same figure: without the time of writing."""
    file = io.BytesIO()
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # Names in letters that the font lacks: a browser has others, a PDF shows boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        warnings.filterwarnings("ignore", message="constrained_layout not applied")
        figure.savefig(file, format=kind, metadata=undated[kind], **more)
    return file.getvalue()
