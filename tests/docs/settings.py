"""Writes docs/settings.md from the classes that read studies: python -m tests.docs.settings."""

import dataclasses
import inspect
import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from mlt_ray.models.registry import SYSTEMS
from mlt_ray.spec import DEFAULT, FeatureSpec, FoldSpec, FramesSpec, TrainingSpec
from tests.docs.pages import DOCS

PAGE = DOCS / "settings.md"

HEAD = """# Settings

Every key of a study file or a search space, with its default: mostly the paper's value. `base`
holds those that all rows share; a row, or `--set section.key=value`, says otherwise. This page is
made from the classes that read them; the texts are theirs.
"""

BASES = {"folds": FoldSpec, "features": FeatureSpec, "features.frames": FramesSpec}
PLANNED = ("num_folds", "members", "libraries", "source")
"""Fields that planning fills in: no study says them."""


def text() -> str:
    """The page."""
    parts = [HEAD]
    for section, kind in {**BASES, "training": TrainingSpec}.items():
        parts += [f"## {section}\n", *_section(kind, section)]
    parts.append("## model\n\n`system` says which of these it is; a row's model has to name one.\n")
    for name, kind in SYSTEMS.items():
        parts += [f"### {name}\n", *_section(kind, "model")]
    return "\n".join(parts)


def _section(kind: type, section: str) -> Iterator[str]:
    yield inspect.getdoc(kind).replace("``", "`") + "\n"
    rows = list(_rows(kind, section))
    if rows:
        yield "| key | default | may be |\n|---|---|---|\n" + "\n".join(rows) + "\n"


def _rows(kind: type, section: str) -> Iterator[str]:
    hints = get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        nested = dataclasses.is_dataclass(field.default)
        if field.name in PLANNED or field.name == "system" or field.default == DEFAULT or nested:
            continue
        cells = [
            f"`{section}.{field.name}`",
            f"`{_value(field.default)}`",
            _type(hints[field.name]),
        ]
        yield f"| {' | '.join(cells)} |"


def _value(value: Any) -> str:
    if value is dataclasses.MISSING:
        return "to be said"
    return (
        "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    )


def _type(hint: Any) -> str:
    """What a value may be, in words."""
    if hint is type(None):
        return "`null`"
    if get_origin(hint) is Literal:
        return ", ".join(f"`{_value(value)}`" for value in get_args(hint))
    if get_origin(hint) in (Union, types.UnionType):
        return ", or ".join(map(_type, get_args(hint)))
    if get_origin(hint) is Annotated:
        kind, *bounds = get_args(hint)
        return " ".join((_type(kind), *map(str, bounds)))
    names = {int: "a whole number", float: "a number", bool: "`true`, `false`", str: "a name"}
    return names.get(hint, "see above")


if __name__ == "__main__":
    PAGE.write_text(text())
