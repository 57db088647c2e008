"""Formats the scores of rows on another corpus: terminal, Markdown, LaTeX, CSV and JSON.

To add a file format, write a function that turns a `CrossCorpus` into text and add it to `FILES`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.markup import escape
from rich.table import Table

from mlt_ray.reports.cross_corpus import (
    RESAMPLED,
    SCORES,
    WHATS,
    CrossCorpus,
    Measured,
    RowScores,
    What,
)
from mlt_ray.reports.resampling import FEW_GROUPS, Interval
from mlt_ray.reports.statistics import Statistic
from mlt_ray.reports.tables import MARK, latex_text, mean_and_deviation, pipes
from mlt_ray.storage.files import json_bytes, write_bytes
from mlt_ray.storage.spreadsheet import csv_text

if TYPE_CHECKING:
    from pandas import DataFrame

PREDICTIONS: Final = "predictions.csv"

_NAMES: Final[Mapping[str, str]] = {"wa": "WA", "ua": "UA", "macro_f1": "macro F1"}

Lines = list[list[str]]
"""Rows of cells."""


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


def as_terminal(found: CrossCorpus) -> Iterator[Table]:
    """Tables that `rich` prints in 80 characters: scores, classes of each row, differences."""
    yield _rich(title(found), SCORE_HEAD[1:], _below_names(score_lines(found)))
    for row in found.rows:
        name = f"{row.name}: recall, and what the ensemble answers (a line a true class)"
        yield _rich(name, class_head(row), class_lines(row))
    if found.differences:
        lines = _below_names(difference_lines(found))
        yield _rich("Differences, in points", DIFFERENCE_HEAD[1:], lines)


def _below_names(lines: Lines) -> Lines:
    """The first column of texts as lines of their own, above what belongs to each."""
    found: Lines = []
    last = ""
    for name, *cells in lines:
        if name and name != last:
            found.append([name, *[""] * (len(cells) - 1)])
            last = name
        found.append([f"  {cells[0]}", *cells[1:]])
    return found


def _rich(name: str, head: Sequence[str], lines: Lines) -> Table:
    """A table whose first column may be broken into lines; numbers are not."""
    shown = Table(title=escape(name), title_justify="left", box=box.HORIZONTALS, padding=0)
    shown.add_column(escape(head[0]), overflow="fold")
    for heading in head[1:]:
        shown.add_column(escape(heading.replace(" ", "\n")), justify="right", no_wrap=True)
    for text, *cells in lines:
        shown.add_row(escape(text), *(escape(_narrow(cell)) for cell in cells))
    return shown


def _narrow(cell: str) -> str:
    return cell.replace(" ± ", "±")


def as_markdown(found: CrossCorpus) -> str:
    """Markdown: the tables of the terminal, with what each row was trained on."""
    parts = [f"# {title(found)}", _markdown(SCORE_HEAD, score_lines(found), texts=2)]
    parts.append("\n".join(f"- {line}" for line in [*_trained(found), *legend(found)]))
    for row in found.rows:
        parts += [f"## {row.name}", "Recall, and what the ensemble answers, a line a true class."]
        parts.append(_markdown(class_head(row), class_lines(row), texts=1))
    if found.differences:
        parts += ["## Differences, in points"]
        parts.append(_markdown(DIFFERENCE_HEAD, difference_lines(found), texts=2))
    return "\n\n".join(parts) + "\n"


def _trained(found: CrossCorpus) -> list[str]:
    return [f"{row.name}: trained on {row.trained_on}, {row.folds}." for row in found.rows]


def _markdown(head: Sequence[str], lines: Lines, texts: int) -> str:
    rule = ["---"] * texts + ["---:"] * (len(head) - texts)
    return "\n".join(map(pipes, [list(head), rule, *lines]))


def as_latex(found: CrossCorpus) -> str:
    """LaTeX tables for the booktabs package: scores, classes of each row, differences."""
    parts = [_latex(title(found), "cross_corpus", SCORE_HEAD, score_lines(found), texts=2)]
    for n, row in enumerate(found.rows, start=1):
        name = f"{row.name} on {found.corpus}: recall, and what the ensemble answers"
        parts.append(_latex(name, f"classes_{n}", class_head(row), class_lines(row), texts=1))
    if found.differences:
        name, lines = f"Differences on {found.corpus}, in points", difference_lines(found)
        parts.append(_latex(name, "differences", DIFFERENCE_HEAD, lines, texts=2))
    comments = "\n".join(f"% {line}" for line in [*_trained(found), *legend(found)])
    return comments + "\n" + "\n\n".join(parts) + "\n"


def _latex(caption: str, label: str, head: Sequence[str], lines: Lines, texts: int) -> str:
    columns = r"p{0.24\linewidth}" * texts + "r" * (len(head) - texts)
    body = [" & ".join(map(latex_text, cells)) + r" \\" for cells in [list(head), *lines]]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{latex_text(caption)}.}}",
            rf"\label{{tab:{label}}}",
            r"\footnotesize",
            r"\setlength{\tabcolsep}{3pt}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            body[0],
            r"\midrule",
            *body[1:],
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


_FIELDS: Final = ("mean", "std_repeats", "std_folds", "std_runs", "pooled")


def as_csv(found: CrossCorpus) -> str:
    """CSV, a line for each of a row's own test scores, its runs here, and its ensemble here."""
    head = ["row", "trained_on", "tested_on", "of"]
    for name in SCORES:
        head += [f"{name}_{field}" for field in _FIELDS]
        head += [f"{name}_low", f"{name}_high"] if name in RESAMPLED else []
    head += ["calibration_error", "utterances", "runs_done", "runs_planned", "absent"]
    rows: list[list[str | float | None]] = []
    for row in found.rows:
        runs, num = [row.done, row.planned], sum(row.support)
        own = _csv_scores(row.own, {})
        rows.append([row.name, row.trained_on, row.trained_on, "own test parts", *own])
        rows[-1] += [None, None, *runs, ""]
        for what in WHATS:
            measured = row.measured(what)
            rows.append([row.name, row.trained_on, found.corpus, what])
            rows[-1] += _csv_scores(measured.scores, measured.intervals)
            rows[-1] += [measured.calibration_error, num, *runs, ", ".join(row.absent)]
    return csv_text(head, rows)


def _csv_scores(
    scores: Mapping[str, Statistic], intervals: Mapping[str, Interval | None]
) -> list[float | None]:
    cells: list[float | None] = []
    for name in SCORES:
        cells += [getattr(scores[name], field) for field in _FIELDS]
        if name in RESAMPLED:
            ends = intervals.get(name)
            cells += [None, None] if ends is None else [ends.low, ends.high]
    return cells


def classes_csv(found: CrossCorpus) -> str:
    """CSV, a line for each true class and each predicted one: counts, and the true one's recall."""
    rows: list[list[str | float | None]] = [
        [row.name, what, true, predicted, measured.confusion[n][k], measured.recalls[n]]
        for row in found.rows
        for what in WHATS
        for measured in [row.measured(what)]
        for n, true in enumerate(row.classes)
        for k, predicted in enumerate(row.classes)
    ]
    return csv_text(["row", "of", "emotion", "predicted", "count", "recall"], rows)


def differences_csv(found: CrossCorpus) -> str:
    """CSV, a line for each difference, shares in 0–1."""
    rows: list[list[str | float | None]] = [
        [one.row, one.other, one.what, name, one.scores[name], *_ends(one.intervals[name])]
        for one in found.differences
        for name in RESAMPLED
    ]
    return csv_text(["row", "other", "of", "score", "difference", "low", "high"], rows)


def _ends(found: Interval | None) -> list[float | None]:
    return [None, None] if found is None else [found.low, found.high]


def as_json(found: CrossCorpus) -> str:
    """JSON with all digits."""
    values = {
        "tested_on": found.corpus,
        "rows": [_json_row(row) for row in found.rows],
        "differences": [asdict(one) for one in found.differences],
        "notes": list(legend(found)),
    }
    return json_bytes(values).decode()


def _json_row(row: RowScores) -> dict[str, Any]:
    return {
        "name": row.name,
        "trained_on": row.trained_on,
        "folds": row.folds,
        "own_test_scores": {name: asdict(found) for name, found in row.own.items()},
        "classes": list(row.classes),
        "support": list(row.support),
        "absent": list(row.absent),
        "groups": row.groups,
        "num_groups": row.num_groups,
        "one_answer": dict(row.one_answer),
        "runs": _json_measured(row.runs),
        "ensemble": _json_measured(row.ensemble),
        "runs_done": row.done,
        "runs_planned": row.planned,
    }


def _json_measured(found: Measured) -> dict[str, Any]:
    values = asdict(found)
    return {**values, "confusion": [list(counts) for counts in found.confusion]}


FILES: Final[Mapping[str, Callable[[CrossCorpus], str]]] = {
    "tables.md": as_markdown,
    "tables.tex": as_latex,
    "tables.csv": as_csv,
    "classes.csv": classes_csv,
    "differences.csv": differences_csv,
    "tables.json": as_json,
}
"""Name of a file in the report's folder → function that returns its text."""


def write_files(found: CrossCorpus, predictions: "DataFrame", folder: Path) -> list[Path]:
    """Write all `FILES` and the predictions into a folder; returns their paths."""
    for name, render in FILES.items():
        write_bytes(folder / name, render(found).encode())
    write_bytes(folder / PREDICTIONS, predictions_csv(predictions).encode())
    return [folder / name for name in (*FILES, PREDICTIONS)]


def predictions_csv(predictions: "DataFrame") -> str:
    """CSV, a line for each utterance of each run, and of the ensemble."""
    shares = [name for name in predictions.columns if name.startswith("p_")]
    lines = (
        [*texts, *("" if p != p else f"{p:.6f}" for p in found)]
        for texts, found in zip(
            predictions.drop(columns=shares).itertuples(index=False),
            predictions[shares].to_numpy(),
            strict=True,
        )
    )
    return csv_text(predictions.columns, lines)
