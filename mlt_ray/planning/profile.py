"""Profiles: YAML files in `clusters/` that say where studies run and with what.

address: auto                     # a running Ray cluster; nothing for this machine alone
store: s3://bucket/runs           # a place that all nodes see
tracking_uri: http://host:5000    # an MLflow server
resources: {gpus_per_run: 0.5}    # the keys of Resources
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

from mlt_ray.documents import find_file, read_yaml, shipped_names
from mlt_ray.errors import UserError
from mlt_ray.parsing import parse
from mlt_ray.planning.resources import Resources


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Where a study runs; None leaves it to the command line and its defaults."""

    address: str | None = None
    store: str | None = None
    tracking_uri: str | None = None
    resources: Resources = field(default_factory=Resources)


FOLDER = "clusters"
_PLACES = {f.name for f in dataclasses.fields(Profile)} - {"resources"}


def load_profile(name_or_path: str) -> Profile:
    """The profile of that name in `clusters`, or in the YAML file at that path.

    Raises `UserError`, which says where, for a key that is unknown and for a value of the wrong
    type or out of bounds.
    """
    path = find_profile(name_or_path)
    values = read_yaml(path)
    return parse(Profile, {} if values is None else values, path.stem)


def merged(profile: Profile, **flags: float | str | None) -> Profile:
    """`profile` with command-line flags in place of its values; a flag of None changes nothing.

    Flags are named like the fields of `Profile` and `Resources`. Raises `UserError` naming the
    option for a value out of bounds.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    places = {name: value for name, value in given.items() if name in _PLACES}
    rest = {name: value for name, value in given.items() if name not in _PLACES}
    try:
        resources = dataclasses.replace(profile.resources, **rest)  # type: ignore[arg-type]
    except ValueError as error:
        name, _, problem = str(error).partition(": ")
        raise UserError(f"--{name.replace('_', '-')}: {problem}") from error
    return dataclasses.replace(profile, resources=resources, **places)  # type: ignore[arg-type]


def profile_names() -> list[str]:
    """Names of the shipped profiles."""
    return shipped_names(FOLDER)


def find_profile(name_or_path: str) -> Path:
    """The YAML file of a shipped profile, or at a path; `UserError` if there is none."""
    return find_file(name_or_path, FOLDER, "profile", "cluster profile")
