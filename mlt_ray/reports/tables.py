"""Formats tables of published and measured scores: terminal, Markdown, LaTeX, CSV and JSON.

To add a file format, write a function that turns the tables into text and add it to `FILES`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table as RichTable

from mlt_ray.reports.collect import Table, TableRow
from mlt_ray.reports.statistics import Statistic
from mlt_ray.storage.files import json_bytes, write_bytes
from mlt_ray.storage.spreadsheet import csv_text

SHOWN_SCORES = ("wa", "ua")
"""Attributes of `Aggregate`, and keys of the published scores, that have columns."""

HEADINGS = ("published WA", "published UA", "measured WA", "measured UA", "runs")
"""Headings of the cells that `row_cells` returns."""

LEGEND = (
    "WA = correct / all; UA = mean over classes of recall.",
    "± is the sample standard deviation, over the repeats (seeds), of the mean over five folds; "
    "the published ± is taken to be the same.",
)


def as_terminal(table: Table) -> RichTable:
    """A table that `rich` prints."""
    title, below = escape(table.title), escape(caption(table))
    shown = RichTable(title=title, caption=below, box=box.HORIZONTALS, padding=0)
    # Long names are broken into lines, numbers are not.
    shown.add_column("row", overflow="fold")
    for heading in HEADINGS:
        shown.add_column(heading.replace(" ", "\n"), justify="right", no_wrap=True)
    for row in table.rows:
        # Without blanks, the row fits into a terminal of 80 characters.
        shown.add_row(escape(row.name), *(cell.replace(" ", "") for cell in row_cells(row)))
    return shown


def as_markdown(tables: Sequence[Table]) -> str:
    """Markdown, one section per table, with both deviations and the pooled scores."""
    parts = []
    for table in tables:
        head = ["row", *HEADINGS, "WA ± over runs", "UA ± over runs", "pooled WA", "pooled UA"]
        lines = [f"## {table.title}", "", caption(table), "", _pipes(head)]
        lines.append(_pipes(["---"] + ["---:"] * (len(head) - 1)))
        lines += [_pipes([row.name, *row_cells(row), *_extra_cells(row)]) for row in table.rows]
        parts.append("\n".join(lines))
    return "\n\n".join([*parts, *LEGEND]) + "\n"


def as_latex(tables: Sequence[Table]) -> str:
    """LaTeX tables for the booktabs package."""
    parts = []
    for table in tables:
        body = [
            " & ".join(_latex(c) for c in [row.name, *row_cells(row)]) + r" \\"
            for row in table.rows
        ]
        head = " & ".join(_latex(h) for h in ["row", *HEADINGS]) + r" \\"
        lines = [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_latex(table.title)}. {_latex(caption(table))}}}",
            r"\begin{tabular}{l" + "r" * len(HEADINGS) + "}",
            r"\toprule",
            head,
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
        parts.append("\n".join(lines))
    comments = "\n".join(f"% {line}" for line in LEGEND)
    return comments + "\n" + "\n\n".join(parts) + "\n"


def as_csv(tables: Sequence[Table]) -> str:
    """CSV, one line per row, shares in 0–1. Cells without a value are empty."""
    fields = ("mean", "std_repeats", "std_runs", "pooled")
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
            rows.append([*values, row.runs_done, row.runs_planned, ", ".join(row.changes)])
    return csv_text([*head, "runs_done", "runs_planned", "changed"], rows)


def as_json(tables: Sequence[Table]) -> str:
    """JSON with all digits. Deviations are over the repeats (`Statistic.std_repeats`)."""
    values = [
        {"study": t.study, "title": t.title, "rows": [_json_row(row) for row in t.rows]}
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
    """Line below a table: corpus and folds of the measured numbers, and changes from the study."""
    protocol = " and ".join(table.fold_by)
    text = f"Published: on IEMOCAP. Measured: on {table.corpus}, five folds by {protocol}, 3/1/1."
    return text + changes_text(table)


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
    parts += [f"{' and '.join(names)}: {', '.join(own)}" for own, names in groups.items() if own]
    return f" Changed from the study: {'; '.join(parts)}." if parts else ""


def row_cells(row: TableRow) -> list[str]:
    """The row's cells, one for each of `HEADINGS`."""
    published = [
        mean_and_deviation(*row.published[s]) if row.published else "" for s in SHOWN_SCORES
    ]
    measured = []
    for name in SHOWN_SCORES:
        found = _statistic(row, name)
        measured.append(mean_and_deviation(found.mean, found.std_repeats) if found else "")
    return [*published, *measured, f"{row.runs_done}/{row.runs_planned}"]


def mean_and_deviation(mean: float, std: float | None) -> str:
    """Mean and deviation as text, such as 0.730 ± 0.003; without ± if there is no deviation."""
    return f"{mean:.3f}" if std is None else f"{mean:.3f} ± {std:.3f}"


def _statistic(row: TableRow, score: str) -> Statistic | None:
    return getattr(row.measured, score) if row.measured else None


def _extra_cells(row: TableRow) -> list[str]:
    found = [s for s in (_statistic(row, name) for name in SHOWN_SCORES) if s is not None]
    if not found:
        return [""] * 4
    deviations = ["" if s.std_runs is None else f"{s.std_runs:.3f}" for s in found]
    return [*deviations, *(f"{s.pooled:.3f}" for s in found)]


def _json_row(row: TableRow) -> dict[str, Any]:
    measured = None
    if row.measured is not None:
        measured = {}
        for name in SHOWN_SCORES:
            found = getattr(row.measured, name)
            measured[f"{name}_mean"] = found.mean
            measured[f"{name}_std"] = found.std_repeats
    published = {k: list(v) for k, v in row.published.items()} if row.published else None
    return {
        "name": row.name,
        "published": published,
        "measured": measured,
        "runs_done": row.runs_done,
        "runs_planned": row.runs_planned,
        "changed": list(row.changes),
    }


def _pipes(values: Sequence[str]) -> str:
    return "| " + " | ".join(v.replace("|", r"\|") for v in values) + " |"


def _latex(text: str) -> str:
    names = {"\\": "textbackslash", "~": "textasciitilde", "^": "textasciicircum"}
    escapes = {c: rf"\{c}" for c in "&%_#${}"} | {c: rf"\{n}{{}}" for c, n in names.items()}
    return "".join({**escapes, "±": r"$\pm$"}.get(c, c) for c in text)
