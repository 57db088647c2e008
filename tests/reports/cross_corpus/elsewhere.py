"""A worked example: four runs of a row, of two folds and two seeds, on five utterances.

Answers on ``u0 u1`` (angry), ``u2 u3`` (sad), ``u4`` (happy); nobody is neutral:

    fold 1, seed 1: angry angry   sad sad     happy    WA 1    UA 1
    fold 2, seed 1: angry neutral sad neutral happy    WA 3/5  UA 2/3
    fold 1, seed 2: neutral, five times                WA 0    UA 0
    fold 2, seed 2: angry, five times                  WA 2/5  UA 1/3
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from mlt_ray.corpus.utterance import Corpus, Utterance
from mlt_ray.labels import FOUR
from mlt_ray.reports.cross_corpus.scores import Answers
from mlt_ray.reports.frames import RunOfRow
from tests.stored import report_with

TRUE = ("angry", "angry", "sad", "sad", "happy")
SPEAKERS = ("s1", "s1", "s2", "s2", "s2")
ANSWERS = {
    (1, 1): ("angry", "angry", "sad", "sad", "happy"),
    (2, 1): ("angry", "neutral", "sad", "neutral", "happy"),
    (1, 2): ("neutral",) * 5,
    (2, 2): ("angry",) * 5,
}
"""By fold and seed."""

SURE = {(1, 2): 0.4}
"""Probability of what a run answers, 0.7 for the others; the rest is shared evenly."""


def corpus(true: tuple[str, ...] = TRUE, speakers: tuple[str, ...] = SPEAKERS) -> Corpus:
    utterances = tuple(
        Utterance(
            id=f"u{n}",
            audio=Path(f"u{n}.wav"),
            text="so",
            emotion=emotion,
            speaker=speaker,
            duration_s=1.0,
            audio_sha256=f"sha {n}",
        )
        for n, (emotion, speaker) in enumerate(zip(true, speakers, strict=True))
    )
    return Corpus(name="other", utterances=utterances, classes=FOUR)


def run_of(fold: int, seed: int, row: str = "row") -> RunOfRow:
    """A run with test scores on its own corpus that depend on its seed."""
    report = report_with(fold, seed, wa=0.5 + seed / 10, ua=0.4, digest=f"{fold:08}{seed:08}")
    folds = {"by": "speaker", "num_folds": 2}
    return RunOfRow(study="made", row=row, report=replace(report, spec={"folds": folds}))


def answers(row: str = "row", tested: Corpus | None = None) -> Answers:
    shares = np.empty((len(ANSWERS), len(TRUE), len(FOUR)))
    for m, (run, answered) in enumerate(ANSWERS.items()):
        sure = SURE.get(run, 0.7)
        shares[m] = (1 - sure) / 3
        shares[m, np.arange(len(TRUE)), [FOUR.index(name) for name in answered]] = sure
    return Answers(
        name=f"made/{row}",
        runs=tuple(run_of(*run, row) for run in ANSWERS),
        planned=5,
        own="own",
        corpus=tested or corpus(),
        probabilities=shares,
    )
