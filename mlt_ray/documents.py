"""YAML files, read strictly: studies and cluster profiles."""

import re
from pathlib import Path
from typing import Any

import yaml

from mlt_ray.errors import UserError

MERGE = "tag:yaml.org,2002:merge"


class Loader(yaml.SafeLoader):
    """Safe YAML in which 1e-5 is a number (YAML 1.1 asks for a point) and no key stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(k, deep=True) for k, _ in node.value if k.tag != MERGE]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.MarkedYAMLError(problem=f"key {key} stands twice{node.start_mark}")
        return super().construct_mapping(node, deep)


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def read_yaml(path: Path) -> Any:
    """The values of a YAML file; `UserError` where it is not YAML in UTF-8."""
    try:
        return yaml.load(path.read_text("utf-8"), Loader=Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: expected YAML in UTF-8, got: {' '.join(str(error).split())}"
        ) from error


def shipped_folder(name: str) -> Path:
    """A folder of shipped files: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    shipped = package / name
    return shipped if shipped.is_dir() else package.parent / name
