"""Inputs that are nearly right: a valid one, changed in a few places."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

DEEP: list[Any] = []
"""A list in a list in a list, and so on."""
for _ in range(60):
    DEEP = [DEEP]

TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["", " ", "a\nb", "\0", "../..", "/", "=1+1", "\ud800", "ſ", "1" * 5000, "x" * 3000]
    ),
)

JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([2**31, 2**63, 10**30, -(10**30), 10**400]),
    st.floats(),
    TEXTS,
    st.builds(lambda: copy.deepcopy(DEEP)),
    st.just([]),
    st.just({}),
    st.lists(st.one_of(st.integers(), TEXTS), max_size=3),
    st.dictionaries(TEXTS, st.integers(), max_size=2),
)
"""Values of any kind."""

PLACES = st.integers(0, 2**16)

NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if isinstance(value, dict):
        for key, inner in value.items():
            found += _paths(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found += _paths(inner, (*path, index))
    return found


def _inside(value: Any, path: Sequence[Any]) -> Any:
    for key in path:
        value = value[key]
    return value


@st.composite
def values(draw: Callable[[Any], Any], *valid: Any, junk: Any = JUNK) -> Any:
    """Nested values, one of the valid ones with up to three of them replaced, removed or moved."""
    root = [copy.deepcopy(draw(st.sampled_from(valid)))]
    for _ in range(draw(st.integers(0, 3))):
        paths = _paths(root)[1:]
        if not paths:
            break
        *place, key = paths[draw(PLACES) % len(paths)]
        holder = _inside(root, place)
        match draw(st.sampled_from(("replace", "remove", "move", "add", "rename"))):
            case "replace":
                holder[key] = draw(junk)
            case "remove" if place:
                del holder[key]
            case "move":
                holder[key] = copy.deepcopy(_inside(root, paths[draw(PLACES) % len(paths)]))
            case "add" if isinstance(holder[key], dict):
                holder[key][draw(TEXTS)] = draw(junk)
            case "add" if isinstance(holder[key], list):
                holder[key].append(draw(junk))
            case "rename" if isinstance(holder, dict):
                holder[draw(TEXTS)] = holder.pop(key)
    return root[0]


@st.composite
def contents(draw: Callable[[Any], Any], *valid: bytes) -> bytes:
    """Bytes, those of a valid file with up to six spans changed."""
    data = bytearray(draw(st.sampled_from(valid)))
    for _ in range(draw(st.integers(0, 6))):
        # Most of what decides stands at the start.
        reach = draw(st.sampled_from((16, 64, 512, max(1, len(data)))))
        start = draw(PLACES) % max(1, min(reach, len(data)))
        end = start + draw(st.sampled_from((1, 2, 4, 8, 64)))
        match draw(st.sampled_from(("set", "number", "cut", "insert", "double", "end", "splice"))):
            case "set":
                data[start:end] = draw(st.binary(min_size=1, max_size=8))
            case "number":
                size = draw(st.sampled_from((1, 2, 4, 8)))
                number = draw(st.sampled_from(NUMBERS)) % 256**size
                order = draw(st.sampled_from(("little", "big")))
                data[start : start + size] = number.to_bytes(size, order)
            case "cut":
                del data[start:end]
            case "insert":
                data[start:start] = draw(st.binary(max_size=16))
            case "double":
                data[start:start] = data[start:end]
            case "end":
                del data[start:]
            case "splice":
                data[start:end] = draw(st.sampled_from(valid))[start:end]
    return bytes(data)


ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252", "gb18030")

PIECES = st.sampled_from(
    (
        *(",", ";", "\t", "|", '"', '""', "'", "\n", "\r\n", "\r", "\0", "\ufeff", "é", "我", " "),
        *("[", "]", "{", "}", ":", "- ", "#", "&a ", "*a", "!!int ", "<<: ", "1e999", "-1", "../"),
        *("\x85", "\u2028", "\ud800", "999999999999999999999", "nan", "inf", "0x", "XX", "%"),
    )
)


@st.composite
def texts(draw: Callable[[Any], Any], *valid: str) -> str:
    """A text, a valid one with up to six pieces put in, left out or said twice."""
    text = draw(st.sampled_from(valid))
    for _ in range(draw(st.integers(0, 6))):
        start = draw(PLACES) % (len(text) + 1)
        end = start + draw(st.sampled_from((0, 1, 1, 3, 20)))
        middle = draw(st.one_of(PIECES, st.just(""), st.just(text[start:end] * 2), TEXTS))
        text = text[:start] + middle + text[end:]
    return text


@st.composite
def encoded(draw: Callable[[Any], Any], *valid: str) -> bytes:
    """The bytes of a text of `texts` in one of some encodings."""
    text = draw(texts(*valid))
    return text.encode(draw(st.sampled_from(ENCODINGS)), "replace")
