"""What a trained model makes of one recording, from the arguments of ``explain`` to its page."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mlt_ray.errors import UserError
from mlt_ray.inference.clips import Clip, clip_of
from mlt_ray.inference.windows import spoken_in, transcribed
from mlt_ray.storage.files import check_writable
from mlt_ray.workflows.model_choice import ModelChoice

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mlt_ray.inference.explanation.values import Explanation
    from mlt_ray.inference.predictor import Predictor

MOST_S: Final = 60.0
"""Seconds of a recording that is explained, at most: it is read as one utterance."""


@dataclass(frozen=True, kw_only=True)
class ExplainRequest:
    """What the verb was asked for.

    `text` is what is said in the recording, `asr` a model that transcribes it instead. `out` is the
    page's file or a folder for it (None: this folder).
    """

    clip: Path
    model: ModelChoice
    text: str | None = None
    asr: str | None = None
    out: Path | None = None

    def __post_init__(self) -> None:
        if self.text is not None and self.asr:
            raise UserError("--text: expected no --asr beside it; leave one out")

    @property
    def page(self) -> Path:
        """The file of the page."""
        name = f"explain-{self.clip.stem}.html"
        if self.out is None:
            return Path(name)
        return self.out / name if self.out.is_dir() else self.out


def explain_clip(request: ExplainRequest) -> list[str]:
    """Write the page of a recording; lines that say where it is and what stands there.

    Raises `UserError` for a recording that cannot be read or is longer than `MOST_S`, for a model
    that cannot be opened or was standardised by speaker, and where the model reads text and none is
    given.
    """
    clip = clip_of(request.clip, request.text, name=request.clip.name)
    if clip.duration_s > MOST_S:
        raise UserError(
            f"{clip.id}: expected one utterance of at most {MOST_S:g} s, got {clip.duration_s:.0f} "
            "s; cut one out"
        )
    check_writable(request.page.parent, "--out")
    # Not at the top: they import torch and matplotlib.
    from mlt_ray.inference.explanation.explain import explain
    from mlt_ray.reports.explanation.render import write_explanation

    predictor = request.model.open()
    clip = _with_text(clip, request, predictor)
    found = explain(predictor, clip, clip.text_source, request.model.store)
    write_explanation(found, request.page)
    return [*summary(found), f"written: {request.page}"]


def _with_text(clip: Clip, request: ExplainRequest, predictor: "Predictor") -> Clip:
    """The clip with the text that its recogniser hears, if one is asked for."""
    if not predictor.model.reads_text or clip.has_text:
        return clip
    if request.asr is None:
        raise UserError(
            f"{clip.id}: {predictor.model.name} reads text, and none is given; give one by --text "
            '("" if nothing is said), or a model that transcribes by --asr'
        )
    from mlt_ray.encoders.recognition import open_recogniser

    [heard] = spoken_in(transcribed([clip], open_recogniser(request.asr, predictor.device)))
    return heard


def summary(found: "Explanation") -> list[str]:
    """The answer, the part that it changes most without, and the nearest training utterances."""
    first, second = found.mean.argsort()[::-1][:2]
    runs = len(found.probabilities)
    lines = [
        f"{found.label}: {100 * found.mean[first]:.1f} %, then {found.classes[second]} "
        f"{100 * found.mean[second]:.1f} %, by {found.provenance.model}"
        + (f", the mean of {runs} runs" if runs > 1 else "")
    ]
    parts = []
    if found.changes is not None:
        place = int(abs(found.changes.mean(axis=0)).argmax())
        parts.append(f"without the word {found.words[place]} {_points(found.changes[:, place])}")
    if found.spans is not None:
        changes = found.spans.changes
        place = int(abs(changes.mean(axis=0)).argmax())
        start, stop = found.spans.spans_s[place]
        parts.append(f"without {start:.1f} to {stop:.1f} s {_points(changes[:, place])}")
    if parts:
        lines.append(f"{found.label} changes most: {'; '.join(parts)}")
    if found.nearest is not None:
        named = (f"{n.id} ({n.label})" for n in found.nearest.neighbours[:3])
        lines.append(f"nearest training utterances: {', '.join(named)}")
    return lines


def _points(changes: "NDArray[np.float64]") -> str:
    """The mean of (M,) changes in percentage points, with their deviation over several runs."""
    mean = f"{100 * changes.mean():+.1f}"
    return (
        f"{mean} ± {100 * changes.std(ddof=1):.1f} points" if len(changes) > 1 else f"{mean} points"
    )
