"""The settings of a study's rows: what they differ in, and what they have in common."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mlt_ray.storage.record import RowRecord

SECTIONS: Final = ("model", "features", "training", "folds", "classes")
"""Parts of a row's specification that a study's file can say."""

NAMED: Final = ("features.libraries", "training.libraries", "folds.members", "folds.num_folds")
"""Values that planning fills in, and that stand elsewhere on the page."""


def settings_of(rows: Sequence[RowRecord]) -> dict[str, Any]:
    """The rows' names, a line for each setting that they differ in, and the settings of all.

    A row whose system does not have a setting has an empty cell.
    """
    flat = [flattened(row.spec) for row in rows]
    keys = dict.fromkeys(key for values in flat for key in values)
    differing = [key for key in keys if len({values.get(key) for values in flat}) > 1]
    return {
        "names": [row.name for row in rows],
        "differing": [(key, [values.get(key, "") for values in flat]) for key in differing],
        "common": [f"{key}: {flat[0][key]}" for key in keys if key not in differing],
    }


def flattened(spec: Mapping[str, Any]) -> dict[str, str]:
    """A row's settings as text, under dotted keys such as ``model.width``."""
    found: dict[str, str] = {}

    def walk(values: Mapping[str, Any], prefix: str) -> None:
        for key, value in values.items():
            name = prefix + key
            if isinstance(value, Mapping):
                walk(value, f"{name}.")
            elif name not in NAMED:
                found[name] = text(value)

    walk({name: spec[name] for name in SECTIONS if name in spec}, "")
    return found


def text(value: Any) -> str:
    """A value as a study's file would say it, on one line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(text, value))}]"
    return str(value)
