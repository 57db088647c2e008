"""Which trained model a verb works with, and how it is opened."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mlt_ray.errors import UserError
from mlt_ray.storage.store import Store

if TYPE_CHECKING:
    from mlt_ray.inference.predictor import Predictor

MOST_NAMED: Final = 20
"""Rows that the message names where none was asked for."""

Tell = Callable[[str], None]
"""Called with each line for the user that is no result."""


@dataclass(frozen=True, kw_only=True)
class ModelChoice:
    """What the verb was asked to work with.

    `name` is ``STUDY/ROW``, a run's digest or an exported folder (None: the best row of the store's
    only study). `place` is that of the store. `device` None: a GPU if there is one. `glove` and
    `model_file` are those of `mlt_ray.inference.load.load`.
    """

    name: str | None
    place: str
    device: str | None = None
    glove: Path | None = None
    model_file: Path | None = None

    @cached_property
    def store(self) -> Store:
        """The store, to look into."""
        return Store(self.place).looking()

    def open(self, tell: Tell = lambda line: None) -> "Predictor":
        """The model at work; `tell` is called with what it is and what is to know about it."""
        # Not at the top: torch takes a second to import.
        from mlt_ray.inference.load import load

        name = self.name
        if name is None:
            name = best_model(self.store)
            tell(f"{name} is the best row on dev")
        predictor = load(
            name, self.store, device=self.device, glove=self.glove, model_file=self.model_file
        )
        model, runs = predictor.model, len(predictor.model.runs)
        for note in model.notes:
            tell(f"note: {note}")
        tell(f"{model.name}: the mean of {runs} runs" if runs > 1 else model.name)
        return predictor


def best_model(store: Store) -> str:
    """The best row by UA on dev of the store's only study, as ``STUDY/ROW``.

    Raises `UserError`, which names the rows there are, if there is another number of studies.
    """
    from mlt_ray.reports.collect import find_record

    studies = store.studies()
    if len(studies) != 1:
        names = [f"{s}/{row.name}" for s in studies for row in find_record(s, store).rows]
        if not names:
            raise UserError(
                f"{store}: expected a study that was run, found none; name another --store, or "
                "train one: mlt-ray demo"
            )
        shown = ", ".join(names[:MOST_NAMED])
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        raise UserError(f"--model: expected one of {shown}{more}, got none; name one")
    # Imported here, since they need pandas, which takes half a second.
    from mlt_ray.reports.frames import finished_runs, runs_frame
    from mlt_ray.reports.reference import best_by_dev

    record = find_record(studies[0], store)
    runs = runs_frame(finished_runs([record], store))
    best = best_by_dev(runs, {row.name: row for row in record.rows})
    if best is None:
        raise UserError(
            f"{store}: expected finished runs of {studies[0]}, found none; run it first"
        )
    return f"{studies[0]}/{best}"
