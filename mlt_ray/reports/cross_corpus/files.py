"""Files of rows on another corpus: the tables of people, CSV and JSON with all digits.

To add a file format, write a function that turns a `CrossCorpus` into text and add it to `FILES`.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mlt_ray.reports.cross_corpus.cells import legend
from mlt_ray.reports.cross_corpus.scores import (
    RESAMPLED,
    SCORES,
    WHATS,
    CrossCorpus,
    Measured,
    RowScores,
)
from mlt_ray.reports.cross_corpus.tables import as_latex, as_markdown
from mlt_ray.reports.resampling import Interval
from mlt_ray.reports.statistics import Statistic
from mlt_ray.storage.files import json_bytes, write_bytes
from mlt_ray.storage.spreadsheet import csv_text

if TYPE_CHECKING:
    from pandas import DataFrame

PREDICTIONS: Final = "predictions.csv"

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
