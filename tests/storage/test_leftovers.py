"""What may go from a store is found and removed; what is in use or still needed stays."""

import os
import time
from pathlib import Path

import pytest

from mlt_ray.storage import holder as holder_module
from mlt_ray.storage.files import write_bytes
from mlt_ray.storage.lease import acquire, is_in_use, use
from mlt_ray.storage.leftovers import (
    OLD_S,
    Leftovers,
    checkpoint_sizes,
    drop_checkpoints,
    find_leftovers,
    planned_runs,
    remove_leftovers,
    unfinished,
)
from mlt_ray.storage.mirror import CACHE_VARIABLE
from mlt_ray.storage.record import RowRecord, RunRecord, StudyRecord, write_record
from mlt_ray.storage.store import Store
from tests.stored import DIGEST, PREDICTIONS, REPORT

OTHER = "f" * 16


@pytest.fixture(params=["folder", "URI"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "mirror"))
    there = tmp_path / "store"
    return Store(there if request.param == "folder" else f"local://{there}")


def write_checkpoint(store: Store, digest: str, size: int = 1000) -> Path:
    path = store.checkpoint(digest)
    write_bytes(path, bytes(size))
    store.push(path)
    return path


def finish(store: Store) -> None:
    store.write_run(REPORT, PREDICTIONS, b"weights", {})


def make_old(*paths: Path) -> None:
    then = time.time() - OLD_S - 60
    for path in paths:
        os.utime(path, (then, then))


def kinds(found: list[Leftovers]) -> dict[str, set[str]]:
    return {kind.what: {path.name for path in kind.paths} for kind in found}


def test_a_store_in_order_has_no_leftovers(store: Store) -> None:
    assert find_leftovers(store) == []
    finish(store)
    assert find_leftovers(store) == []
    assert unfinished(store).paths == ()


def test_the_checkpoint_of_a_finished_run_may_go_and_that_of_an_unfinished_stays(
    store: Store,
) -> None:
    finish(store)
    write_checkpoint(store, DIGEST, 3 * 2**20)
    kept = write_checkpoint(store, OTHER)
    found = find_leftovers(store)
    assert [str(kind) for kind in found] == ["1 checkpoints of finished runs, 3.0 MiB"]
    assert unfinished(store).paths == (kept,)
    remove_leftovers(store, found)
    assert find_leftovers(store) == []
    assert unfinished(store).paths == (kept,)
    assert store.pull(kept)


def test_a_checkpoint_in_use_stays(store: Store) -> None:
    path = write_checkpoint(store, OTHER)
    lease = acquire(store, OTHER, "a driver")
    assert lease is not None
    with lease:
        drop_checkpoints(store, [OTHER])
        assert store.pull(path)
    drop_checkpoints(store, [OTHER])
    assert not store.pull(path)
    assert not path.exists()


def test_old_temporaries_may_go_and_fresh_ones_and_other_files_stay(store: Store) -> None:
    finish(store)
    runs, features = store.root / "runs", store.root / "features" / "frames-1"
    features.mkdir(parents=True)
    old = [runs / DIGEST / ".weights.safetensors.x1_k2m9q", features / ".0.npy.abcdefgh"]
    killed = runs / f".{OTHER}.q8w7e6r5"
    killed.mkdir()
    fresh = [features / ".1.npy.abcdefgh", runs / ".fresh.abcdefgh"]
    fresh[1].mkdir()
    own = [features / ".hidden", store.root / ".x.abcdefgh"]
    for path in (
        *old,
        killed / "weights.safetensors",
        fresh[0],
        fresh[1] / "weights.safetensors",
        *own,
    ):
        path.write_bytes(bytes(10))
    make_old(*old, killed / "weights.safetensors", killed, *own, fresh[1])
    found = find_leftovers(store)
    names = {*(path.name for path in old), killed.name}
    assert kinds(found) == {"temporaries of killed processes": names}
    assert found[0].size == 30
    remove_leftovers(store, found)
    assert not any(path.exists() for path in (*old, killed))
    assert all(path.exists() for path in (*fresh, *own))
    assert store.report(DIGEST) == REPORT


def test_the_lease_of_a_finished_run_may_go_unless_a_process_keeps_it(store: Store) -> None:
    """A process that is killed after a run's report and before the end leaves it."""
    leases = {name: acquire(store, name, "a driver") for name in (DIGEST, OTHER, "search-wide")}
    finish(store)
    found = find_leftovers(store)
    assert [str(kind) for kind in found] == ["1 leases of finished runs, 0.0 MiB"]
    remove_leftovers(store, found)
    assert kinds(find_leftovers(store)) == {"leases of finished runs": {DIGEST}}
    abandon(store, DIGEST)
    remove_leftovers(store, found)
    assert find_leftovers(store) == []
    for name, lease in leases.items():
        assert lease is not None
        assert name == DIGEST or lease.is_kept()
        lease.release()


def abandon(store: Store, name: str) -> None:
    """Make the process that has a lease one that is dead."""
    if store.mirror:
        remote = store.mirror.remote
        [file] = remote.files(f"leases/{name}")
        text = remote.read(f"leases/{name}/{file}").decode()
        remote.write(f"leases/{name}/{file}", dead(text).encode())
    else:
        [path] = (store.root / "leases").glob(f"{name}.*.json")
        path.write_text(dead(path.read_text()))


def dead(holder: str) -> str:
    """Such a holder with the id of a process that does not exist."""
    return holder.replace(f'"pid": {os.getpid()}', '"pid": 4194305')


def test_a_ray_folder_may_go_when_its_command_has_ended(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = store.root / "ray"
    living, killed = use(ray / "living", "living"), use(ray / "killed", "killed")
    (ray / "unmarked").mkdir()
    (ray / "of-an-older-version").mkdir()
    make_old(ray / "of-an-older-version")
    [path] = (ray / "killed").iterdir()
    path.write_text(dead(path.read_text()))
    found = find_leftovers(store)
    assert kinds(found) == {"Ray folders of killed commands": {"killed", "of-an-older-version"}}
    remove_leftovers(store, found)
    assert {path.name for path in ray.iterdir()} == {"living", "unmarked"}
    # Seen from another machine, the age of the heartbeat counts.
    monkeypatch.setattr(holder_module, "machine", lambda: "another boot")
    assert find_leftovers(store) == []
    living.release()
    killed.release()
    assert kinds(find_leftovers(store)) == {"Ray folders of killed commands": {"living"}}


def test_runs_of_studies_are_known(store: Store) -> None:
    run = RunRecord(digest=DIGEST, fold=1, seed=1)
    row = RowRecord(name="row", spec={"corpus": "c"}, runs=(run,))
    record = StudyRecord(study="s", title="", corpus="c", fingerprint="f", rows=(row,))
    assert planned_runs(store) == set()
    write_record(store, store.study("s"), record)
    assert planned_runs(store) == {DIGEST}


def test_what_vanishes_while_it_is_looked_at_is_no_error(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = store.root / "checkpoints" / f".{DIGEST}.pt.abcdefgh"
    gone.parent.mkdir(parents=True)
    gone.touch()
    (store.root / "checkpoints" / f"{DIGEST}.pt").write_bytes(b"four")
    status = Path.lstat

    def vanishing(path: Path) -> os.stat_result:
        if path == gone:
            path.unlink(missing_ok=True)
        return status(path)

    monkeypatch.setattr(Path, "lstat", vanishing)
    assert checkpoint_sizes(store) == {DIGEST: 4}
    gone.touch()
    assert find_leftovers(store) == []


@pytest.mark.parametrize("content", ["", '{"owner": "x", "of a later version": 1}'])
def test_a_mark_that_cannot_be_read_is_in_use_while_it_is_young(store: Store, content: str) -> None:
    ray = store.root / "ray" / "young"
    lease = use(ray, "young")
    [path] = ray.iterdir()
    path.write_text(content)
    assert is_in_use(ray)
    lease.release()
