"""Predictions for clips whose text is known: what a server and a script answer with."""

from collections.abc import Sequence

import numpy as np

from mlt_ray.errors import UserError
from mlt_ray.inference.clips import Clip
from mlt_ray.inference.prediction import Prediction
from mlt_ray.inference.predictor import Predictor
from mlt_ray.inference.windows import Cut, Windowing, cut


def answer(
    predictor: Predictor, clips: Sequence[Clip], windowing: Windowing | None = None
) -> list[Prediction]:
    """The prediction of each clip; a long one is cut into windows (None: as by default).

    Raises `UserError` for a clip that cannot be read, and, if the model reads text, for one without
    a text and for a long one with more than an empty text, since nobody knows which window says
    what.
    """
    windowing = windowing or Windowing()
    if predictor.model.reads_text:
        for clip in clips:
            _check_text(clip, windowing, predictor.model.name)
    pieces: list[Cut | Clip] = [cut(c, windowing) if windowing.is_long(c) else c for c in clips]
    parts = [p.windows if isinstance(p, Cut) else (p,) for p in pieces]
    shares = predictor.probabilities([one for part in parts for one in part]).mean(axis=0)
    ends = np.cumsum([len(part) for part in parts])[:-1]
    return [
        piece.prediction(own, predictor.classes)
        if isinstance(piece, Cut)
        else Prediction.of(piece, piece.text_source, own[0], predictor.classes)
        for piece, own in zip(pieces, np.split(shares, ends), strict=True)
    ]


def _check_text(clip: Clip, windowing: Windowing, model: str) -> None:
    if not clip.has_text:
        raise UserError(
            f'{clip.id}: {model} reads text, and none is given; give it ("" if nothing is said)'
        )
    if clip.text and windowing.is_long(clip):
        raise UserError(
            f"{clip.id}: expected at most {windowing.longest_s:g} s of a recording with a text, "
            f"got {clip.duration_s:.0f} s; cut it into utterances, each with its text"
        )
