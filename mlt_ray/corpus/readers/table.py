"""Reads a CSV file whose first line names its columns."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from mlt_ray.corpus.texts import decode
from mlt_ray.corpus.utterance import Problem
from mlt_ray.errors import UserError


def read_table(
    path: Path, columns: Sequence[str], optional: Sequence[str] = ()
) -> tuple[list[dict[str, str]], list[Problem]]:
    """The cells of each line by column, and a note if the encoding of the file is guessed.

    Columns are found in any order and case; those that are neither asked for nor `optional` are
    left out. Cells that a line lacks are empty.
    Raises `UserError` if there is no such file, if it lacks a column, if a line has too many cells,
    or if the encoding cannot be guessed.
    """
    if not path.is_file():
        raise UserError(f"{path}: expected a CSV file with columns {', '.join(columns)}, got none")
    content = decode(path.read_bytes())
    if not content.is_sure:
        raise UserError(f"{path}: {content.guess}")
    reader = csv.DictReader(io.StringIO(content.text, newline=""), restval="")
    rows = []
    try:
        names = [name.strip().lower() for name in reader.fieldnames or []]
        if not set(columns) <= set(names):
            found = ", ".join(names) or "nothing"
            raise UserError(f"{path}: expected columns {', '.join(columns)}, got {found}")
        reader.fieldnames = names
        wanted = [*columns, *(name for name in optional if name in names)]
        for row in reader:
            if None in row:
                raise UserError(
                    f"{path}, line {reader.line_num}: has more cells than the first line; quote "
                    "texts that hold commas"
                )
            rows.append({name: row[name].strip() for name in wanted})
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: not CSV: {error}") from error
    notes = [Problem(where=path.name, reason=content.guess, fatal=False)] if content.guess else []
    return rows, notes
