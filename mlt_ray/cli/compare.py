"""The verb ``compare``."""

from typing import Annotated, Literal

import typer
from rich.console import Console

from mlt_ray.cli.options import DEFAULT_STORE, Store
from mlt_ray.display.waiting import waiting

Study = Annotated[
    str, typer.Argument(help="A study that was run in the store.", show_default=False)
]
Row = Annotated[
    str,
    typer.Argument(
        help="Name of a row; of another study in the store: STUDY/ROW.", show_default=False
    ),
]
Score = Annotated[Literal["wa", "ua"], typer.Option(help="The score to compare.")]


def compare(
    study: Study, row: Row, other: Row, store: Store = DEFAULT_STORE, score: Score = "ua"
) -> None:
    """Say whether two rows of a study differ: the corrected resampled t test over their folds.

    A row's score in a fold is the mean over its seeds. Folds share training utterances, which the
    test allows for (Nadeau and Bengio, 2003). The page report.html has all rows of a study.
    """
    from mlt_ray.storage.store import Store as RunStore
    from mlt_ray.workflows.compare import compare_rows

    with waiting(Console(stderr=True), "reading the store"):
        lines = compare_rows(study, row, other, RunStore(store).looking(), score)
    for line in lines:
        print(line)
