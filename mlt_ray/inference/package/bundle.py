"""The files of this package that predict, which a model takes along, and what they import.

A file belongs to it if a module of `STARTS` imports it, directly or through others, at its top or
inside a function. Networks are found by their folder's name, so all systems' folders belong.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import mlt_ray

PACKAGE: Final = Path(mlt_ray.__file__).parent

STARTS: Final = ("inference/load.py", "models/*/*.py")
"""Patterns of the files that a prediction begins with."""


@dataclass(frozen=True)
class Bundle:
    """Files of the package, relative to it, and the names of other packages that they import."""

    files: tuple[Path, ...]
    imports: frozenset[str]


def bundle_of(starts: tuple[str, ...] = STARTS, package: Path = PACKAGE) -> Bundle:
    """The files that the `starts` need of a package."""
    waiting = [path.relative_to(package) for start in starts for path in package.glob(start)]
    files: set[Path] = set()
    imports: set[str] = set()
    while waiting:
        file = waiting.pop()
        if file in files:
            continue
        files.add(file)
        waiting += [
            p / "__init__.py" for p in file.parents if (package / p / "__init__.py").exists()
        ]
        for name in imported(ast.parse((package / file).read_text("utf-8"))):
            top, _, rest = name.partition(".")
            if top == package.name:
                waiting += _module(rest, package)
            else:
                imports.add(top)
    return Bundle(files=tuple(sorted(files)), imports=frozenset(imports))


def imported(tree: ast.AST) -> Iterator[str]:
    """Dotted names that a module imports when it runs, so not those that only a checker reads."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from imported(ast.Module(body=node.orelse, type_ignores=[]))
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        else:
            yield from imported(node)


def _module(dotted: str, package: Path) -> list[Path]:
    """The file of a module of the package; ``a.b`` may also be the name ``b`` in a module ``a``."""
    for name in (dotted, dotted.rpartition(".")[0]):
        path = Path(*name.split(".")) if name else Path()
        for file in (path.with_suffix(".py") if name else path, path / "__init__.py"):
            if (package / file).is_file():
                return [file]
    return []
