"""Scores of trained rows on a corpus that none of their runs has seen, and how rows differ there.

All runs are tested on the same utterances, whichever fold they were trained on. So a mean over
runs of WA or UA is the score of all their predictions together, too; deviations over seeds and
folds say how much depends on what was trained on; and intervals, by resampling groups of test
utterances (`mlt_ray.reports.resampling`), say how much depends on what is tested on. Two rows are
compared on the same drawn groups. There is no t test over folds here: it is for folds with test
parts of their own, and would take the same utterances, tested five times, for five samples.

The ensemble's probabilities are the mean of the runs'. Shapes: M runs, N utterances, K classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from mlt_ray.corpus.fold_notes import describe
from mlt_ray.corpus.utterance import Corpus
from mlt_ray.metrics import score
from mlt_ray.reports.breakdown import calibration_of, recalls
from mlt_ray.reports.frames import RunOfRow, runs_frame
from mlt_ray.reports.resampling import Counts, Interval, groups_of, interval
from mlt_ray.reports.statistics import Statistic, statistics_of
from mlt_ray.spec import FoldSpec

if TYPE_CHECKING:
    from pandas import DataFrame

SCORES: Final = ("wa", "ua", "macro_f1")
RESAMPLED: Final = ("wa", "ua")
"""Scores that have an interval."""

ENSEMBLE: Final = "ensemble"
"""Name of the ensemble beside the digests of runs."""

What = Literal["runs", "ensemble"]
"""Whose predictions a score is of: the mean of the runs', or the ensemble's."""

WHATS: Final[tuple[What, ...]] = ("runs", "ensemble")


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """What the finished runs of a row say of another corpus.

    `runs` are their reports, in the order of `probabilities` (M, N, K). `corpus` has the N
    utterances that count, each with a class as its emotion, and the row's K classes. `own` is the
    name of the corpus that the row was trained on; `planned` runs were to be trained on it.
    """

    name: str
    runs: tuple[RunOfRow, ...]
    planned: int
    own: str
    corpus: Corpus
    probabilities: np.ndarray

    def __post_init__(self) -> None:
        shape = len(self.runs), len(self.corpus), len(self.corpus.classes)
        if self.probabilities.shape != shape or 0 in shape:
            raise ValueError(f"{self.name}: probabilities {self.probabilities.shape} for {shape}")

    @cached_property
    def scores(self) -> "DataFrame":
        """A row a run: ``study, row, fold, seed, digest``, the `SCORES`, ``confusion``.

        A confusion counts true classes by predicted ones, in the order of ``classes``.
        """
        from pandas import DataFrame

        found = []
        for run, shares in zip(self.runs, self.probabilities, strict=True):
            of_run = score(self.corpus.labels, shares.argmax(axis=1), shares.shape[1])
            names = dict(zip(("study", "row", "fold", "seed"), run.name, strict=True))
            found.append(
                {
                    **names,
                    "digest": run.report.digest,
                    **{name: getattr(of_run, name) for name in SCORES},
                    "confusion": [list(counts) for counts in of_run.confusion],
                    "classes": self.corpus.classes,
                    "num_utterances": len(self.corpus),
                }
            )
        return DataFrame(found)

    @cached_property
    def predictions(self) -> "DataFrame":
        """A row for each utterance of each run: ``study, row, run`` (its digest), ``fold, seed``.

        Then ``utterance, emotion`` (its true class), ``predicted``, and ``p_NAME`` of each class.
        """
        from pandas import concat

        found = []
        for run, shares in zip(self.runs, self.probabilities, strict=True):
            study, row, fold, seed = run.name
            names: dict[str, str | int] = {"study": study, "row": row, "run": run.report.digest}
            names |= {"fold": fold, "seed": seed}
            found.append(_predicted(self.corpus, shares, names))
        return concat(found, ignore_index=True)

    @cached_property
    def ensemble(self) -> "DataFrame":
        """The ensemble's `predictions`; its ``run`` is `ENSEMBLE`, its fold and seed are 0."""
        study, row, *_ = self.runs[0].name
        names: dict[str, str | int] = {"study": study, "row": row, "run": ENSEMBLE}
        names |= {"fold": 0, "seed": 0}
        return _predicted(self.corpus, self.probabilities.mean(axis=0), names)

    @cached_property
    def groups(self) -> tuple[str, Mapping[str, str]]:
        """What the groups of utterances are, and the group of each."""
        return groups_of(self.corpus.utterances)

    @cached_property
    def counts(self) -> Mapping[What, Counts]:
        """Right answers by group and class: of all runs together, and of the ensemble."""
        frames: dict[What, DataFrame] = {"runs": self.predictions, "ensemble": self.ensemble}
        return {what: Counts.of(frame, self.groups[1]) for what, frame in frames.items()}

    @cached_property
    def measured(self) -> "Mapping[What, Measured]":
        """The scores of the runs, and of the ensemble."""
        columns = {name: f"test_{name}" for name in (*SCORES, "confusion")}
        num_folds = self.runs[0].report.num_folds
        of_runs = self.scores.rename(columns=columns).assign(num_folds=num_folds)
        shares = self.probabilities.mean(axis=0)
        of_all = score(self.corpus.labels, shares.argmax(axis=1), shares.shape[1])
        return {
            "runs": self._measured(
                "runs",
                statistics_of(of_runs, SCORES),
                np.sum(self.scores["confusion"].to_list(), axis=0),
                self.predictions,
            ),
            "ensemble": self._measured(
                "ensemble",
                {name: _single(getattr(of_all, name)) for name in SCORES},
                np.asarray(of_all.confusion),
                self.ensemble,
            ),
        }

    def _measured(
        self,
        what: What,
        scores: Mapping[str, Statistic],
        confusion: np.ndarray,
        predictions: "DataFrame",
    ) -> "Measured":
        return Measured(
            scores=scores,
            intervals={name: interval(name, self.counts[what]) for name in RESAMPLED},
            confusion=tuple(tuple(map(int, counts)) for counts in confusion),
            recalls=recalls(confusion),
            calibration_error=calibration_of(predictions).error,
        )


def _predicted(corpus: Corpus, shares: np.ndarray, names: Mapping[str, str | int]) -> "DataFrame":
    from pandas import DataFrame

    return DataFrame(
        {
            **names,
            "utterance": [u.id for u in corpus.utterances],
            "emotion": [u.emotion for u in corpus.utterances],
            "predicted": [corpus.classes[n] for n in shares.argmax(axis=1)],
            **{f"p_{name}": shares[:, n] for n, name in enumerate(corpus.classes)},
        }
    )


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The scores of a row's runs, or of its ensemble, on the other corpus.

    `scores`: WA, UA and macro F1; an ensemble's have no deviations. UA and macro F1 are means over
    the classes that the corpus has utterances of (`mlt_ray.metrics`), though a prediction may be
    any class of the row. `intervals`: those of `RESAMPLED`. `confusion`: counts over all runs, true
    classes by predicted ones; `recalls` by class, None for one without utterances.
    `calibration_error` is that of `mlt_ray.reports.breakdown.Calibration`, over all runs.
    """

    scores: Mapping[str, Statistic]
    intervals: Mapping[str, Interval | None]
    confusion: tuple[tuple[int, ...], ...]
    recalls: tuple[float | None, ...]
    calibration_error: float


@dataclass(frozen=True, kw_only=True)
class RowScores:
    """A row on another corpus, beside its own test scores on the corpus that it was trained on.

    `own`: the study's test scores, each run on its fold's test part; `own_gaps`: whether some of
    these parts lack a class, so that its UA is no mean over all. `support` counts the utterances of
    each class that are tested here. `num_groups` of what `groups` names are resampled.
    """

    name: str
    trained_on: str
    folds: str
    own: Mapping[str, Statistic]
    own_gaps: bool
    classes: tuple[str, ...]
    support: tuple[int, ...]
    groups: str
    num_groups: int
    runs: Measured
    ensemble: Measured
    done: int
    planned: int

    def measured(self, what: What) -> Measured:
        """The runs' scores, or the ensemble's."""
        return self.runs if what == "runs" else self.ensemble

    @property
    def absent(self) -> tuple[str, ...]:
        """Classes that no utterance of the other corpus has."""
        return tuple(c for c, n in zip(self.classes, self.support, strict=True) if not n)

    @property
    def one_answer(self) -> Mapping[str, float]:
        """WA and UA of always answering the most frequent class of the other corpus."""
        present = sum(n > 0 for n in self.support)
        return {"wa": max(self.support) / sum(self.support), "ua": 1 / present}


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A row's score on the other corpus minus another row's, in shares (0–1), by score.

    `intervals` are by resampling groups, the same ones for both rows; they are not corrected for
    several comparisons, and do not hold what depends on the training.
    """

    row: str
    other: str
    what: What
    scores: Mapping[str, float]
    intervals: Mapping[str, Interval | None]


@dataclass(frozen=True, kw_only=True)
class CrossCorpus:
    """Rows on another corpus, whose name is `corpus`, and how they differ.

    `notes` say what else a reader must know.
    """

    corpus: str
    rows: tuple[RowScores, ...]
    differences: tuple[Difference, ...]
    notes: tuple[str, ...] = ()


def cross_corpus(answers: Sequence[Answers], notes: Sequence[str] = ()) -> CrossCorpus:
    """The scores of rows on another corpus, and the differences of those that can be compared.

    Rows can be if they are tested on the same utterances of the same classes.
    """
    pairs = [
        (first, other)
        for first, other in combinations(answers, 2)
        if (first.corpus.fingerprint, sorted(first.corpus.classes))
        == (other.corpus.fingerprint, sorted(other.corpus.classes))
    ]
    return CrossCorpus(
        corpus=answers[0].corpus.name,
        rows=tuple(_row(found) for found in answers),
        differences=tuple(_difference(*pair, what) for pair in pairs for what in WHATS),
        notes=tuple(notes),
    )


def _row(answers: Answers) -> RowScores:
    own = runs_frame(answers.runs)
    spec = answers.runs[0].report.spec
    labels = np.asarray(answers.corpus.labels)
    by_features = spec.get("features", {}).get("standardise", "train")
    return RowScores(
        name=answers.name,
        trained_on=answers.own,
        folds=describe(FoldSpec(**spec["folds"]), by_features),
        own=statistics_of(own, SCORES),
        own_gaps=not all(all(map(sum, confusion)) for confusion in own["test_confusion"]),
        classes=answers.corpus.classes,
        support=tuple(np.bincount(labels, minlength=len(answers.corpus.classes)).tolist()),
        groups=answers.groups[0],
        num_groups=len(answers.counts["runs"].groups),
        runs=answers.measured["runs"],
        ensemble=answers.measured["ensemble"],
        done=len(answers.runs),
        planned=answers.planned,
    )


def _single(value: float) -> Statistic:
    """The score of one set of predictions."""
    return Statistic(mean=value, std_repeats=None, std_folds=None, std_runs=None, pooled=value)


def _difference(first: Answers, other: Answers, what: What) -> Difference:
    counts = first.counts[what], other.counts[what]
    scores = [answers.measured[what].scores for answers in (first, other)]
    return Difference(
        row=first.name,
        other=other.name,
        what=what,
        scores={name: scores[0][name].mean - scores[1][name].mean for name in RESAMPLED},
        intervals={name: interval(name, *counts) for name in RESAMPLED},
    )
