"""Finds and reads the files of studies and search spaces, by shipped name or by path."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlt_ray.documents import find_file, read_yaml, shipped_folder, shipped_names
from mlt_ray.errors import UserError

FOLDER = "search_spaces"


def load_yaml(name: str) -> tuple[Path, Any]:
    """Path and values of a YAML file; `name` is a shipped study or search space, or a path."""
    path = find_study(name)
    return path, read_yaml(path)


def study_name(name_or_path: str) -> str:
    """The name of a study that is given by its name or by the path of its YAML file."""
    path = Path(name_or_path)
    return path.stem if path.suffix in (".yaml", ".yml") else name_or_path


def file_names() -> list[str]:
    """Names of all shipped files: studies of rows, and search spaces."""
    return shipped_names(FOLDER)


def study_names() -> list[str]:
    """Names of the shipped studies of rows."""
    return [name for name in file_names() if not is_space(load_yaml(name)[1])]


def space_names() -> list[str]:
    """Names of the shipped search spaces."""
    return [name for name in file_names() if is_space(load_yaml(name)[1])]


def is_space(values: Any) -> bool:
    """Whether a YAML file's values describe a search space rather than a study of rows."""
    return isinstance(values, Mapping) and "space" in values


def find_study(name: str) -> Path:
    """The YAML file of a shipped study or at a path.

    Raises `UserError` if there is none, or if another file has the name of a shipped study.
    """
    path = find_file(name, FOLDER, "study", "study file")
    namesake = shipped_folder(FOLDER) / f"{path.stem}.yaml"
    if not (namesake.is_file() and namesake.samefile(path)):
        check_own_name(path.stem, path, path.suffix)
    return path


def check_own_name(name: str, where: object, suffix: str = "") -> None:
    """`UserError` if the name of a study that is not shipped is that of a shipped one."""
    if name in file_names():
        raise UserError(
            f"{where}: expected a name of its own, got that of the shipped study {name}, "
            f"whose results it would hide; call it my_{name}{suffix}"
        )
