"""Turns values of files into dataclasses, strictly, and checks the bounds of numbers."""

import dataclasses
import difflib
import functools
import json
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypeGuard, TypeVar

from mlt_ray.errors import UserError

T = TypeVar("T")

MOST_SHOWN: Final = 100
"""Characters of a value that a message quotes."""


@dataclass(frozen=True)
class Range:
    """The numbers that a field may have; it stands in the field's type, as in `Share`.

    `holds` narrows them further, and `text` then says how.
    """

    lowest: float
    highest: float
    without_lowest: bool = False
    without_highest: bool = False
    holds: Callable[[float], bool] | None = None
    text: str = ""

    def __contains__(self, value: float) -> bool:
        above = self.lowest < value if self.without_lowest else self.lowest <= value
        below = value < self.highest if self.without_highest else value <= self.highest
        return above and below and (self.holds is None or self.holds(value))

    def __str__(self) -> str:
        if self.text:
            return self.text
        if self.without_lowest or self.without_highest:
            above = "above" if self.without_lowest else "at least"
            below = "below" if self.without_highest else "at most"
            return f"{above} {self.lowest} and {below} {self.highest}"
        return f"from {self.lowest} to {self.highest}"


Share = Annotated[float, Range(0, 1, without_lowest=True, without_highest=True)]
"""A part of a whole that is neither nothing nor all."""

Rate = Annotated[float, Range(0, 1, without_highest=True)]
"""A rate of dropout."""

Layers = Annotated[int, Range(0, 1_000)]
"""A number of layers, which may be none."""

Width = Annotated[int, Range(1, 10_000_000)]
"""The number of values that a layer gives at a position. Memory ends far below the upper bound;
`mlt_ray.planning.memory` sees to that."""

Kernel = Annotated[int, Range(1, 10_000)]
"""The number of positions that a convolution sees at once."""

LONG = Range(-(2**63), 2**63 - 1)
"""A whole number whose field names no bounds, as one of a model of one's own may not."""

FINITE = Range(-sys.float_info.max, sys.float_info.max, text="that is finite")
"""Any other number of such a field."""


def check_numbers(values: Any) -> None:
    """`ValueError` for the first number of a dataclass that is not in its field's `Range`."""
    kind: Any = type(values)
    for name, hint in _hints(kind).items():
        value, bound = getattr(values, name), _range_of(hint)
        if bound is not None and _is_number(value) and value not in bound:
            raise ValueError(f"{name}: {_out_of(bound, value)}")


def check_value(kind: type, path: Sequence[str], value: Any, where: str) -> None:
    """`UserError` if a value of a file cannot be that of a field, whatever the other fields are.

    `path` names the field in the dataclass `kind`, through nested ones. A field that does not exist
    is not looked at.
    """
    for name in path[:-1]:
        kind = _hints(kind).get(name, object)
    hint = _hints(kind).get(path[-1]) if dataclasses.is_dataclass(kind) else None
    if hint is not None:
        _value(hint, value, where)


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    """The types of a dataclass's fields, with their `Range`."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return {f.name: hints[f.name] for f in dataclasses.fields(kind)}


def _range_of(hint: Any) -> Range | None:
    """The range of the numbers of a type; None if it has none."""
    if typing.get_origin(hint) is Annotated:
        return next((m for m in hint.__metadata__ if isinstance(m, Range)), None)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return next(filter(None, map(_range_of, typing.get_args(hint))), None)
    return None


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _out_of(bound: Range, value: float) -> str:
    return f"expected a number {bound}, got {shown(value)}"


def shown(value: object) -> str:
    """The value as a message quotes it: a long one is cut."""
    if isinstance(value, int) and abs(value) >= 10**MOST_SHOWN:
        return f"a whole number of more than {MOST_SHOWN} digits"
    try:
        text = repr(value)
    except ValueError:  # Python does not write whole numbers of more than 4300 digits
        return "a value with a number of too many digits"
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"


def parse_json(content: str | bytes) -> Any:
    """The value of a JSON text; `ValueError` for one that is no JSON or is nested too deeply."""
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("values that are nested too deeply") from None


def parse(kind: type[T], values: Any, where: str) -> T:
    """Build the dataclass `kind` from a mapping, with nested dataclasses from nested mappings.

    Raises `UserError` for an unknown key (naming the nearest known one), a missing key, a value of
    another type or a number out of bounds. The text begins with `where`. An int is accepted for a
    float.
    """
    if not isinstance(values, Mapping):
        raise UserError(f"{where}: expected a mapping of keys, got {shown(values)}")
    hints = _hints(typing.cast(Any, kind))
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
            raise UserError(
                f"{where}: expected one of {', '.join(map(str, args))}, got {shown(value)}"
            )
        return value
    if origin in (typing.Union, types.UnionType):
        return _one_of(args, value, where)
    kind = args[0] if origin is Annotated else hint
    if kind in (int, float):
        return _number(kind, _range_of(hint) or (LONG if kind is int else FINITE), value, where)
    if not isinstance(value, kind):
        raise UserError(f"{where}: expected {kind.__name__}, got {shown(value)}")
    return value


def _number(kind: type, bound: Range, value: Any, where: str) -> float:
    if not _is_number(value) or not isinstance(value, int | kind):
        raise UserError(f"{where}: expected {kind.__name__}, got {shown(value)}")
    if value not in bound:
        raise UserError(f"{where}: {_out_of(bound, value)}")
    number: float = kind(value)
    return number


def _one_of(hints: tuple[Any, ...], value: Any, where: str) -> Any:
    """The value as the first of several types that fits; None as None, if that is one of them."""
    if value is None and type(None) in hints:
        return None
    errors = []
    for hint in hints:
        bound = _range_of(hint)
        if bound is not None and _is_number(value) and value not in bound:
            raise UserError(f"{where}: {_out_of(bound, value)}")
        if hint is not type(None):
            try:
                return _value(hint, value, where)
            except UserError as error:
                errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    expected = " or ".join(map(_described, hints))
    raise UserError(f"{where}: expected {expected}, got {shown(value)}")


def _described(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return " or ".join(map(str, typing.get_args(hint)))
    if typing.get_origin(hint) is Annotated:
        hint = typing.get_args(hint)[0]
    return str(hint.__name__)


def check_keys(where: str, values: Any, known: Iterable[str]) -> None:
    """`UserError` if `values` is no mapping or has an unknown key."""
    known = list(known)
    if not isinstance(values, Mapping):
        raise UserError(f"{where}: expected a mapping of keys, got {shown(values)}")
    for key in values:
        if key not in known:
            raise unknown_key(where, key, known)
