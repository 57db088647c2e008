"""Cross-validated multimodal speech emotion recognition, orchestrated with Ray.

For notebooks: `run` computes a study as ``mlt-ray run`` does, `results` reads what a store has of
it; both give `Results`, whose frames are pandas'. `load` opens a trained model, which predicts;
`evaluate` tests trained rows on another corpus, as ``mlt-ray evaluate`` does.
These names, their arguments and the columns of the frames are kept from version to version.
"""

import importlib
from typing import TYPE_CHECKING, Any

from mlt_ray.errors import RunsFailed, UserError

if TYPE_CHECKING:
    from mlt_ray.inference.load import load
    from mlt_ray.reports.results import Results
    from mlt_ray.workflows.notebook import evaluate, results, run

__all__ = ["Results", "RunsFailed", "UserError", "evaluate", "load", "results", "run"]
__version__ = "0.1.0"

_HOMES = {
    "Results": "mlt_ray.reports.results",
    "evaluate": "mlt_ray.workflows.notebook",
    "load": "mlt_ray.inference.load",
    "results": "mlt_ray.workflows.notebook",
    "run": "mlt_ray.workflows.notebook",
}
"""Modules of the names that are imported when they are asked for: they need pandas."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
