"""CSV that a spreadsheet can open: no text of ours or of a corpus becomes a formula in it."""

import csv
import io
from collections.abc import Iterable
from typing import Final

_FORMULA_STARTS: Final = tuple("=+-@\t\r\n＝＋－＠")
"""What a formula begins with, as OWASP's page on CSV injection lists it."""


def csv_text(
    head: Iterable[str | float | None], rows: Iterable[Iterable[str | float | None]]
) -> str:
    """Rows as CSV, below the names of their columns; ``None`` gives an empty cell.

    A text that a spreadsheet would take for a formula (``=1+1``, ``-a``) gets an apostrophe in
    front, and so does one that looks as if it had got one (``'=1+1``). `csv_rows` takes it off
    again. Numbers never get one.
    """
    output = io.StringIO()
    plain = csv.writer(output, lineterminator="\n")
    quoting = csv.writer(output, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for row in (head, *rows):
        cells = [_guarded(cell) for cell in row]
        # Python quotes no carriage return, at which it ends a row when it reads.
        has_return = any(isinstance(cell, str) and "\r" in cell for cell in cells)
        (quoting if has_return else plain).writerow(cells)
    return output.getvalue()


def csv_rows(text: str) -> list[list[str]]:
    """The rows of what `csv_text` wrote, that of the columns' names first."""
    return [[_unguarded(cell) for cell in row] for row in csv.reader(io.StringIO(text, newline=""))]


def plain_texts(cells: Iterable[str]) -> list[str]:
    """Cells of one column of what `csv_text` wrote, as another reader of CSV gives them."""
    return [_unguarded(cell) if cell.startswith("'") else cell for cell in cells]


def _guarded(cell: str | float | None) -> str | float | None:
    is_formula = isinstance(cell, str) and cell.lstrip("'").startswith(_FORMULA_STARTS)
    return f"'{cell}" if is_formula else cell


def _unguarded(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _guarded(cell[1:]) == cell else cell
