"""Turns values of YAML files into dataclasses, strictly, and checks the bounds of numbers."""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple, TypeVar

from mlt_ray.errors import UserError

T = TypeVar("T")


class Bound(NamedTuple):
    """A condition on a number, and its text for messages."""

    holds: Callable[[float], bool]
    text: str


def at_least(least: float) -> Bound:
    """Bound of finite numbers ≥ `least`."""
    return Bound(lambda value: least <= value < math.inf, f"at least {least}")


ABOVE_0 = Bound(lambda value: 0 < value < math.inf, "above 0")
BETWEEN_0_AND_1 = Bound(lambda value: 0 < value < 1, "above 0 and below 1")
SHARE = Bound(lambda value: 0 <= value < 1, "at least 0 and below 1")


def require(values: object, bound: Bound, *names: str) -> None:
    """`ValueError` for the first of the named fields that is out of bounds. None is in bounds."""
    for name in names:
        value = getattr(values, name)
        if value is not None and not bound.holds(value):
            raise ValueError(f"{name}: expected a number {bound.text}, got {value}")


def parse(kind: type[T], values: Any, where: str) -> T:
    """Build the dataclass `kind` from a mapping, with nested dataclasses from nested mappings.

    Raises `UserError` for an unknown key (naming the nearest known one), a missing key, a value of
    another type or a number out of bounds. The text begins with `where`. An int is accepted for a
    float.
    """
    if not isinstance(values, Mapping):
        raise UserError(f"{where}: expected a mapping of keys, got {values!r}")
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise unknown_key(where, key, fields)
    for name, spec in fields.items():
        required = spec.default is dataclasses.MISSING
        if required and spec.default_factory is dataclasses.MISSING and name not in values:
            raise UserError(f"{where}: key {name} is missing")
    parsed = {k: _value(hints[k], v, f"{where}.{k}") for k, v in values.items()}
    try:
        return kind(**parsed)
    except ValueError as error:
        raise UserError(f"{where}.{error}") from error


def unknown_key(
    where: str, key: object, known: typing.Iterable[str], what: str = "key"
) -> UserError:
    """The error for an unknown name. It suggests the nearest known name, or else lists all."""
    known = list(known)
    near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
    remedy = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
    return UserError(f"{where}: unknown {what} {key}; {remedy}")


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return parse(typing.cast(type, hint), value, where)
    if origin is Literal:
        if value not in args:
            raise UserError(f"{where}: expected one of {', '.join(map(str, args))}, got {value!r}")
        return value
    if origin in (typing.Union, types.UnionType):
        return _one_of(args, value, where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if (hint is int and isinstance(value, bool)) or not isinstance(value, hint):
        raise UserError(f"{where}: expected {hint.__name__}, got {value!r}")
    return value


def _one_of(hints: tuple[Any, ...], value: Any, where: str) -> Any:
    """The value as the first of several types that fits; None as None, if that is one of them."""
    if value is None and type(None) in hints:
        return None
    errors = []
    for hint in hints:
        if hint is not type(None):
            try:
                return _value(hint, value, where)
            except UserError as error:
                errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    expected = " or ".join(map(_described, hints))
    raise UserError(f"{where}: expected {expected}, got {value!r}")


def _described(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return " or ".join(map(str, typing.get_args(hint)))
    return str(hint.__name__)


def check_keys(where: str, values: Any, known: Iterable[str]) -> None:
    """`UserError` if `values` is no mapping or has an unknown key."""
    known = list(known)
    if not isinstance(values, Mapping):
        raise UserError(f"{where}: expected a mapping of keys, got {values!r}")
    for key in values:
        if key not in known:
            raise unknown_key(where, key, known)
