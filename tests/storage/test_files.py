"""A full disk gives a one-line error, no incomplete file, and damages no finished run.

The disk is a file system of one mebibyte in memory.
"""

import errno
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mlt_ray.errors import StoreFull, UserError
from mlt_ray.features.cache import Cache
from mlt_ray.storage.files import filling, replacing, write_bytes
from mlt_ray.storage.lease import acquire
from mlt_ray.storage.store import Store
from mlt_ray.training.checkpoint import Checkpoint
from tests.stored import DIGEST, PREDICTIONS, REPORT

MEBIBYTE = 2**20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A mounted file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"NOT TESTED: a full disk, since mount says: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def file_sizes(folder: Path) -> dict[str, int]:
    """Name → size in bytes of all files under a folder."""
    return {p.name: p.stat().st_size for p in folder.rglob("*") if p.is_file()}


class Learner:
    """Stands for a learner with a state of two mebibytes."""

    run = SimpleNamespace(digest=DIGEST)

    def state(self) -> dict[str, torch.Tensor]:
        return {"weights": torch.zeros(MEBIBYTE // 2)}


def write_plainly(disk: Path) -> Path:
    write_bytes(disk / "file.bin", bytes(2 * MEBIBYTE))
    return disk / "file.bin"


def write_checkpoint(disk: Path) -> Path:
    path = disk / "checkpoints" / "run.pt"
    Checkpoint(path, interval_s=0).save(Learner())  # type: ignore[arg-type]
    return path


def write_features(disk: Path) -> Path:
    Cache(disk / "features").add({"key": np.zeros((MEBIBYTE // 8, 2))})
    return disk / "features"


def write_run(disk: Path) -> Path:
    store = Store(disk)
    assert not store.is_done(DIGEST)
    store.write_run(REPORT, PREDICTIONS, bytes(2 * MEBIBYTE), {})
    return store.run_dir(DIGEST) / "weights.safetensors"


@pytest.mark.parametrize("write", [write_plainly, write_checkpoint, write_features, write_run])
def test_a_full_disk_gives_a_one_line_error_and_keeps_finished_runs(
    disk: Path, write: Callable[[Path], Path]
) -> None:
    finished = Store(disk).run_dir("finished") / "report.json"
    write_bytes(finished, b"{}")
    with pytest.raises(StoreFull) as raised:
        write(disk)
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith(str(disk))
    assert "no space left on the disk" in str(raised.value)
    assert "--store" in str(raised.value)
    assert file_sizes(disk) == {"report.json": 2}
    write_bytes(disk / "small.bin", bytes(1000))  # the space is free again
    assert finished.read_bytes() == b"{}"


def test_a_file_that_does_not_fit_on_the_disk_leaves_the_older_version(disk: Path) -> None:
    path = disk / "file.bin"
    write_bytes(path, b"old")
    with pytest.raises(StoreFull, match=r"file\.bin: no space left"):
        write_bytes(path, bytes(2 * MEBIBYTE))
    assert path.read_bytes() == b"old"


def test_on_a_full_disk_no_lease_is_taken_and_held_ones_stay(disk: Path) -> None:
    store = Store(disk)
    held = acquire(store, "a run", "a")
    assert held is not None
    with (disk / "ballast").open("wb", buffering=0) as file:
        file.write(bytes(2 * MEBIBYTE))  # as much as fits
    assert shutil.disk_usage(disk).free == 0
    with pytest.raises(StoreFull, match="leases"):
        acquire(store, "another run", "a")
    assert acquire(store, "a run", "b") is None
    held.release()  # needs no space
    (disk / "ballast").unlink()
    again = acquire(store, "a run", "b")
    assert again is not None
    again.release()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_recognised_as_the_cause_of_another_error(
    tmp_path: Path, number: int
) -> None:
    def write() -> None:
        try:
            raise OSError(number, "no room")
        except OSError:
            raise RuntimeError("failed writing file data/0")  # noqa: B904

    with pytest.raises(StoreFull), filling(tmp_path):
        write()


def test_other_errors_pass_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="read-only") as raised, replacing(tmp_path / "file"):
        raise OSError(errno.EROFS, "read-only")
    assert not isinstance(raised.value, UserError)
    assert file_sizes(tmp_path) == {}
