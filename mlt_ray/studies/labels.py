"""The key ``labels`` of a study: a named set, a list of classes, or a mapping of one's own.

labels: four                                          # or five, six, all
labels: [angry, sad]                                  # these emotions, in any usual spelling
labels: {angry: [anger, ang], calm: calm, leave_out: [other]}
labels: {angry: ang, other: [hap, sad], leave_out: rest}
"""

from collections.abc import Mapping
from typing import Any, Final

from mlt_ray.errors import UserError
from mlt_ray.labels import NAMED, Labels, usual
from mlt_ray.parsing import unknown_key

_LEAVE_OUT: Final = "leave_out"
_REST: Final = "rest"


def parse_labels(values: Any, where: str) -> Labels:
    """The labels that a YAML value describes; `UserError`, which begins with `where`."""
    if isinstance(values, str):
        if values not in NAMED:
            raise unknown_key(where, values, NAMED, "set")
        return NAMED[values]
    if isinstance(values, list):
        named = [_text(name, where) for name in values]
        for name in named:
            same = [n for n in named if usual(n) == (usual(name) or n)]
            if usual(name) and len(same) > 1:
                raise UserError(f"{where}: expected every emotion once, got {' and '.join(same)}")
        values = {**{name: name for name in named}, _LEAVE_OUT: _REST}
    if not isinstance(values, Mapping):
        raise UserError(
            f"{where}: expected {', '.join(NAMED)}, a list of classes, or classes with the names "
            f"that count as them, got {values!r}"
        )
    classes = tuple(
        (_text(cls, where), _names(names, f"{where}.{cls}"))
        for cls, names in values.items()
        if cls != _LEAVE_OUT
    )
    if len(classes) < 2:
        raise UserError(f"{where}: expected at least two classes, got {len(classes)}")
    left_out = values.get(_LEAVE_OUT, [])
    labels = Labels(
        name="",
        classes=classes,
        leave_out=None if left_out == _REST else _names(left_out, f"{where}.{_LEAVE_OUT}"),
    )
    _check_once(labels, where)
    return labels


def _check_once(labels: Labels, where: str) -> None:
    listed = [name.casefold() for _, names in labels.classes for name in names]
    listed += [name.casefold() for name in labels.leave_out or ()]
    for name in listed:
        if listed.count(name) > 1:
            raise UserError(f"{where}: expected {name} once, got it {listed.count(name)} times")


def _names(values: Any, where: str) -> tuple[str, ...]:
    if values == _REST:
        raise UserError(
            f"{where}: expected names of emotions, got {_REST}, which leave_out alone has"
        )
    return tuple(_text(name, where) for name in (values if isinstance(values, list) else [values]))


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        quotes = "; put yes and no in quotes" if isinstance(value, bool) else ""
        raise UserError(f"{where}: expected the name of an emotion, got {value!r}{quotes}")
    return value.strip()
