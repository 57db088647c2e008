"""How predictions are printed: a table, lines of JSON, or CSV."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Protocol, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlt_ray.inference.prediction import Prediction, Window
from mlt_ray.storage.spreadsheet import csv_text

NO_TERMINAL_WIDTH: Final = 160
"""Characters of a line of a table that goes into a file."""

_Cell = str | float | None


class Printer(Protocol):
    """Prints predictions of one set of classes."""

    def show(self, predictions: Sequence[Prediction]) -> None:
        """Take the predictions of a block, and print them if the form allows."""

    def end(self) -> None:
        """Print what is not printed yet."""


class JsonPrinter:
    """A line of JSON for each recording: `Prediction.as_dict`. Each block is there at once."""

    def __init__(self, output: TextIO, classes: Sequence[str]) -> None:
        self._output = output

    def show(self, predictions: Sequence[Prediction]) -> None:
        """Print the lines."""
        for prediction in predictions:
            print(json.dumps(prediction.as_dict()), file=self._output)
        self._output.flush()

    def end(self) -> None:
        """Nothing is left."""


class CsvPrinter:
    """A line for each recording, and below it one for each of its windows.

    Columns: ``audio, start_s, end_s`` (of a window), ``label, p_NAME`` (the share of each class),
    ``text, text_source``. Each block is there at once.
    """

    def __init__(self, output: TextIO, classes: Sequence[str]) -> None:
        self._output, self._classes = output, classes
        named = [f"p_{name}" for name in classes]
        self._head: list[list[_Cell]] = [
            ["audio", "start_s", "end_s", "label", *named, "text", "text_source"]
        ]

    def show(self, predictions: Sequence[Prediction]) -> None:
        """Print the lines, below the names of the columns if they are the first."""
        rows = [*self._head, *(row for one in predictions for row in self._rows(one))]
        self._head = []
        if rows:
            [first, *others] = rows
            self._output.write(csv_text(first, others))
            self._output.flush()

    def end(self) -> None:
        """Print the names of the columns, if there was no prediction at all."""
        self.show([])

    def _rows(self, prediction: Prediction) -> Iterator[list[_Cell]]:
        parts: list[Prediction | Window] = [prediction, *prediction.windows]
        for part in parts:
            span = [part.start_s, part.end_s] if isinstance(part, Window) else [None, None]
            shares = [part.probabilities[name] for name in self._classes]
            row: list[_Cell] = [_name(prediction), *span, part.label, *shares, part.text]
            yield [*row, prediction.text_source]


class TablePrinter:
    """One table of all recordings, and of the windows of long ones, when all are there."""

    def __init__(self, output: TextIO, classes: Sequence[str]) -> None:
        width = None if output.isatty() else NO_TERMINAL_WIDTH
        self._console = Console(file=output, width=width)
        self._classes = classes
        self._predictions: list[Prediction] = []

    def show(self, predictions: Sequence[Prediction]) -> None:
        """Keep them for the table."""
        self._predictions += predictions

    def end(self) -> None:
        """Print the table, unless there is no prediction."""
        if not self._predictions:
            return
        table = Table("file", "label")
        for name in self._classes:
            table.add_column(Text(name), justify="right")
        table.add_column("text")
        for prediction in self._predictions:
            parts: list[Prediction | Window] = [prediction, *prediction.windows]
            for part in parts:
                where = _span(part) if isinstance(part, Window) else _name(prediction)
                shares = (Text(f"{part.probabilities[name]:.2f}") for name in self._classes)
                table.add_row(Text(where), Text(part.label), *shares, Text(part.text))
        self._console.print(table)
        self._predictions = []


PRINTERS: Final[Mapping[str, Callable[[TextIO, Sequence[str]], Printer]]] = {
    "table": TablePrinter,
    "json": JsonPrinter,
    "csv": CsvPrinter,
}
"""What prints each format."""


def _name(prediction: Prediction) -> str:
    """The recording's name, with what no output can hold replaced."""
    return prediction.audio.encode("utf-8", "replace").decode()


def _span(window: Window) -> str:
    return f"  {window.start_s:.1f}–{window.end_s:.1f} s"
