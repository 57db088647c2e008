"""The shipped profiles can be found and loaded, and are part of the wheel."""

import tomllib
from pathlib import Path

import pytest

from mlt_ray.documents import shipped_folder
from mlt_ray.planning.profile import Profile, find_profile, load_profile, profile_names

ROOT = Path(__file__).parents[2]


def test_every_profile_is_found_by_its_name() -> None:
    assert {"laptop", "one_gpu", "many_gpus"} <= set(profile_names())
    assert [find_profile(n) for n in profile_names()] == sorted(ROOT.glob("clusters/*.yaml"))


@pytest.mark.parametrize("name", profile_names())
def test_a_profile_loads_sets_something_and_begins_with_a_comment(name: str) -> None:
    assert load_profile(name) != Profile()
    assert find_profile(name).read_text().startswith("# ")


@pytest.mark.parametrize("name", profile_names())
def test_a_shipped_profile_names_no_store_or_server(name: str) -> None:
    profile = load_profile(name)
    assert profile.address in (None, "auto")
    assert profile.store is None
    assert profile.tracking_uri is None


@pytest.mark.parametrize("name", ["search_spaces", "clusters"])
def test_the_wheel_contains_the_folders_of_shipped_files(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    carried = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert carried[name] == f"mlt_ray/{name}"
    assert shipped_folder(name) == ROOT / name
