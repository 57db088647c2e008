"""Models of one's own: Python files that a study or a search space names in its key ``models``.

A file has what a folder of `mlt_ray.models` has: a frozen dataclass of values, and a network with
``@builds`` above. It is run as a module that bears the file's *source* as its name: the file's name
and a digest of its content, such as ``my_model.py@0123456789abcdef``. The source is the
`ModelSpec.source` of its systems, and so part of the digest of their runs.

Only files that a study names are run. When a specification is pickled for a worker, the content of
its file goes along, so a worker runs what the driver has read. The store keeps a copy for people;
nothing runs it.
"""

import ast
import copyreg
import functools
import hashlib
import importlib.abc
import importlib.util
import os
import sys
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mlt_ray.errors import UserError
from mlt_ray.models.faults import explained
from mlt_ray.models.registry import SYSTEMS, forget, parse_model, registered
from mlt_ray.spec import ModelSpec

Systems = Mapping[str, type[ModelSpec]]
"""Configuration classes by the name of their system."""

_VALUES = (int, float, str, bool, types.NoneType)
"""Types of values that a study file and a digest can hold."""


@dataclass(frozen=True)
class ModelFile:
    """Name, without a folder, and content of a model's file."""

    name: str
    content: bytes

    @cached_property
    def digest(self) -> str:
        """16 hex digits of SHA-256 over the content."""
        return hashlib.sha256(self.content).hexdigest()[:16]

    @property
    def source(self) -> str:
        """The name and the digest, as ``name@digest``."""
        return f"{self.name}@{self.digest}"


_FILES: dict[str, ModelFile] = {}
"""The files that this process has run, by source."""


def load_systems(names: Any, folder: Path, where: str) -> Systems:
    """The systems of this package, and those that the named files register.

    A relative name is one in the `folder`. Raises `UserError`, which begins with `where`, for a
    file that is missing or cannot be run, registers nothing, or registers a system whose name or
    values cannot be used.
    """
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"{where}: expected a list such as [my_model.py], got {names!r}")
    systems, homes = dict(SYSTEMS), dict.fromkeys(SYSTEMS, "mlt_ray")
    for name in dict.fromkeys(names):
        path = folder / os.path.expanduser(name)
        if not path.is_file():
            raise UserError(f"{where}: expected a Python file at {path}, found none")
        file = ModelFile(path.name, path.read_bytes())
        try:
            found = _run(file)
        except UserError as error:
            raise UserError(f"{where}: {error}") from error
        for system, kind in found.items():
            if systems.setdefault(system, kind) is not kind:
                raise UserError(
                    f"{where}: {_line(file, kind)}: system {system} is one of {homes[system]} "
                    "already; give it another name"
                )
            homes[system] = file.name
    return systems


def file_of(spec: ModelSpec) -> ModelFile | None:
    """The file of a configuration's system; None for a system of this package."""
    return _FILES.get(spec.source)


def _run(file: ModelFile) -> Systems:
    """The systems that a file registers; it is run once in a process."""
    if file.source not in _FILES:
        loader = _Loader(file)
        spec = importlib.util.spec_from_loader(file.source, loader)
        assert spec is not None
        sys.modules[file.source] = module = importlib.util.module_from_spec(spec)
        try:
            with explained(file.source):
                loader.exec_module(module)
            _take_in(file, registered(file.source))
        except BaseException:
            del sys.modules[file.source]
            forget(file.source)
            raise
        _FILES[file.source] = file
    return {str(_system(kind)): kind for kind in registered(file.source)}


class _Loader(importlib.abc.SourceLoader):
    """Runs the content of a file that has been read."""

    def __init__(self, file: ModelFile) -> None:
        self._file = file

    def get_filename(self, fullname: str) -> str:
        return self._file.name

    def get_data(self, path: str | bytes) -> bytes:
        return self._file.content


def _take_in(file: ModelFile, kinds: Iterable[type[ModelSpec]]) -> None:
    """Check the configuration classes of a file, name their source, and let them be pickled."""
    kinds = list(kinds)
    if not kinds:
        raise UserError(
            f"{file.name}: expected a class with @builds(…) above, found none; see "
            "mlt_ray.models.System"
        )
    for kind in kinds:
        _check(file, kind)
    names = [_system(kind) for kind in kinds]
    for kind, name in zip(kinds, names, strict=True):
        if names.count(name) > 1:
            raise UserError(f"{_line(file, kind)}: two classes are the system {name}; rename one")
    for kind in kinds:
        kind.source = file.source
        copyreg.pickle(kind, functools.partial(_reduced, file))


def _check(file: ModelFile, kind: type[ModelSpec]) -> None:
    """`UserError` if values of the class cannot be read from a study or named in a digest."""
    where = f"{_line(file, kind)}: {kind.__name__}"
    if "__dataclass_params__" not in vars(kind):
        raise UserError(f"{where}: expected @dataclass(frozen=True, kw_only=True) above it")
    if not isinstance(_system(kind), str):
        raise UserError(f'{where}: expected a line such as system: str = "{Path(file.name).stem}"')
    try:
        hints = typing.get_type_hints(kind)
    except Exception as error:
        raise UserError(f"{where}: expected types that are known, got {error}") from error
    for field in fields(kind):
        if field.name == "source":
            raise UserError(f"{where}.source: expected another name, since it is the file's")
        if not _is_plain(hints[field.name]):
            raise UserError(
                f"{where}.{field.name}: expected int, float, str, bool, a Literal, None or a "
                f"frozen dataclass of these, got {hints[field.name]}"
            )


def _is_plain(hint: Any) -> bool:
    """Whether values of a type can stand in a study file and in a digest."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return all(map(_is_plain, typing.get_args(hint)))
    if is_dataclass(hint) and isinstance(hint, type):
        is_frozen = hint.__hash__ is not None  # a dataclass that can change has no hash
        return is_frozen and all(map(_is_plain, typing.get_type_hints(hint).values()))
    return hint in _VALUES or typing.get_origin(hint) is typing.Literal


def _system(kind: type[ModelSpec]) -> object:
    """The name of a configuration class's system; None if it has none."""
    return getattr(kind, "system", None)


def _line(file: ModelFile, kind: type[ModelSpec]) -> str:
    """``file:line`` of a class."""
    for node in ast.walk(ast.parse(file.content)):
        if isinstance(node, ast.ClassDef) and node.name == kind.__name__:
            return f"{file.name}:{node.lineno}"
    return file.name


def _reduced(file: ModelFile, spec: ModelSpec) -> tuple[Any, ...]:
    """What a pickle holds of a configuration: its file and its values."""
    return _restored, (file.name, file.content, asdict(spec))


def _restored(name: str, content: bytes, values: Mapping[str, Any]) -> ModelSpec:
    return parse_model(values, name, _run(ModelFile(name, content)))
