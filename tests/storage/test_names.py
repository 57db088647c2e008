"""Names that come from data stay in their folders."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mlt_ray.errors import UserError
from mlt_ray.storage.lease import acquire
from mlt_ray.storage.names import plain
from mlt_ray.storage.store import Store

OUTSIDE = ("../x", "../../x", "/x", "a/b", "..", ".", "", "a\0b")


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_that_leaves_its_folder_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="here: expected a name without slashes, got"):
        plain(name, "here")


@pytest.mark.parametrize("name", ["table1", "best 1: xu", "..a", "a.b", "ä"])
def test_other_names_stay_as_they_are(name: str) -> None:
    assert plain(name, "here") == name


@pytest.mark.parametrize(
    "make",
    [
        lambda store, name: store.study(name),
        lambda store, name: store.search(name),
        lambda store, name: store.report_dir(name),
        lambda store, name: store.run_dir(name),
        lambda store, name: store.run_file(name, "weights.safetensors"),
        lambda store, name: store.run_file("d1", name),
        lambda store, name: store.checkpoint(name),
        lambda store, name: store.corpus(name),
        lambda store, name: store.features("frames", name),
        lambda store, name: store.encoder(name),
        lambda store, name: acquire(store, name, "owner"),
    ],
)
def test_a_store_makes_no_path_outside_its_folders(
    make: Callable[[Store, str], object], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="expected a name without slashes"):
        make(Store(tmp_path / "store"), "../../x")
    assert not (tmp_path / "store").exists()
