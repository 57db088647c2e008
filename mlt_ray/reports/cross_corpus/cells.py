"""What the tables of rows on another corpus say, cell by cell, and the lines below them."""

from collections.abc import Mapping
from typing import Final

from mlt_ray.reports.cross_corpus.scores import (
    RESAMPLED,
    SCORES,
    WHATS,
    CrossCorpus,
    RowScores,
    What,
)
from mlt_ray.reports.markup import Lines
from mlt_ray.reports.resampling import FEW_GROUPS, Interval
from mlt_ray.reports.statistics import Statistic
from mlt_ray.reports.tables import MARK, mean_and_deviation

_NAMES: Final[Mapping[str, str]] = {"wa": "WA", "ua": "UA", "macro_f1": "macro F1"}


def title(found: CrossCorpus) -> str:
    """The heading of the tables: what was trained where, and tested on which other corpus."""
    trained = ", ".join(dict.fromkeys(row.trained_on for row in found.rows))
    return f"Trained on {trained}, tested on {found.corpus}"


def score_lines(found: CrossCorpus) -> Lines:
    """The cells below `SCORE_HEAD`: a row's own test scores, its runs' here, its ensemble's here.

    A deviation or an interval stands below the scores that it is of. The row's name is in its
    first line alone.
    """
    lines = []
    for row in found.rows:
        own_marks = {"ua": MARK} if row.own_gaps else {}
        lines.append([row.name, f"{row.trained_on}, own test parts", *_means(row.own, own_marks)])
        lines[-1].append("")
        runs = f"{row.done}" if row.done == row.planned else f"{row.done}/{row.planned}"
        noun = "run" if row.planned == 1 else "runs"
        said = {"runs": f"mean of {runs} {noun}", "ensemble": "ensemble"}
        marks = dict.fromkeys(("ua", "macro_f1"), MARK) if row.absent else {}
        for what in WHATS:
            measured = row.measured(what)
            lines.append(["", f"{found.corpus}, {said[what]}", *_means(measured.scores, marks)])
            lines[-1].append(f"{measured.calibration_error:.3f}")
            by_fold = [measured.scores[name].std_folds for name in SCORES]
            if None not in by_fold:
                lines.append(["", "± over folds", *(_share(value) for value in by_fold), ""])
            ends = [_interval(measured.intervals.get(name)) for name in SCORES]
            if any(ends):
                lines.append(["", "95 %", *ends, ""])
    return lines


SCORE_HEAD: Final = ("row", "tested on", *_NAMES.values(), "ECE")


def _means(scores: Mapping[str, Statistic], marks: Mapping[str, str]) -> list[str]:
    found = ((name, scores[name]) for name in SCORES)
    return [mean_and_deviation(s.mean, s.std_repeats) + marks.get(n, "") for n, s in found]


def _interval(found: Interval | None) -> str:
    return "" if found is None else f"{found.low:.3f}–{found.high:.3f}"


def class_head(row: RowScores) -> list[str]:
    """Headings of `class_lines`."""
    return ["class", "utterances", "recall of runs", "recall of ensemble", *row.classes]


def class_lines(row: RowScores) -> Lines:
    """A line a class: recall, and how many of its utterances the ensemble calls which class."""
    return [
        [
            name,
            str(row.support[n]),
            *(_share(measured.recalls[n]) for measured in (row.runs, row.ensemble)),
            *map(str, row.ensemble.confusion[n]),
        ]
        for n, name in enumerate(row.classes)
    ]


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def difference_lines(found: CrossCorpus) -> Lines:
    """A line for each pair of rows and each of `WHATS`, below `DIFFERENCE_HEAD`; in points."""
    lines = []
    for one in found.differences:
        cells = []
        for name in RESAMPLED:
            ends = one.intervals[name]
            held = "" if ends is None else f" ({_points(ends.low)} to {_points(ends.high)})"
            cells.append(_points(one.scores[name]) + held)
        lines.append([f"{one.row} minus {one.other}", _WHAT[one.what], *cells])
    return lines


DIFFERENCE_HEAD: Final = ("difference", "of", *(_NAMES[name] for name in RESAMPLED))

_WHAT: Final[Mapping[What, str]] = {"runs": "means of runs", "ensemble": "ensembles"}


def _points(difference: float) -> str:
    # Without the minus of a zero.
    return f"{round(100 * difference, 1) + 0.0:+.1f}"


def legend(found: CrossCorpus) -> tuple[str, ...]:
    """Lines below the tables that say what their numbers are, and what they are not."""
    lines = [
        "WA = correct / all; UA = mean over classes of recall. Runs tested on another corpus are "
        "all tested on the same utterances; the ensemble is the mean of their probabilities.",
        "± is the sample standard deviation, over the seeds, of the mean over all folds. "
        f"{_intervals_text(found)}",
        f"Always answering the most frequent class of {found.corpus}: {_one_answers(found)}.",
    ]
    if absent := _absent_text(found):
        lines.append(absent)
    if any(row.own_gaps for row in found.rows):
        lines.append(f"{MARK} On the own corpus: some test parts lack a class.")
    if found.differences:
        lines.append(
            "Differences are in percentage points, both rows on the same drawn groups; not "
            "corrected for several comparisons, and no t test over folds, whose models are all "
            "tested on the same utterances. How much depends on the training is not in them."
        )
    return (*lines, *found.notes)


def _intervals_text(found: CrossCorpus) -> str:
    drawn = dict.fromkeys((row.num_groups, row.groups) for row in found.rows)
    groups = " or ".join(f"{number} {name}s" for number, name in drawn)
    if any(number < 2 for number, _ in drawn):
        return f"Of {groups}, intervals by resampling need two at least."
    few = "; too narrow with so few" if any(n < FEW_GROUPS for n, _ in drawn) else ""
    return f"95 %: of draws of {groups}, with replacement{few}."


def _one_answers(found: CrossCorpus) -> str:
    texts = (f"WA {row.one_answer['wa']:.3f}, UA {row.one_answer['ua']:.3f}" for row in found.rows)
    return " or ".join(dict.fromkeys(texts))


def _absent_text(found: CrossCorpus) -> str:
    groups: dict[tuple[str, ...], list[str]] = {}
    for row in found.rows:
        if row.absent:
            groups.setdefault(row.absent, []).append(row.name)
    said = [f"{' and '.join(names)}: {', '.join(a)}" for a, names in groups.items()]
    if len(groups) == 1 and all(row.absent for row in found.rows):
        said = [", ".join(next(iter(groups)))]
    if not said:
        return ""
    return (
        f"{MARK} Means over the classes that {found.corpus} has; a prediction may be another "
        f"class, too. It lacks {'; '.join(said)}."
    )
