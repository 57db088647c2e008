"""Estimates the time of all runs of the paper's tables from the measured steps per second."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

RUNS: Final = 240
"""Sixteen distinct rows, five folds, three seeds."""

EPOCHS: Final = 40
"""*Assumed* mean number of epochs per run with early stopping."""

TRAINED: Final = 3320
"""Utterances of a training part: 830 steps of 4."""


def estimates(findings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Hours of all runs if all were as fast as the measured row, and hours of each table row.

    Uses the `findings` with ``steps_per_s``, in which a step of a pack of N runs counts as N.
    """
    found: dict[str, Any] = {"runs": RUNS, "epochs": EPOCHS, "hours_if_all_were": {}, "rows": {}}
    for finding in findings:
        figures = finding.get("figures", {})
        if not figures.get("steps_per_s"):
            continue
        steps = EPOCHS * -(-TRAINED // figures["batch_size"])
        if "row" in figures:
            hours = figures["runs_of_row"] * steps / figures["steps_per_s"] / 3600
            found["rows"][figures["row"]] = round(hours, 4)
        if "way" in figures:
            hours = RUNS * steps / figures["steps_per_s"] / 3600
            found["hours_if_all_were"][figures["way"]] = round(hours, 3)
    if found["rows"]:
        found["hours_of_rows_measured"] = round(sum(found["rows"].values()), 3)
        found["rows_measured"] = len(found["rows"])
    return found
