"""What doctor says of a store's leftovers, and what a sweep removes."""

import io
from pathlib import Path

from rich.console import Console
from typer.testing import CliRunner

from mlt_ray.cli.app import app
from mlt_ray.storage.files import write_bytes
from mlt_ray.storage.store import Store
from mlt_ray.workflows.doctor import _leftovers, sweep_store
from tests.stored import DIGEST, PREDICTIONS, REPORT


def store_with_leftovers(folder: Path) -> Store:
    store = Store(folder)
    store.write_run(REPORT, PREDICTIONS, b"weights", {})
    write_bytes(store.checkpoint(DIGEST), bytes(2**21))
    write_bytes(store.checkpoint("f" * 16), bytes(2**20))
    return store


def swept(store: Store) -> str:
    console = Console(file=io.StringIO(), width=200)
    sweep_store(store.location, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_nothing_is_removed_before_it_is_asked_for(tmp_path: Path) -> None:
    store = store_with_leftovers(tmp_path)
    may_go, kept = _leftovers(store.location).splitlines()
    assert may_go == (
        "1 checkpoints of finished runs, 2.0 MiB; remove them: "
        f"mlt-ray doctor --store {tmp_path} --sweep"
    )
    assert kept.startswith("1 checkpoints of unfinished runs, 1.0 MiB, are kept")
    assert store.checkpoint(DIGEST).exists()


def test_a_sweep_says_what_it_has_removed(tmp_path: Path) -> None:
    store = store_with_leftovers(tmp_path)
    assert swept(store) == "removed: 1 checkpoints of finished runs, 2.0 MiB\n"
    assert not store.checkpoint(DIGEST).exists()
    assert store.checkpoint("f" * 16).exists()
    assert swept(store) == f"{tmp_path}: nothing to remove\n"
    assert _leftovers(store.location).startswith("none in the store")


def test_a_sweep_takes_a_uri(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("MLT_RAY_CACHE", str(tmp_path / "mirror"))
    done = CliRunner().invoke(app, ["doctor", "--store", f"local://{tmp_path}/there", "--sweep"])
    assert done.exit_code == 0, done.output
    assert "nothing to remove" in done.output
