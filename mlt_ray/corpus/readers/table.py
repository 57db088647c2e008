"""Reads tables of text: a first line that names the columns, and rows of cells below it.

Cells are separated by commas. A file is cut at semicolons, tabs or bars where that gives its first
line the columns that are asked for, and commas do not.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mlt_ray.corpus.texts import decode, marked_encoding
from mlt_ray.corpus.utterance import Problem
from mlt_ray.errors import UserError

MOST_BYTES: Final = 1 << 29
"""Largest table that is read: some millions of utterances."""

_SEPARATORS: Final = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}

_NO_TEXT: Final = {
    b"PK\x03\x04": "an Excel workbook or another ZIP archive",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"\x1f\x8b": "a gzip archive",
    b"PAR1": "a Parquet file",
}
"""How files begin that people take for CSV."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table whose first line has the columns that were asked for.

    `columns` are all that the file has, in lower case. `notes` say what was guessed. `separator`
    stands between the cells of `text`, and a quote inside of a cell is an error if it `is_strict`.
    """

    path: Path
    columns: tuple[str, ...]
    notes: tuple[Problem, ...]
    text: str
    separator: str
    is_strict: bool

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """The cells of each row that has some, and the number of the line at which it ends.

        Raises `UserError` for a quote that is not closed, which would swallow the lines below.
        """
        reader = self._reader(self.text)
        start, last = 0, 0
        try:
            named = False
            for cells in reader:
                start, last = last, reader.line_num
                if not any(cells):
                    continue
                if named:
                    yield last, cells
                named = True
        except csv.Error as error:
            raise self._damaged(reader.line_num, str(error)) from error
        self._check_closed(start, last)

    def _reader(self, text: str, is_strict: bool = False) -> Any:
        lines = io.StringIO(text, newline="")
        return csv.reader(lines, delimiter=self.separator, strict=is_strict or self.is_strict)

    def _check_closed(self, start: int, last: int) -> None:
        """`UserError` if the row after the line number `start` ends inside a quote."""
        lines = io.StringIO(self.text, newline="")
        end = "".join(line for number, line in enumerate(lines, start=1) if number > start)
        try:
            list(self._reader(end, is_strict=True))
        except csv.Error as error:
            # Other faults are read in one way or another, as they always were.
            if "unexpected end of data" in str(error):
                raise self._damaged(start + 1, "a quote that is not closed") from error

    def _damaged(self, line: int, got: str) -> UserError:
        return UserError(
            f"{self.path}, line {line}: expected CSV, got: {got}; put texts in quotes, and double "
            "the quotes inside"
        )


def open_table(
    path: Path,
    columns: Sequence[str],
    optional: Sequence[str] = (),
    *,
    is_strict: bool = False,
) -> Table:
    """The table in a file, which has the `columns`, in any order and case, each once.

    `is_strict`: quotes inside of a cell are an error, and so is an encoding that is guessed. Raises
    `UserError` if there is no such file, if it is no text, if its encoding cannot be guessed, if it
    lacks a column, or has one of these or of the `optional` ones twice.
    """
    text, guess = _text_of(path, columns, is_strict)
    separator, found = _header(path, text, columns)
    if missing := [name for name in columns if name not in found]:
        got = ", ".join(found) or "an empty file"
        raise UserError(
            f"{path}: expected columns {', '.join(columns)}, got {got:.200}; add "
            f"{', '.join(missing)} to the first line"
        )
    if twice := [name for name in (*columns, *optional) if found.count(name) > 1]:
        raise UserError(f"{path}: column {twice[0]} stands there twice; remove one")
    notes = [guess] if guess else []
    if separator != ",":
        notes.append(f"expected commas between cells, reads {_SEPARATORS[separator]}")
    return Table(
        path=path,
        columns=tuple(found),
        notes=tuple(Problem(where=path.name, reason=note, fatal=False) for note in notes),
        text=text,
        separator=separator,
        is_strict=is_strict,
    )


def _text_of(path: Path, columns: Sequence[str], is_strict: bool) -> tuple[str, str]:
    """The text of a file, and what of its encoding was guessed."""
    if not path.is_file():
        raise UserError(f"{path}: expected a CSV file with columns {', '.join(columns)}, got none")
    try:
        if (size := path.stat().st_size) > MOST_BYTES:
            raise UserError(
                f"{path}: expected at most {MOST_BYTES >> 20} MiB, got {size >> 20} MiB; cut it "
                "into several corpora"
            )
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: expected a CSV file, got: {error.strerror}") from error
    for start, what in _NO_TEXT.items():
        if data.startswith(start):
            raise UserError(f"{path}: expected CSV in UTF-8, got {what}; save it as CSV")
    content = decode(data)
    if not content.is_sure or (is_strict and content.guess and not marked_encoding(data)):
        raise UserError(f"{path}: {content.guess}")
    if (place := content.text.find("\0")) >= 0:
        line = content.text.count("\n", 0, place) + 1
        raise UserError(f"{path}, line {line}: expected text, got a NUL byte; write the file again")
    return content.text, content.guess


def _header(path: Path, text: str, columns: Sequence[str]) -> tuple[str, list[str]]:
    """What separates the cells, and the names in the first line that is not blank."""
    headers = {}
    for separator in _SEPARATORS:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        try:
            names = next((row for row in reader if any(row)), [])
        except csv.Error as error:
            raise UserError(
                f"{path}, line {reader.line_num}: expected names of columns, got: {error}"
            ) from error
        headers[separator] = [name.strip().lower() for name in names]
    fitting = (s for s, names in headers.items() if set(columns) <= set(names))
    separator = next(fitting, ",")
    return separator, headers[separator]


def read_table(
    path: Path, columns: Sequence[str], optional: Sequence[str] = ()
) -> tuple[list[dict[str, str]], list[Problem]]:
    """The cells of each row by column, and notes on what was guessed.

    Columns that are neither asked for nor `optional` are left out. Cells that a row lacks are
    empty. Raises `UserError` as `open_table` does, and if a row has too many cells.
    """
    table = open_table(path, columns, optional)
    wanted = [*columns, *(name for name in optional if name in table.columns)]
    places = {name: table.columns.index(name) for name in wanted}
    rows = []
    for line, cells in table.rows():
        if len(cells) > len(table.columns):
            raise UserError(
                f"{path}, line {line}: has more cells than the first line; quote texts that hold "
                "commas"
            )
        cells += [""] * (len(table.columns) - len(cells))
        rows.append({name: cells[place].strip() for name, place in places.items()})
    return rows, list(table.notes)
