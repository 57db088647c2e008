"""Systems: what a study may name, and what the file of a model of one's own is written with.

``from mlt_ray.models import ModelSpec, System, builds`` and the like are loaded when they are asked
for, since networks need torch and values do not.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlt_ray.batch import NO_LABEL as NO_LABEL
    from mlt_ray.batch import Batch as Batch
    from mlt_ray.batch import InputSizes as InputSizes
    from mlt_ray.models.convolution import Conv1d as Conv1d
    from mlt_ray.models.dropout import Dropout as Dropout
    from mlt_ray.models.registry import builds as builds
    from mlt_ray.models.system import System as System
    from mlt_ray.spec import ExtraInput as ExtraInput
    from mlt_ray.spec import ModelSpec as ModelSpec

_HOMES = {
    "NO_LABEL": "mlt_ray.batch",
    "Batch": "mlt_ray.batch",
    "InputSizes": "mlt_ray.batch",
    "Conv1d": "mlt_ray.models.convolution",
    "Dropout": "mlt_ray.models.dropout",
    "builds": "mlt_ray.models.registry",
    "System": "mlt_ray.models.system",
    "ExtraInput": "mlt_ray.spec",
    "ModelSpec": "mlt_ray.spec",
}
"""The module of each name."""

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(importlib.import_module(_HOMES[name]), name)
