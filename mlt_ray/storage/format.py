"""The format of the files that a store keeps for good: reports, records and evaluations.

A file without a number is of format 1, as all were before there was one. The number rises when an
earlier version would misread what is written; files of all earlier formats stay readable.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mlt_ray.errors import UserError

FORMAT: Final = 1

_KEY: Final = "format"


def with_format(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values to be written, and the number of their format."""
    return {_KEY: FORMAT, **values}


def without_format(values: Any, path: Path) -> dict[str, Any]:
    """Values that were read from a file, without the number of their format.

    Raises `UserError` if a newer version has written them, `TypeError` if they are no mapping.
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"expected a mapping, got {type(values).__name__}")
    found = values.get(_KEY, 1)
    if not isinstance(found, int) or found > FORMAT:
        raise UserError(
            f"{path}: expected format {FORMAT} or an earlier one, got {found!r}, which a newer "
            "version of mlt_ray has written; update mlt_ray, or name another --store"
        )
    return {key: value for key, value in values.items() if key != _KEY}
