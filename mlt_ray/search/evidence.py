"""What a search may know of a run: its dev scores and its costs, never a test score."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mlt_ray.storage.report import Epoch, RunReport
from mlt_ray.studies.space import Objective


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a search sees of a finished run. Scores are shares in 0–1, at the best epoch."""

    curve: tuple[Epoch, ...]
    dev_wa: float
    dev_ua: float
    dev_macro_f1: float
    num_parameters: int
    computed_s: float


def evidence_of(report: RunReport) -> Evidence:
    """The dev scores and costs of a report. A search sees no report itself, so no test score."""
    dev = report.scores["dev"]
    return Evidence(
        curve=report.curve,
        dev_wa=dev["wa"],
        dev_ua=dev["ua"],
        dev_macro_f1=dev["macro_f1"],
        num_parameters=report.num_parameters,
        computed_s=report.computed_s,
    )


VALUE: Mapping[Objective, Callable[[Evidence], float]] = {
    "dev_ua": lambda found: found.dev_ua,
    "dev_wa": lambda found: found.dev_wa,
    "dev_macro_f1": lambda found: found.dev_macro_f1,
    "num_parameters": lambda found: found.num_parameters,
    "computed_s": lambda found: found.computed_s,
}
"""The value of each objective for one run; a configuration's is the mean over its runs."""
