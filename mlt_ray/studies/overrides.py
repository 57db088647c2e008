"""Changes values of a study file: by ``--set section.key=value``, and by a row's own values."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Final

from mlt_ray.documents import parse_yaml
from mlt_ray.errors import UserError
from mlt_ray.parsing import unknown_key
from mlt_ray.spec import SECTIONS

WHOLE: Final = ("labels", "protocol")
"""Settings of a row that are no sections."""


def parse_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """Nested values of ``section.key=value`` texts; a value is read as YAML.

    ``labels=value`` and ``protocol=name`` have no section.
    """
    nested: dict[str, Any] = {}
    for text in overrides:
        key, equals, value = text.partition("=")
        parts = key.strip().split(".")
        is_whole = parts in ([key] for key in WHOLE)
        if not equals or (len(parts) < 2 and not is_whole):
            expected = (
                "expected section.key=value, such as training.max_epochs=20, labels=… or protocol=…"
            )
            raise UserError(f"--set {text}: {expected}")
        if parts[0] not in SECTIONS and not is_whole:
            raise unknown_key("--set", parts[0], (*SECTIONS, *WHOLE), "section")
        leaf: dict[str, Any] = {parts[-1]: parse_yaml(value, f"--set {text}")}
        for part in reversed(parts[:-1]):
            leaf = {part: leaf}
        nested = merge(nested, leaf)
    return nested


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `below` with the values of `above` on top; mappings in both are merged."""
    merged = copy.deepcopy(dict(below))
    for key, value in above.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged
