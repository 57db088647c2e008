"""Profiles: found by name or path, parsed strictly, overridden by flags."""

from pathlib import Path

import pytest

from mlt_ray.errors import UserError
from mlt_ray.planning.profile import Profile, load_profile, merged
from mlt_ray.planning.resources import Resources

ALL_KEYS = """
address: 192.0.2.7:6379
store: s3://bucket/runs
tracking_uri: http://192.0.2.7:5000
resources:
  cpus_per_run: 2
  gpus_per_run: 0.25
  concurrency: 7
  workers: 3
  gpus_per_worker: 2
  cpus_per_worker: 5
  pack: 1
  cuda_graphs: false
  checkpoint_interval_s: 13
"""


def written(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(text)
    return str(path)


def test_every_key_of_a_profile_is_read(tmp_path: Path) -> None:
    resources = Resources(
        cpus_per_run=2.0,
        gpus_per_run=0.25,
        concurrency=7,
        workers=3,
        gpus_per_worker=2.0,
        cpus_per_worker=5.0,
        pack=1,
        cuda_graphs=False,
        checkpoint_interval_s=13.0,
    )
    assert load_profile(written(tmp_path, ALL_KEYS)) == Profile(
        address="192.0.2.7:6379",
        store="s3://bucket/runs",
        tracking_uri="http://192.0.2.7:5000",
        resources=resources,
    )


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n", "{}"])
def test_every_key_may_be_left_out(tmp_path: Path, text: str) -> None:
    assert load_profile(written(tmp_path, text)) == Profile()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("adress: auto", "mine: unknown key adress; did you mean address?"),
        ("resources: {gpu_per_run: 1}", "unknown key gpu_per_run; did you mean gpus_per_run?"),
        ("resources: {gpus_per_run: 1.5}", "mine.resources.gpus_per_run: expected a number from 0"),
        ("resources: {workers: many}", "mine.resources.workers: expected int, got 'many'"),
        ("resources: {pack: true}", "mine.resources.pack: expected int, got True"),
        ("store: 3", "mine.store: expected str, got 3"),
        ("store: a\nstore: b", "key store stands twice"),
        ("store: [", "expected YAML in UTF-8"),
        ("- store", "mine: expected a mapping of keys"),
    ],
)
def test_what_a_profile_may_not_say_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        load_profile(written(tmp_path, text))
    assert message in str(error.value)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown profile many_gpu; did you mean many_gpus\?"):
        load_profile("many_gpu")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.yaml: expected a cluster profile, found none"):
        load_profile(str(tmp_path / "none.yaml"))


def test_flags_take_the_place_of_the_profile_and_none_leaves_it(tmp_path: Path) -> None:
    profile = load_profile(written(tmp_path, ALL_KEYS))
    changed = merged(
        profile, address=None, store="/mnt/runs", gpus_per_run=0, pack=None, concurrency=2
    )
    assert changed.address == "192.0.2.7:6379"
    assert changed.store == "/mnt/runs"
    assert changed.tracking_uri == "http://192.0.2.7:5000"
    assert changed.resources == Resources(
        cpus_per_run=2.0,
        gpus_per_run=0,
        concurrency=2,
        workers=3,
        gpus_per_worker=2.0,
        cpus_per_worker=5.0,
        pack=1,
        cuda_graphs=False,
        checkpoint_interval_s=13.0,
    )
    assert profile == load_profile(written(tmp_path, ALL_KEYS))


def test_a_flag_out_of_bounds_is_named_as_it_was_typed() -> None:
    with pytest.raises(UserError, match=r"^--gpus-per-run: expected a number from 0 to 1, or whol"):
        merged(Profile(), gpus_per_run=1.5)


def test_no_flags_change_nothing() -> None:
    profile = Profile(address="auto", resources=Resources(workers=3))
    assert merged(profile) == profile
