"""Writes the page of an explanation: one HTML file that needs nothing else."""

import base64
import io
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np
from jinja2 import Environment, StrictUndefined

from mlt_ray import __version__
from mlt_ray.corpus.audio import SAMPLE_RATE_HZ, Samples
from mlt_ray.inference.clips import transcribed_by
from mlt_ray.inference.explanation.values import Explanation, Nearest, SpanChanges
from mlt_ray.inference.prediction import GIVEN
from mlt_ray.reports.explanation import figures
from mlt_ray.reports.page.cells import duration, mean_text, percent, points
from mlt_ray.reports.page.figures import as_svg
from mlt_ray.storage.files import write_bytes

MOST_SOUND_BYTES: Final = 2_000_000
"""Size of a recording that the page holds, at most."""

ASR: Final = transcribed_by("")
"""What the source of a text begins with that a recogniser has heard."""

REPLACED: Final[Mapping[str, str]] = {
    "frames": "the mean frame of the training part stands in the span's place",
    "silence": "the span is silent, and the features are computed from that recording",
    "both": "the mean frame of the training part stands in the span's place, and the features of "
    "the whole recording are computed with silence there",
}
"""What stands in the place of a span, by `SpanChanges.by`."""


def write_explanation(found: Explanation, path: Path) -> None:
    """Write the page of an explanation."""
    write_bytes(path, render(found).encode())


def render(found: Explanation) -> str:
    """The page's HTML."""
    page, own = files("mlt_ray.reports.page"), files("mlt_ray.reports.explanation")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.from_string((own / "page.html.j2").read_text("utf-8"))
    css = [(page / "page.css").read_text("utf-8"), (own / "page.css").read_text("utf-8")]
    return template.render(css="\n".join(css), **content(found))


def content(found: Explanation) -> dict[str, Any]:
    """The values that the template prints."""
    return {
        "found": found,
        "title": f"{found.clip}: {found.label}",
        "probability": percent(found.mean[found.predicted]),
        "duration": duration(found.duration_s),
        "num_runs": len(found.probabilities),
        "sound": sound(found.samples),
        "text_source": source_text(found.text_source),
        "absent": found.absent,
        "strongest": percent(found.attention.weights.max()) if found.attention else "",
        "even": percent(1 / max(1, len(found.words))),
        "class_bars": as_svg(figures.class_bars(found), classes_said(found)),
        "timelines": [
            (name, as_svg(figures.timeline(found, width), timeline_said(found)))
            for name, width in (("desk", figures.DESK), ("phone", figures.PHONE))
        ],
        "phonemes_shown": phonemes_shown(found),
        "word_bars": word_bars(found),
        "word_rows": word_rows(found),
        "span_rows": span_rows(found.spans),
        "time_rows": time_rows(found),
        "replaced": REPLACED[found.spans.by] if found.spans else "",
        "neighbours": neighbours(found.nearest),
        "version": __version__,
    }


def source_text(source: str) -> str:
    """Where a text is from, in words."""
    if source == GIVEN:
        return "as given with the recording"
    return f"as {source.removeprefix(ASR)} has transcribed it" if source.startswith(ASR) else source


def sound(samples: Samples) -> str:
    """The recording as the address of an audio element; empty if it is too large."""
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE_HZ, format="FLAC", subtype="PCM_16")
    content = file.getvalue()
    if len(content) > MOST_SOUND_BYTES:
        return ""
    return f"data:audio/flac;base64,{base64.b64encode(content).decode()}"


def classes_said(found: Explanation) -> str:
    """The probabilities in words."""
    order = np.argsort(-found.mean)
    said = (f"{found.classes[n]} {percent(found.mean[n])}" for n in order)
    return f"Probabilities in percent: {', '.join(said)}"


def timeline_said(found: Explanation) -> str:
    """What the timeline shows, in words."""
    said = [f"The recording over {duration(found.duration_s)}: samples and log-mel frames"]
    if found.attention is not None:
        word = found.words[int(found.attention.of_words.argmax())]
        said.append(f"attention of the frames over the words, highest in the mean for {word}")
    if found.over_time is not None:
        said.append("probabilities of the recording up to each time")
    if found.spans is not None:
        mean = found.spans.changes.mean(axis=0)
        place = int(np.abs(mean).argmax())
        start, stop = found.spans.spans_s[place]
        said.append(
            f"changes without each span, the largest from {start:.1f} to {stop:.1f} seconds: "
            f"{points(mean[place])} points"
        )
    return "; ".join(said)


def phonemes_shown(found: Explanation) -> bool:
    """Whether the timeline has rows of phonemes."""
    attention = found.attention
    return (
        attention is not None
        and attention.phoneme_shares is not None
        and len(found.words) <= figures.MOST_WORDS
        and sum(map(len, found.phonemes)) <= figures.MOST_PHONEMES
    )


def word_bars(found: Explanation) -> str:
    """The figure of words; empty if nothing is known of them, or they are too many."""
    if found.attention is None and found.changes is None:
        return ""
    if len(found.words) > figures.MOST_WORDS:
        return ""
    rows = word_rows(found)
    said = (f"{row['word']}: {', '.join(cell for cell in row['cells'] if cell)}" for row in rows)
    kinds = [
        *(["mean attention in percent"] if found.attention else []),
        *(["change without the word in points"] if found.changes is not None else []),
    ]
    return as_svg(figures.word_bars(found), f"Words, {' and '.join(kinds)}. {'; '.join(said)}")


def word_rows(found: Explanation) -> list[dict[str, Any]]:
    """A line for each word: its mean attention and the change without it, where they are known."""
    if found.attention is None and found.changes is None:
        return []
    rows = []
    for n, word in enumerate(found.words):
        cells = []
        if found.attention is not None:
            cells.append(percent(found.attention.of_words[n]))
        if found.changes is not None:
            cells.append(change_text(found.changes[:, n]))
        rows.append({"word": word, "phonemes": " ".join(found.phonemes[n]), "cells": cells})
    return rows


def span_rows(spans: SpanChanges | None) -> list[dict[str, str]]:
    """A line for each span and the change without it."""
    if spans is None:
        return []
    pairs = zip(spans.spans_s, spans.changes.T, strict=True)
    return [
        {"span": f"{start:.1f} – {stop:.1f}", "change": change_text(changes)}
        for (start, stop), changes in pairs
    ]


def time_rows(found: Explanation) -> list[dict[str, Any]]:
    """A line for each time and the probability of every class up to there."""
    if found.over_time is None:
        return []
    over = found.over_time
    means, deviations = over.probabilities.mean(axis=0), over.probabilities.std(axis=0)
    return [
        {
            "time": f"{time:.1f}",
            "cells": [
                mean_text(mean, std if len(over.probabilities) > 1 else None)
                for mean, std in zip(means[n], deviations[n], strict=True)
            ],
        }
        for n, time in enumerate(over.times_s)
    ]


def change_text(changes: np.ndarray) -> str:
    """Mean of (M,) changes and their deviation over runs, in points."""
    mean = points(float(changes.mean()))
    return mean if len(changes) == 1 else f"{mean} ± {percent(float(changes.std()))}"


def neighbours(nearest: Nearest | None) -> Sequence[dict[str, str]]:
    """A line for each of the nearest training utterances."""
    if nearest is None:
        return []
    return [
        {
            "id": one.id,
            "label": one.label,
            "speaker": one.speaker,
            "text": one.text,
            "similarity": f"{one.similarity:.4f}".replace("-", "−"),
        }
        for one in nearest.neighbours
    ]
