"""Two writers of one run, interleaved at every step: what is read is always of one of them.

Each writer is a thread that stops before every step: a write, a rename, a request to the store.
The other has taken the lease over meanwhile, as from a process that stood still for too long.
"""

import itertools
import os
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from mlt_ray.errors import RunStopped, UserError
from mlt_ray.storage import store as store_module
from mlt_ray.storage.mirror import CACHE_VARIABLE
from mlt_ray.storage.remote import Remote
from mlt_ray.storage.report import curve_csv
from mlt_ray.storage.store import Store
from tests.stored import DIGEST, EPOCHS, PREDICTIONS, REPORT

MOST_STEPS = 100
"""More steps than a writer takes."""


@dataclass(frozen=True)
class Content:
    """What one writer writes; every file says whose it is."""

    number: int

    def write(self, store: Store, check: Callable[[], None]) -> None:
        epochs = tuple(replace(e, dev_loss=float(self.number)) for e in EPOCHS)
        report = replace(REPORT, computed_s=float(self.number), curve=epochs)
        predictions = dict(itertools.islice(PREDICTIONS.items(), self.number))
        store.write_run(report, predictions, bytes([self.number]), {"n": self.number}, check=check)


def read(store: Store) -> set[int]:
    """The numbers of the writers of what a reader finds."""
    report = store.report(DIGEST)
    assert report is not None
    files = {
        name: store.run_file(DIGEST, name).read_text() for name in ("inputs.json", "curve.csv")
    }
    lines = store.run_file(DIGEST, "predictions.csv").read_text().splitlines()
    curve = {int(float(line.split(",")[2])) for line in files["curve.csv"].splitlines()[1:]}
    assert files["curve.csv"] == curve_csv(report.curve) or len(curve) == 1
    return {
        int(report.computed_s),
        *store.run_file(DIGEST, "weights.safetensors").read_bytes(),
        int(files["inputs.json"].split(":")[1].strip(" }\n")),
        *curve,
        2 if any(line.startswith("test,") for line in lines) else 1,
    }


class Turns:
    """Lets threads take their steps in a given order; one that is not told to wait goes on."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.left: dict[int, float] = {}
        self.taken: dict[int, int] = {}
        self.idle: set[int] = set()

    def step(self) -> None:
        """Called before each step, in the writer's thread."""
        me = threading.current_thread().name
        if not me.isdecimal():
            return
        number = int(me)
        with self.changed:
            self.idle.add(number)
            self.changed.notify_all()
            assert self.changed.wait_for(lambda: self.left[number] > 0, timeout=30)
            self.left[number] -= 1
            self.taken[number] = self.taken.get(number, 0) + 1
            self.idle.discard(number)

    def give(self, number: int, steps: float, thread: threading.Thread) -> None:
        """Let a writer take so many steps, and wait until it has."""
        with self.changed:
            self.left[number] = steps
            if steps:
                self.idle.discard(number)
            self.changed.notify_all()
        while thread.is_alive():
            with self.changed:
                if number in self.idle and self.left[number] <= 0:
                    return
                self.changed.wait(0.01)


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Turns:
    """The turns of writers whose steps are writes, renames and requests."""
    turns = Turns()

    def stepping(original: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **more: Any) -> Any:
            turns.step()
            return original(*arguments, **more)

        return called

    monkeypatch.setattr(store_module, "write_bytes", stepping(store_module.write_bytes))
    monkeypatch.setattr(os, "rename", stepping(os.rename))
    for name in ("write", "upload", "file"):
        monkeypatch.setattr(Remote, name, stepping(getattr(Remote, name)))
    # Steps in the writer's own thread, one after another, each of which is a turn.
    monkeypatch.setattr("mlt_ray.storage.mirror.apply", one_by_one)
    return turns


def one_by_one(action: Callable[[Path], object], left: set[Path]) -> None:
    for path in sorted(left):
        action(path)
        left.discard(path)


def interleaved(
    turns: Turns,
    stores: tuple[Store, Store],
    steps: tuple[int, int],
    is_lease_asked: bool,
) -> list[int]:
    """The first writer takes some steps, then the second, then both go on to their end.

    Returns the writers whose write was refused. Where the lease is asked, the first writer has
    lost it as soon as the second one begins.
    """
    has_begun, refused = threading.Event(), list[int]()

    def check(number: int) -> Callable[[], None]:
        def ask() -> None:
            if is_lease_asked and number == 1 and has_begun.is_set():
                raise RunStopped("lost")

        return ask

    def run(number: int) -> None:
        try:
            Content(number).write(stores[number - 1], check(number))
        except RunStopped:
            refused.append(number)
        finally:
            with turns.changed:
                turns.idle.add(number)
                turns.left[number] = 0
                turns.changed.notify_all()

    threads = [threading.Thread(target=run, args=(n,), name=str(n), daemon=True) for n in (1, 2)]
    turns.left, turns.taken = {1: 0, 2: 0}, {}
    for number, (thread, given) in enumerate(zip(threads, steps, strict=True), start=1):
        if number == 2:
            has_begun.set()
        thread.start()
        turns.give(number, given, thread)
    for number, thread in enumerate(threads, start=1):
        turns.give(number, MOST_STEPS, thread)
        thread.join(30)
        assert not thread.is_alive()
    return refused


def orders(num_steps: int) -> Iterator[tuple[int, int]]:
    return itertools.product(range(num_steps + 1), repeat=2)


def num_steps_alone(turns: Turns, store: Store) -> int:
    thread = threading.Thread(
        target=lambda: Content(1).write(store, lambda: None), name="1", daemon=True
    )
    turns.left = {1: MOST_STEPS}
    thread.start()
    thread.join(30)
    assert 0 < turns.taken[1] < MOST_STEPS
    return turns.taken[1]


@pytest.mark.parametrize("is_lease_asked", [True, False])
def test_in_a_folder_all_files_are_of_one_writer(
    tmp_path: Path, turns: Turns, is_lease_asked: bool
) -> None:
    for steps in orders(num_steps_alone(turns, Store(tmp_path / "alone"))):
        store = Store(tmp_path / f"{steps}")
        refused = interleaved(turns, (store, store), steps, is_lease_asked)
        [writer] = read(store)
        assert writer not in refused
        assert {p.name for p in (store.root / "runs").iterdir()} == {DIGEST}, "a temporary is left"


def test_a_folder_with_what_a_killed_writer_has_left_is_replaced(
    tmp_path: Path, turns: Turns
) -> None:
    """Earlier versions wrote one file after another into the run's folder."""
    for steps in orders(num_steps_alone(turns, Store(tmp_path / "alone"))):
        store = Store(tmp_path / f"{steps}")
        folder = store.run_dir(DIGEST)
        folder.mkdir(parents=True)
        for name in ("weights.safetensors", "inputs.json", ".curve.csv.x7k2m9qa", "other.txt"):
            (folder / name).write_bytes(b"\3")
        interleaved(turns, (store, store), steps, is_lease_asked=False)
        assert len(read(store)) == 1
        assert not (folder / "other.txt").exists()


@pytest.mark.parametrize(
    ("machines", "is_lease_asked"),
    [("ab", True), ("aa", False)],
    ids=["two machines", "one machine, without a lease"],
)
def test_behind_a_uri_files_of_two_writers_are_never_taken_for_one_run(
    tmp_path: Path,
    turns: Turns,
    monkeypatch: pytest.MonkeyPatch,
    machines: str,
    is_lease_asked: bool,
) -> None:
    """An object store cannot rename: there files may be of both, but then no reader takes them."""

    def on(machine: str, steps: tuple[int, int]) -> Store:
        monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / f"{machine}-{steps[0]}-{steps[1]}"))
        return Store(f"local://{tmp_path}/there-{steps[0]}-{steps[1]}")

    num_steps = num_steps_alone(turns, on("alone", (99, 99)))
    found, told = {"whole": 0, "mixed": 0}, set[str]()
    for steps in itertools.product(range(num_steps + 1), (0, num_steps // 2, num_steps)):
        first, second = (on(machine, steps) for machine in machines)
        interleaved(turns, (first, second), steps, is_lease_asked)
        for reader in (on("c", steps), first):
            try:
                assert len(read(reader)) == 1
                found["whole"] += 1
            except UserError as error:
                found["mixed"] += 1
                told.add(re.sub(r".*since", "since", str(error)).partition(";")[0])
    assert told == {"since two processes have written it"}
    assert found["whole"] > 0


def test_a_file_that_is_not_the_report_s_own_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "mirror"))
    store = Store(f"local://{tmp_path}/there")
    Content(1).write(store, lambda: None)
    assert read(store) == {1}
    (tmp_path / "there" / "runs" / DIGEST / "weights.safetensors").write_bytes(b"another")
    with pytest.raises(UserError, match=r"weights\.safetensors: expected the file .* report"):
        store.run_file(DIGEST, "weights.safetensors")
    assert store.run_file(DIGEST, "curve.csv").exists()
