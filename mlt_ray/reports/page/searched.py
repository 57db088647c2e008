"""What a report's page says of a search: its configurations and their dev scores."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlt_ray.storage.record import StudyRecord, is_best
from mlt_ray.storage.store import Store
from mlt_ray.studies.space import MAXIMISED


@dataclass(frozen=True, kw_only=True)
class SearchContent:
    """The configurations that a search tried before its best were trained on all folds and seeds.

    `objective` is the first one, which is maximised or not. `configurations` are the rows of
    ``search.json``, by number.
    """

    title: str
    parameters: tuple[str, ...]
    objective: str
    is_maximised: bool
    configurations: tuple[Mapping[str, Any], ...]
    importances: Mapping[str, float]

    @property
    def is_share(self) -> bool:
        """Whether the objective is a score in 0–1, shown in percent."""
        return self.objective in MAXIMISED

    @property
    def scale(self) -> float:
        """What the objective's values are multiplied with to be shown."""
        return 100.0 if self.is_share else 1.0

    @property
    def label(self) -> str:
        """The objective as the page calls it."""
        names = {"dev_ua": "dev UA, %", "dev_wa": "dev WA, %", "dev_macro_f1": "dev macro F1, %"}
        return names.get(self.objective, self.objective.replace("_", " "))

    @property
    def known(self) -> tuple[Mapping[str, Any], ...]:
        """Configurations that have a score: those of pruned ones are of fewer runs."""
        return tuple(c for c in self.configurations if c[self.objective] is not None)

    @property
    def best_so_far(self) -> tuple[float, ...]:
        """The best score of complete configurations up to each of `known`; NaN before the first."""
        best, found = math.nan, []
        pick = max if self.is_maximised else min
        for configuration in self.known:
            if configuration["state"] == "complete":
                value = float(configuration[self.objective])
                best = value if math.isnan(best) else pick(best, value)
            found.append(best)
        return tuple(found)

    @classmethod
    def read(cls, record: StudyRecord, store: Store) -> "SearchContent | None":
        """What the store has of the search whose best a study's rows are; None if they are none."""
        if not record.rows or not all(is_best(row.name) for row in record.rows):
            return None
        values = store.read_json(store.report_dir(record.study) / "search.json")
        if values is None or "objectives" not in values:
            return None
        objective, direction = next(iter(values["objectives"].items()))
        return cls(
            title=values["title"],
            parameters=tuple(values["parameters"]),
            objective=objective,
            is_maximised=direction == "max",
            configurations=tuple(values["configurations"]),
            importances=values["importances"],
        )
