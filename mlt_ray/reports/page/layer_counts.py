"""Which numbers of layers the rows of a study differ in, and their scores as a figure."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from mlt_ray.reports.page import figures
from mlt_ray.reports.page.figures import Mean
from mlt_ray.storage.record import RowRecord


def layer_counts_of(rows: Sequence[RowRecord], means: Sequence[Mean]) -> Figure | None:
    """The rows' scores by numbers of layers, if these are what at least three rows differ in.

    Numbers that always go together count as one, and more than two are not drawn: None.
    """
    models = [_flat(row.spec.get("model", {})) for row in rows]
    keys = dict.fromkeys(key for model in models for key in model)
    differing = [key for key in keys if len({str(model.get(key)) for model in models}) > 1]
    if len(rows) < 3 or not all(key.endswith("_layers") for key in differing):
        return None
    groups: dict[tuple[int, ...], list[str]] = {}
    for key in differing:
        groups.setdefault(tuple(model[key] for model in models), []).append(key)
    if not 1 <= len(groups) <= 2:
        return None
    names = [" and ".join(_spoken(key) for key in own) for own in groups.values()]
    return figures.layer_counts(list(zip(*groups, strict=True)), means, names)


def _spoken(key: str) -> str:
    """A setting's name as words: layers of the text encoder."""
    return key.rpartition(".")[2].replace("_", " ")


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
