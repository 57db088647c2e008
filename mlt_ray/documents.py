"""Finds and reads YAML files: studies, search spaces and cluster profiles. Reads JSON."""

import re
from pathlib import Path
from typing import Any

import yaml

from mlt_ray.errors import UserError
from mlt_ray.parsing import shown, unknown_key

MERGE = "tag:yaml.org,2002:merge"
"""YAML's tag of the key ``<<``."""


NO_YAML = (yaml.YAMLError, ValueError, RecursionError, LookupError, TypeError, AttributeError)
"""What is raised for a text that is no YAML, no UTF-8, has a value that its tag does not allow, a
date such as 2020-13-45 or a number of thousands of digits, or is nested too deeply."""

MOST_VALUES = 1_000_000
"""Values of a document, each counted as often as aliases repeat it."""


class Loader(yaml.SafeLoader):
    """Safe loader that reads 1e-5 as a number (YAML 1.1 wants 1.0e-5) and refuses repeated keys.

    It also refuses more than `MOST_VALUES`: a few lines of aliases can stand for billions.
    """

    def get_single_node(self) -> yaml.Node | None:
        node: yaml.Node | None = super().get_single_node()
        if node is not None:
            _count(node, {})
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(k, deep=True) for k, _ in node.value if k.tag != MERGE]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.MarkedYAMLError(problem=f"key {key} stands twice{node.start_mark}")
        return super().construct_mapping(node, deep)


def _count(node: yaml.Node, counted: dict[yaml.Node, int]) -> int:
    """How many values a node stands for; `yaml.YAMLError` for too many, or one inside itself."""
    if node not in counted:
        counted[node] = MOST_VALUES  # if it is met again before it is counted
        inner = node.value if isinstance(node, yaml.CollectionNode) else ()
        nodes = (n for one in inner for n in (one if isinstance(one, tuple) else (one,)))
        counted[node] = 1 + sum(_count(n, counted) for n in nodes)
        if counted[node] > MOST_VALUES:
            raise yaml.MarkedYAMLError(problem=f"more than {MOST_VALUES} values")
    return counted[node]


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def read_yaml(path: Path) -> Any:
    """The values of a YAML file; `UserError` if it is not valid YAML in UTF-8."""
    try:
        return yaml.load(path.read_text("utf-8"), Loader=Loader)
    except OSError as error:
        raise UserError(f"{path}: expected YAML in UTF-8, got: {error.strerror}") from error
    except NO_YAML as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path}: expected YAML in UTF-8, got: {reason}") from error


def parse_yaml(text: str, where: str) -> Any:
    """The value of a YAML text, such as that of an option; `UserError` begins with `where`."""
    try:
        return yaml.load(text, Loader=Loader)
    except NO_YAML as error:
        raise UserError(f"{where}: expected a YAML value, got {shown(text)}") from error


def shipped_folder(name: str) -> Path:
    """A folder of shipped files: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    shipped = package / name
    return shipped if shipped.is_dir() else package.parent / name


def shipped_names(folder: str) -> list[str]:
    """Names, without ``.yaml``, of the files in a shipped folder."""
    return sorted(path.stem for path in shipped_folder(folder).glob("*.yaml"))


def find_file(name_or_path: str, folder: str, noun: str, what: str) -> Path:
    """The YAML file at that path, or the shipped file of that name in `folder`.

    Raises `UserError` if there is none. Its text calls the file `noun` (``study``) or `what`
    (``study file``).
    """
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise UserError(f"{path}: expected a {what}, found none")
        return path
    shipped = shipped_folder(folder) / f"{name_or_path}.yaml"
    if not shipped.is_file():
        raise unknown_key(folder, name_or_path, shipped_names(folder), noun)
    return shipped
