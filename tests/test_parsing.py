"""Every number that a file can set has a lower and an upper bound, and is refused beyond them."""

import ast
import dataclasses
import importlib
import math
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pytest

import mlt_ray
from mlt_ray.errors import UserError
from mlt_ray.models.registry import SYSTEMS
from mlt_ray.parsing import FINITE, LONG, Range, check_keys, check_value, parse, shown

PACKAGE = Path(mlt_ray.__file__).parent

HUGE = (10**30, -(10**30), 1e300, -1e300, math.inf, -math.inf, math.nan, 10**400, 2**63)

MOST = 10**10
"""No bound is above it: what it bounds can be counted, and times 4 bytes and another such number it
is far below the end of int64."""

PLAIN: dict[str, dict[str, Any]] = {"ClassicalSpec": {"text": "tfidf"}}
"""What a dataclass needs besides its defaults."""


class Number(NamedTuple):
    """A number that a file can set: the dataclass that is read, the keys, and the type."""

    root: type
    path: tuple[str, ...]
    hint: Any

    def __str__(self) -> str:
        return ".".join((self.root.__name__, *self.path))

    def values(self, value: Any) -> dict[str, Any]:
        """The mapping of a file that sets the number alone."""
        nested: Any = value
        for name in reversed(self.path):
            nested = {name: nested}
        return {**PLAIN.get(self.root.__name__, {}), **nested}


def read_from_files() -> Iterator[type]:
    """Every dataclass that `mlt_ray` names in a call of `parse`, and those of all systems."""
    yield from SYSTEMS.values()
    for file in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "parse":
                name = ast.unparse(node.args[0])
                module = ".".join(("mlt_ray", *file.relative_to(PACKAGE).with_suffix("").parts))
                kind = getattr(importlib.import_module(module), name, None)
                if dataclasses.is_dataclass(kind):
                    yield typing.cast(type, kind)


def numbers_of(root: type, kind: Any = None, path: tuple[str, ...] = ()) -> Iterator[Number]:
    """The numbers of a dataclass, and of those in it."""
    kind = kind or root
    hints = typing.get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        for hint in alternatives(hints[field.name]):
            if dataclasses.is_dataclass(hint):
                yield from numbers_of(root, hint, (*path, field.name))
            elif plain(hint) in (int, float):
                yield Number(root, (*path, field.name), hint)


def alternatives(hint: Any) -> Iterator[Any]:
    """The types that a union has."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        for one in typing.get_args(hint):
            yield from alternatives(one)
    else:
        yield hint


def plain(hint: Any) -> Any:
    """The type without what is said beside it."""
    return typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint


KINDS = tuple(dict.fromkeys(read_from_files()))
NUMBERS = [number for kind in KINDS for number in numbers_of(kind)]


def test_the_dataclasses_that_files_set_are_found() -> None:
    names = {kind.__name__ for kind in KINDS}
    assert names >= {"FoldSpec", "FeatureSpec", "TrainingSpec", "SearchSpec", "Profile"}
    found = set(map(str, NUMBERS))
    assert found >= {
        "FeatureSpec.frames.window_ms",
        "Profile.resources.pack",
        "FoldSpec.number",
        "MultigranularitySpec.multilevel.width",
        "SpeechSpec.speech_layer",
    }


@pytest.mark.parametrize("number", NUMBERS, ids=str)
def test_a_number_has_a_lower_and_an_upper_bound(number: Number) -> None:
    bounds = [m for m in getattr(number.hint, "__metadata__", ()) if isinstance(m, Range)]
    assert len(bounds) == 1, f"{number}: give it Annotated[…, Range(lowest, highest)]"
    [bound] = bounds
    assert -MOST <= bound.lowest < bound.highest <= MOST


@pytest.mark.parametrize("number", NUMBERS, ids=str)
def test_a_number_beyond_its_bounds_is_refused_in_one_line(number: Number) -> None:
    [bound] = (m for m in number.hint.__metadata__ if isinstance(m, Range))
    key = ".".join(("file", *number.path))
    for value in (*HUGE, bound.highest + 1, bound.lowest - 1):
        with pytest.raises(UserError) as refused:
            parse(number.root, number.values(value), "file")
        text = str(refused.value)
        assert text.startswith(f"{key}: expected "), text
        assert "\n" not in text
        assert len(text) < 400


@pytest.mark.parametrize("number", NUMBERS, ids=str)
def test_python_cannot_set_it_either(number: Number) -> None:
    [bound] = (m for m in number.hint.__metadata__ if isinstance(m, Range))
    kind = number.root
    values: dict[str, Any] = dict(PLAIN.get(kind.__name__, {}))
    for name in number.path[:-1]:
        kind, values = plain(typing.get_type_hints(kind)[name]), {}
    for value in (bound.highest + 1, bound.lowest - 1, math.nan):
        with pytest.raises(ValueError, match=f"{number.path[-1]}: expected a number"):
            kind(**values, **{number.path[-1]: value})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Own:
    """Values of a model of one's own, without bounds."""

    width: int = 3
    rate: float = 0.5
    either: int | str = "x"
    several: Annotated[int, "said of it"] = 1


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 10**30])
@pytest.mark.parametrize("key", ["width", "several"])
def test_a_whole_number_without_bounds_fits_into_64_bits(key: str, value: int) -> None:
    with pytest.raises(
        UserError, match=rf"^own\.{key}: expected a number from -9223372036854775808"
    ):
        parse(Own, {key: value}, "own")
    assert parse(Own, {key: LONG.highest}, "own") == Own(**{key: 2**63 - 1})


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 10**400])
def test_a_number_without_bounds_is_finite(value: float) -> None:
    with pytest.raises(UserError, match=r"^own\.rate: expected a number that is finite, got "):
        parse(Own, {"rate": value}, "own")
    assert parse(Own, {"rate": FINITE.highest}, "own").rate == FINITE.highest


def test_a_whole_number_becomes_a_float_where_one_is_expected() -> None:
    found = parse(Own, {"rate": 2}, "own").rate
    assert found == 2.0
    assert isinstance(found, float)


@pytest.mark.parametrize("value", [10**5000, "x" * 5000, [1] * 5000], ids=type)
def test_a_long_value_is_cut_in_a_message(value: object) -> None:
    assert len(shown(value)) <= 101
    with pytest.raises(UserError) as refused:
        parse(Own, {"width": value}, "own")
    assert len(str(refused.value)) < 250


def test_the_value_of_one_field_is_checked_by_its_path() -> None:
    kind = SYSTEMS["multigranularity"]
    check_value(kind, ["multilevel", "width"], 7, "x")  # no multiple of its heads
    check_value(kind, ["multilevel", "no such"], 7, "x")
    with pytest.raises(UserError, match=r"^x: expected a number from 1 to \d+, got 0"):
        check_value(kind, ["multilevel", "width"], 0, "x")


def test_a_number_too_long_to_be_written_is_told_in_a_line() -> None:
    huge = 16**5000
    assert shown([huge]) == "a value with a number of too many digits"
    with pytest.raises(UserError, match="expected a mapping of keys, got a whole number of more"):
        check_keys("profile", huge, ["resources"])
