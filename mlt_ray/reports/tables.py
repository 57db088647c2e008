"""Formats tables of published and measured scores: terminal, Markdown, LaTeX, CSV and JSON.

To add a file format, write a function that turns the tables into text and add it to `FILES`.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table as RichTable

from mlt_ray.corpus.fold_notes import first_gaps
from mlt_ray.labels import FOUR
from mlt_ray.reports.collect import Table, TableRow
from mlt_ray.reports.layers import layer_lines
from mlt_ray.reports.markup import latex_table, markdown_table, terminal_table
from mlt_ray.reports.statistics import Statistic
from mlt_ray.storage.files import json_bytes, write_bytes
from mlt_ray.storage.spreadsheet import csv_text

SHOWN_SCORES = ("wa", "ua")
"""Attributes of `Aggregate`, and keys of the published scores, that have columns."""

HEADINGS = ("published WA", "published UA", "measured WA", "measured UA", "runs")
"""Headings of a table that has published scores."""

MARK = "*"
"""Stands behind a UA that is the mean over fewer than all classes in some folds."""

_EXTRA_FIELDS = {
    "std_folds": "{} ± over folds",
    "std_runs": "{} ± over runs",
    "pooled": "pooled {}",
}
"""Fields of `Statistic` that only Markdown shows → the heading, around a score's name."""

_EXTRA = [text.format(s.upper()) for text in _EXTRA_FIELDS.values() for s in SHOWN_SCORES]

_FORMULAS = "WA = correct / all; UA = mean over classes of recall."
_DEVIATION = (
    "± is the sample standard deviation, over the repeats (seeds), of the mean over all folds"
)
_ONLY_SEED = "A row that reads no seed is run once a fold, and has no ±."


def legend(tables: Sequence[Table]) -> tuple[str, ...]:
    """Lines below tables that say what their columns are."""
    rows = [row for table in tables for row in table.rows]
    found = [_statistic(row, "ua") for row in rows]
    lines = [_FORMULAS]
    if any(row.published for row in rows):
        lines.append(f"{_DEVIATION}; the published ± is taken to be the same.")
    elif any(statistic and statistic.std_repeats is not None for statistic in found):
        lines.append(f"{_DEVIATION}.")
    if not all(row.reads_seed for row in rows):
        lines.append(_ONLY_SEED)
    return tuple(lines)


def headings(table: Table) -> tuple[str, ...]:
    """Headings of the cells that `row_cells` returns: published ones only where there are any."""
    return HEADINGS if _has_published(table) else HEADINGS[len(SHOWN_SCORES) :]


def _has_published(table: Table) -> bool:
    return any(row.published for row in table.rows)


def as_terminal(table: Table) -> RichTable:
    """A table that `rich` prints."""
    shown = terminal_table(["row", *headings(table)], _lines(table))
    shown.title = escape(table.title)
    shown.caption = escape("\n".join([caption(table), *layers_text(table)]))
    shown.caption_justify = "left"
    return shown


def as_markdown(tables: Sequence[Table]) -> str:
    """Markdown, one section per table, with all three deviations and the pooled scores."""
    parts = []
    for table in tables:
        head = ["row", *headings(table), *_EXTRA]
        lines = [
            [*cells, *_extra_cells(row)]
            for cells, row in zip(_lines(table), table.rows, strict=True)
        ]
        parts += [f"## {table.title}", caption(table), markdown_table(head, lines)]
        parts += ["\n".join(f"- {line}" for line in layers_text(table))]
    return "\n\n".join(filter(None, [*parts, *legend(tables)])) + "\n"


def as_latex(tables: Sequence[Table]) -> str:
    """LaTeX tables for the booktabs package."""
    parts = [
        latex_table(
            ["row", *headings(table)],
            _lines(table),
            caption=f"{table.title}. {caption(table)}",
            label=table.study,
            width=0.19,
        )
        for table in tables
    ]
    comments = "\n".join(f"% {line}" for line in legend(tables))
    return comments + "\n" + "\n\n".join(parts) + "\n"


def _lines(table: Table) -> list[list[str]]:
    return [[row.name, *row_cells(row, table)] for row in table.rows]


def as_csv(tables: Sequence[Table]) -> str:
    """CSV, one line per row, shares in 0–1. Cells without a value are empty."""
    fields = ("mean", "std_repeats", "std_folds", "std_runs", "pooled")
    head = ["study", "row"]
    head += [f"published_{s}_{k}" for s in SHOWN_SCORES for k in ("mean", "std")]
    head += [f"measured_{s}_{k}" for s in SHOWN_SCORES for k in fields]
    rows = []
    for table in tables:
        for row in table.rows:
            published = [
                v for s in SHOWN_SCORES for v in (row.published or {}).get(s, (None, None))
            ]
            measured = [getattr(_statistic(row, s), k, None) for s in SHOWN_SCORES for k in fields]
            values = [table.study, row.name, *published, *measured]
            gaps = row.measured.gaps if row.measured else ()
            values += [row.runs_done, row.runs_planned, ", ".join(row.changes), ", ".join(gaps)]
            rows.append(values)
    return csv_text([*head, "runs_done", "runs_planned", "changed", "gaps"], rows)


def as_json(tables: Sequence[Table]) -> str:
    """JSON with all digits. ``wa_std`` is the deviation over the repeats, `std_repeats`."""
    values = [
        {
            "study": t.study,
            "title": t.title,
            "rows": [_json_row(row) for row in t.rows],
            "notes": list(t.notes),
        }
        for t in tables
    ]
    return json_bytes({"tables": values}).decode()


FILES: dict[str, Callable[[Sequence[Table]], str]] = {
    "tables.md": as_markdown,
    "tables.tex": as_latex,
    "tables.csv": as_csv,
    "tables.json": as_json,
}
"""Name of a file in the report's folder → function that returns its text for some tables.

A new format needs its function and a line here: `write_tables` writes every file of this table.
"""


def write_tables(tables: Sequence[Table], out: Path) -> list[Path]:
    """Write all `FILES` into the folder `out`; returns their paths."""
    for name, render in FILES.items():
        write_bytes(out / name, render(tables).encode())
    return [out / name for name in FILES]


def caption(table: Table) -> str:
    """Line below a table: corpus, folds and classes of the measured numbers, and what was changed.

    Then what makes them other than usual: classes that a fold lacks, and the table's notes.
    """
    measured = [row for row in table.rows if row.measured is not None] or table.rows
    folds = _by_rows({row.name: row.folds for row in measured})
    text = "Published: on IEMOCAP. " if any(row.published for row in table.rows) else ""
    text += f"Measured: on {table.corpus}, {folds}."
    if any(row.classes != FOUR for row in measured):
        text += f" Classes: {_by_rows({r.name: ', '.join(r.classes) for r in measured})}."
    notes = "".join(f" {note[:1].upper()}{note[1:]}." for note in table.notes)
    return text + changes_text(table) + gaps_text(table) + notes


def _by_rows(texts: Mapping[str, str]) -> str:
    """The text of every row; said once if it is the same for all, else with the rows' names.

    The names of the largest group are left out where there are more than two.
    """
    groups: dict[str, list[str]] = {}
    for name, text in texts.items():
        groups.setdefault(text, []).append(name)
    if len(groups) < 2:
        return next(iter(groups), "")
    largest = max(groups, key=lambda text: len(groups[text]))
    if len(groups[largest]) > 2:
        del groups[largest]
        return "; ".join([*_of_rows(groups), f"the others: {largest}"])
    return "; ".join(_of_rows(groups))


def _of_rows(groups: Mapping[str, Sequence[str]]) -> list[str]:
    return [f"{' and '.join(names)}: {text}" for text, names in groups.items()]


def layers_text(table: Table) -> list[str]:
    """Lines that say which layers of a speech encoder a row's runs read, for rows that do."""
    return [
        f"{row.name}: {line}"
        for row in table.rows
        for line in layer_lines(row.layers, row.runs_done)
    ]


def gaps_text(table: Table) -> str:
    """What the mark at a UA says, with the folds and classes of each row that has one."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for row in table.rows:
        if row.measured is not None and row.measured.gaps:
            groups.setdefault(row.measured.gaps, []).append(row.name)
    if not groups:
        return ""
    is_common = len(groups) == 1 and all(
        not row.measured or row.measured.gaps for row in table.rows
    )
    parts = [
        first_gaps(gaps) if is_common else f"{' and '.join(names)}: {first_gaps(gaps)}"
        for gaps, names in groups.items()
    ]
    return f" {MARK} Not a mean over all classes: {'; '.join(parts)}."


def changes_text(table: Table) -> str:
    """Changes from the study's file: first those of all measured rows, then those of some rows."""
    measured = [row for row in table.rows if row.measured is not None]
    if not measured:
        return ""
    common = [o for o in measured[0].changes if all(o in row.changes for row in measured)]
    groups: dict[tuple[str, ...], list[str]] = {}
    for row in measured:
        own = tuple(o for o in row.changes if o not in common)
        groups.setdefault(own, []).append(row.name)
    parts = [", ".join(common)] if common else []
    for own, names in groups.items():
        if own:
            others = [row.name for row in measured if row.name not in names]
            is_most = len(others) < len(names)
            said = f"all but {' and '.join(others)}" if is_most else " and ".join(names)
            parts.append(f"{said}: {', '.join(own)}")
    return f" Changed from the study: {'; '.join(parts)}." if parts else ""


def row_cells(row: TableRow, table: Table) -> list[str]:
    """The row's cells, one for each of the table's `headings`."""
    published = [
        mean_and_deviation(*row.published[s]) if row.published else ""
        for s in SHOWN_SCORES
        if _has_published(table)
    ]
    measured = []
    for name in SHOWN_SCORES:
        found = _statistic(row, name)
        text = mean_and_deviation(found.mean, found.std_repeats) if found else ""
        is_marked = name == "ua" and row.measured is not None and row.measured.gaps
        measured.append(text + MARK if is_marked else text)
    return [*published, *measured, f"{row.runs_done}/{row.runs_planned}"]


def mean_and_deviation(mean: float, std: float | None) -> str:
    """Mean and deviation as text, such as 0.730 ± 0.003; without ± if there is no deviation."""
    return f"{mean:.3f}" if std is None else f"{mean:.3f} ± {std:.3f}"


def _statistic(row: TableRow, score: str) -> Statistic | None:
    return getattr(row.measured, score) if row.measured else None


def _extra_cells(row: TableRow) -> list[str]:
    found = [_statistic(row, name) for name in SHOWN_SCORES]
    values = [getattr(statistic, field, None) for field in _EXTRA_FIELDS for statistic in found]
    return ["" if value is None else f"{value:.3f}" for value in values]


def _json_row(row: TableRow) -> dict[str, Any]:
    measured = None
    if row.measured is not None:
        measured = {}
        for name in SHOWN_SCORES:
            found = getattr(row.measured, name)
            measured[f"{name}_mean"] = found.mean
            measured[f"{name}_std"] = found.std_repeats
            for field in _EXTRA_FIELDS:
                measured[f"{name}_{field}"] = getattr(found, field)
    published = {k: list(v) for k, v in row.published.items()} if row.published else None
    shown: dict[str, Any] = {
        "name": row.name,
        "published": published,
        "measured": measured,
        "runs_done": row.runs_done,
        "runs_planned": row.runs_planned,
        "changed": list(row.changes),
        "gaps": list(row.measured.gaps) if row.measured else [],
    }
    if row.layers:
        shown["layers"] = {k: dict(numbers) for k, numbers in row.layers.items()}
    return shown
