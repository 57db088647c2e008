"""Cuts long recordings into windows, and gives the whole what its windows have in common.

Models are trained on single utterances, a few seconds each; of a recording of minutes they would
see an average in which every emotion is lost. Shapes: W windows, K classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from mlt_ray.corpus.audio import SAMPLE_RATE_HZ, read_audio
from mlt_ray.corpus.recordings import is_silence
from mlt_ray.errors import UserError
from mlt_ray.inference.clips import Clip, told, transcribed_by
from mlt_ray.inference.prediction import GIVEN, NONE, Prediction, Window

if TYPE_CHECKING:
    from mlt_ray.encoders.recognition import Recogniser

LONGEST_S: Final = 30.0
"""Seconds from which a recording is cut: few utterances that models are trained on are longer
(IEMOCAP's longest has 34 s), and Whisper hears no more at once."""

SHORTEST_S: Final = 0.1
"""Seconds of a window, at least: a shorter one holds no sound of speech."""

WINDOW_S: Final = 10.0
HOP_S: Final = 5.0
"""Seconds of a window, and from the start of one to the next, if the user says nothing."""


@dataclass(frozen=True, kw_only=True)
class Windowing:
    """How recordings are cut: those of more than `longest_s`, every `hop_s`, into `window_s`.

    Raises `UserError` for a hop that leaves gaps, and a window in which nothing can be heard.
    """

    window_s: float = WINDOW_S
    hop_s: float = HOP_S
    longest_s: float = LONGEST_S

    def __post_init__(self) -> None:
        if not self.window_s >= SHORTEST_S:
            raise UserError(
                f"--window: expected at least {SHORTEST_S:g} s, got {self.window_s:g} s"
            )
        if not 0 < self.hop_s <= self.window_s:
            raise UserError(
                f"--hop: expected at most the window of {self.window_s:g} s, and above 0, got "
                f"{self.hop_s:g} s; windows would leave gaps"
            )

    @classmethod
    def of(cls, window_s: float | None, hop_s: float | None) -> "Windowing":
        """What the user says.

        Who gives a window has everything cut that is longer than it. The hop is half a window
        unless given.
        """
        window = WINDOW_S if window_s is None else window_s
        longest = LONGEST_S if window_s is None else window
        hop = window / 2 if hop_s is None else hop_s
        return cls(window_s=window, hop_s=hop, longest_s=longest)

    def is_long(self, clip: Clip) -> bool:
        """Whether the clip is cut."""
        return clip.duration_s > self.longest_s

    def spans(self, duration_s: float) -> list[tuple[float, float]]:
        """Start and end of each window in seconds, to the millisecond.

        All have one length: the last ends with the recording, so it may start less than a hop
        behind the one before.
        """
        last = max(0.0, duration_s - self.window_s)
        count = int(np.ceil(np.round(last / self.hop_s, 9)))
        starts = [*(number * self.hop_s for number in range(count)), last]
        ends = (min(start + self.window_s, duration_s) for start in starts)
        return [(round(a, 3), round(b, 3)) for a, b in zip(starts, ends, strict=True)]


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A recording and its windows, each a clip, with their spans in seconds."""

    clip: Clip
    spans: tuple[tuple[float, float], ...]
    windows: tuple[Clip, ...]

    def prediction(self, shares: NDArray[np.float64], classes: tuple[str, ...]) -> Prediction:
        """The prediction of the whole, from the (W, K) probabilities of its windows.

        Those of the whole are a mean over time: see `weights`. It has no text: windows overlap, and
        each has its own.
        """
        whole = Prediction.of(
            replace(self.clip, text=""),
            self.windows[0].text_source,
            weights(self.spans) @ shares,
            classes,
        )
        of_windows = (
            Prediction.of(one, one.text_source, row, classes)
            for one, row in zip(self.windows, shares, strict=True)
        )
        return replace(
            whole,
            windows=tuple(
                Window(
                    start_s=start,
                    end_s=end,
                    text=one.text,
                    label=one.label,
                    probabilities=one.probabilities,
                )
                for (start, end), one in zip(self.spans, of_windows, strict=True)
            ),
        )


def cut(clip: Clip, windowing: Windowing) -> Cut:
    """The windows of a long recording, without those that are silent from start to end.

    A window has no text yet, unless the clip's is given and empty: then nothing is said in any.
    Raises `UserError` if all are silent.
    """
    samples = read_audio(clip.audio)
    spans, windows = [], []
    for start, end in windowing.spans(len(samples) / SAMPLE_RATE_HZ):
        part = samples[round(start * SAMPLE_RATE_HZ) : round(end * SAMPLE_RATE_HZ)]
        if is_silence(part):
            continue
        spans.append((start, end))
        windows.append(
            replace(
                clip,
                id=f"{clip.id}, {start:g}–{end:g} s",
                audio=part,
                text="",
                text_source=GIVEN if clip.has_text and not clip.text else NONE,
                alignment=None,
            )
        )
    if not windows:
        raise UserError(f"{clip.id}: expected speech, got windows silent from start to end")
    return Cut(clip=clip, spans=tuple(spans), windows=tuple(windows))


def spoken_in(items: Sequence[Clip | Cut]) -> list[Clip]:
    """The clips that a model hears, in order: windows in place of long recordings."""
    return [c for item in items for c in (item.windows if isinstance(item, Cut) else (item,))]


def transcribed(
    items: Sequence[Clip | Cut],
    recogniser: "Recogniser",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Clip | Cut]:
    """Clips and windows with the texts that they lack.

    `progress` is called after each of these with their number so far, and of all.
    """
    wanted = [clip for clip in spoken_in(items) if not clip.has_text]
    texts = iter(recogniser.transcribe([clip.audio for clip in wanted]))
    source, done = transcribed_by(recogniser.name), 0

    def with_text(clip: Clip) -> Clip:
        nonlocal done
        if clip.has_text:
            return clip
        text, done = next(texts), done + 1
        progress(done, len(wanted))
        return told(clip, text, source)

    return [
        replace(item, windows=tuple(map(with_text, item.windows)))
        if isinstance(item, Cut)
        else with_text(item)
        for item in items
    ]


def weights(spans: Sequence[tuple[float, float]]) -> NDArray[np.float64]:
    """(W,) weight of each window in the mean over a recording; they sum to 1.

    Every second that windows cover counts the same: where several overlap, they share it. So
    neither the middle, which more windows hear than the ends, nor the last two windows, which
    overlap more, count twice.
    """
    starts, ends = np.array(spans).T
    edges = np.unique(np.concatenate([starts, ends]))
    begun = np.searchsorted(np.sort(starts), edges[:-1], side="right")
    over = np.searchsorted(np.sort(ends), edges[:-1], side="right")
    together = begun - over  # how many windows cover each piece between two edges
    shared = np.where(together > 0, np.diff(edges) / np.maximum(together, 1), 0.0)
    until = np.concatenate([[0.0], np.cumsum(shared)])
    found = until[np.searchsorted(edges, ends)] - until[np.searchsorted(edges, starts)]
    normed: NDArray[np.float64] = found / found.sum()
    return normed
