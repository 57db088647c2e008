"""Leases among real processes: one holder at a time, and a dead holder loses its lease."""

import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from mlt_ray.errors import StoreSilent, StoreUnreachable, UserError
from mlt_ray.storage import holder as holder_module
from mlt_ray.storage import lease as lease_module
from mlt_ray.storage.files import write_json
from mlt_ray.storage.holder import Holder, process_start
from mlt_ray.storage.lease import (
    FileHold,
    Lease,
    LentLease,
    acquire,
    alone,
    generations,
    lease_path,
)
from mlt_ray.storage.store import Store
from tests.storage.contenders import alone_inside

DIGEST = "0123456789abcdef"
CONTEXT = multiprocessing.get_context("fork")
NEVER_S = 1000.0
"""So long that no test sees a heartbeat of this age."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture
def start() -> Iterator[Callable[..., tuple[BaseProcess, Connection]]]:
    """Function that starts a process with a pipe to it; it is killed at the end of the test."""
    started = []

    def begin(target: Callable[..., None], *args: object) -> tuple[BaseProcess, Connection]:
        ours, theirs = CONTEXT.Pipe()
        process = CONTEXT.Process(target=target, args=(theirs, *args), daemon=True)
        process.start()
        started.append(process)
        return process, ours

    yield begin
    for process in started:
        process.kill()
        process.join()


def hold(pipe: Connection, root: str, owner: str, interval_s: float, stale_s: float) -> None:
    """Take the lease, send whether that succeeded, and keep it until a message comes."""
    lease = acquire(Store(root), DIGEST, owner, interval_s=interval_s, stale_s=stale_s)
    pipe.send(lease is not None)
    pipe.recv()
    if lease is not None:
        pipe.send(lease.lost)
        lease.release()
    pipe.send("released")


def contend(pipe: Connection, root: str, rounds: int) -> None:
    """Take and release the lease many times; send how often it was held alone, and not alone."""
    store, mark, held, overlaps = Store(root), Path(root) / "inside", 0, 0
    pipe.recv()
    for _ in range(rounds):
        lease = acquire(store, DIGEST, f"owner {os.getpid()}", stale_s=NEVER_S)
        if lease is None:
            continue
        with lease:
            alone = alone_inside(mark)
            held, overlaps = held + alone, overlaps + (not alone)
    pipe.send((held, overlaps))


def age(store: Store, seconds: float) -> None:
    """Make the lease's last heartbeat older."""
    folder = store.root / "leases"
    path = lease_path(folder, DIGEST, max(generations(folder, DIGEST)))
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on this process seems to run on another machine than before."""
    monkeypatch.setattr(holder_module, "machine", lambda: "another boot")


def test_only_one_owner_holds_a_lease(store: Store) -> None:
    first = acquire(store, DIGEST, "a")
    assert first is not None
    assert acquire(store, DIGEST, "b") is None
    other = acquire(store, "another run", "b")
    assert other is not None
    first.release()
    second = acquire(store, DIGEST, "b")
    assert second is not None
    assert acquire(store, DIGEST, "a") is None
    second.release()
    other.release()


@pytest.mark.parametrize("name", ["b", "a.1", "a.b", "a[b]", "a*"])
def test_leases_whose_names_begin_alike_are_different_leases(store: Store, name: str) -> None:
    first, second = acquire(store, "a", "x"), acquire(store, name, "y")
    assert first is not None
    assert second is not None
    assert acquire(store, "a", "y") is None
    assert acquire(store, name, "x") is None
    second.release()
    again = acquire(store, name, "x")
    assert again is not None
    assert generations(store.root / "leases", name) == [2]
    first.release()
    again.release()


def test_a_lease_is_released_at_the_end_of_its_block_even_by_an_exception(store: Store) -> None:
    lease = acquire(store, DIGEST, "a")
    assert lease is not None
    with pytest.raises(KeyError), lease:
        raise KeyError
    assert acquire(store, DIGEST, "b") is not None


def test_an_owner_takes_over_its_own_lease_and_the_older_holder_loses_it(store: Store) -> None:
    lost: list[bool] = []
    first = acquire(store, DIGEST, "a", interval_s=0.02, on_lost=lambda: lost.append(True))
    second = acquire(store, DIGEST, "a", interval_s=0.02)
    assert first is not None
    assert second is not None
    deadline = time.monotonic() + 10
    while not lost and time.monotonic() < deadline:
        time.sleep(0.01)
    assert first.lost
    assert lost == [True]
    first.release()
    assert not second.lost
    assert acquire(store, DIGEST, "b") is None, "the older holder's release freed the lease"
    second.release()


def test_the_leases_of_a_finished_run_are_removed(store: Store) -> None:
    lease = acquire(store, DIGEST, "a")
    assert lease is not None
    with lease:
        write_json(store.run_dir(DIGEST) / "report.json", {})
    assert list((store.root / "leases").iterdir()) == []


def test_a_killed_holder_of_this_machine_loses_its_lease_at_once(store: Store, start) -> None:
    process, pipe = start(hold, str(store.root), "a", 1.0, NEVER_S)
    assert pipe.recv()
    assert acquire(store, DIGEST, "b", stale_s=NEVER_S) is None
    os.kill(process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, but still a zombie
    lease = acquire(store, DIGEST, "b", stale_s=NEVER_S)
    assert lease is not None
    lease.release()


def test_a_new_process_with_the_id_of_a_dead_holder_is_not_the_holder(store: Store) -> None:
    lease = acquire(store, DIGEST, "a", interval_s=NEVER_S)
    assert lease is not None
    [path] = (store.root / "leases").glob("*.json")
    values = json.loads(path.read_text())
    assert values["started"] == process_start(os.getpid())
    path.write_text(json.dumps(values | {"started": "1"}))
    taken = acquire(store, DIGEST, "b", stale_s=NEVER_S)
    assert taken is not None
    taken.release()


def test_a_holder_elsewhere_is_dead_when_its_heartbeat_is_old(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = acquire(store, DIGEST, "a", interval_s=NEVER_S)
    assert lease is not None
    elsewhere(monkeypatch)
    age(store, 25)
    assert acquire(store, DIGEST, "b", stale_s=30) is None
    age(store, 10)
    taken = acquire(store, DIGEST, "b", stale_s=30)
    assert taken is not None
    taken.release()


def test_a_wrong_clock_makes_no_holder_dead(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = acquire(store, DIGEST, "a")
    assert lease is not None
    elsewhere(monkeypatch)
    monkeypatch.setattr(time, "time", lambda: 4e9)
    assert acquire(store, DIGEST, "b", stale_s=30) is None
    lease.release()


def test_heartbeats_keep_a_lease_for_longer_than_stale_s(
    store: Store, start, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, pipe = start(hold, str(store.root), "a", 0.05, 1.0)
    assert pipe.recv()
    elsewhere(monkeypatch)
    deadline = time.monotonic() + 1.5
    while time.monotonic() < deadline:
        assert acquire(store, DIGEST, "b", stale_s=1.0) is None
        time.sleep(0.1)
    pipe.send("release")
    assert pipe.recv() is False
    assert pipe.recv() == "released"
    assert acquire(store, DIGEST, "b", stale_s=NEVER_S) is not None


def test_a_holder_that_stood_still_learns_that_it_lost_its_lease(
    store: Store, start, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, pipe = start(hold, str(store.root), "a", 0.05, 0.3)
    assert pipe.recv()
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(0.5)
    lease = acquire(store, DIGEST, "b", interval_s=0.05, stale_s=0.3)
    assert lease is not None
    os.kill(process.pid, signal.SIGCONT)
    time.sleep(0.3)
    pipe.send("release")
    assert pipe.recv() is True
    assert pipe.recv() == "released"
    assert not lease.lost
    assert acquire(store, DIGEST, "c", stale_s=NEVER_S) is None
    lease.release()


def test_of_many_contenders_for_a_dead_holder_s_lease_one_wins(
    store: Store, start, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = store.root / "leases"
    folder.mkdir(parents=True)
    for number in range(10):
        for path in folder.iterdir():
            path.unlink()
        lease_path(folder, DIGEST, 7).write_text("{")  # an incomplete file
        age(store, 60)
        contenders = [start(hold, str(store.root), f"{number} {n}", 5.0, 30.0) for n in range(8)]
        assert [pipe.recv() for _, pipe in contenders].count(True) == 1
        for process, _ in contenders:
            process.kill()


def test_contenders_never_hold_a_lease_together(store: Store, start) -> None:
    contenders = [start(contend, str(store.root), 150) for _ in range(6)]
    store.root.mkdir(parents=True, exist_ok=True)
    for _, pipe in contenders:
        pipe.send("go")
    results = [pipe.recv() for _, pipe in contenders]
    assert sum(held for held, _ in results) > 0
    assert sum(overlaps for _, overlaps in results) == 0


def test_a_slow_contender_cannot_create_a_generation_that_has_passed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It finds generation 1 free and creates 2 when 2 has been released and 3 is held."""
    folder = store.root / "leases"
    first = acquire(store, DIGEST, "a", interval_s=NEVER_S)
    assert first is not None
    first.release()
    judge, winners = lease_module.is_free, []

    def pausing(path: Path, owner: str, stale_s: float) -> bool:
        found = judge(path, owner, stale_s)
        if owner == "slow":
            monkeypatch.setattr(lease_module, "is_free", judge)
            second = acquire(store, DIGEST, "b", interval_s=NEVER_S)
            assert second is not None
            second.release()
            winners.append(acquire(store, DIGEST, "c", interval_s=NEVER_S))
        return found

    monkeypatch.setattr(lease_module, "is_free", pausing)
    assert acquire(store, DIGEST, "slow", interval_s=NEVER_S) is None
    assert generations(folder, DIGEST) == [3]
    [third] = winners
    assert third is not None
    third.release()


def test_a_lease_whose_folder_was_deleted_is_lost(store: Store) -> None:
    lease = acquire(store, DIGEST, "a", interval_s=0.02)
    assert lease is not None
    [path] = (store.root / "leases").glob("*.json")
    path.unlink()
    deadline = time.monotonic() + 10
    while not lease.lost and time.monotonic() < deadline:
        time.sleep(0.01)
    assert lease.lost


def test_a_holder_that_cannot_reach_the_store_for_stale_s_loses_its_lease(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(path: Path) -> None:
        raise OSError("stale file handle")

    monkeypatch.setattr(lease_module.os, "utime", away)
    began = time.monotonic()
    lease = acquire(store, DIGEST, "a", interval_s=0.02, stale_s=0.2)
    assert lease is not None
    while not lease.lost and time.monotonic() < began + 10:
        time.sleep(0.01)
    assert 0.15 < time.monotonic() - began < 5


def test_a_lease_is_lost_if_the_thread_of_its_heartbeats_fails(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooked: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", hooked.append)
    lease = acquire(store, DIGEST, "a", interval_s=0.02)
    assert lease is not None

    def broken(hold: FileHold) -> bool:
        raise RuntimeError("a bug")

    monkeypatch.setattr(FileHold, "beat", broken)
    deadline = time.monotonic() + 10
    while not hooked and time.monotonic() < deadline:
        time.sleep(0.01)
    assert lease.lost
    assert "a bug" in str(hooked[0].exc_value)


def test_releasing_a_lease_raises_nothing_if_the_store_does_not_answer(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(hold: FileHold) -> None:
        raise StoreUnreachable("the network is gone")

    monkeypatch.setattr(FileHold, "release", away)
    lease = acquire(store, DIGEST, "a")
    assert lease is not None
    with lease:
        pass
    assert acquire(store, DIGEST, "b") is None, (
        "it becomes free when its holder dies or its heartbeat is old"
    )


def test_a_process_that_does_not_exist_has_no_start() -> None:
    assert process_start(2**22 + 1) is None
    here = Holder.here("a")
    assert not here.is_known_dead


def test_an_owner_without_a_name_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="owner"):
        acquire(store, DIGEST, "")


class Answering:
    """Files of a lease in a store that may be silent; `beats` counts the heartbeats answered."""

    def __init__(self) -> None:
        self.silent = threading.Event()
        self.is_held = True
        self.beats = 0

    def beat(self) -> bool:
        if self.silent.is_set():
            raise StoreSilent("gone")
        self.beats += 1
        return self.is_held

    def release(self) -> None:
        """Nothing to delete."""


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


@pytest.mark.parametrize("is_held", [True, False])
def test_in_an_outage_a_lease_is_in_doubt_until_the_store_answers(is_held: bool) -> None:
    hold = Answering()
    with Lease(hold, interval_s=0.02, stale_s=0.1) as lease:
        hold.silent.set()
        time.sleep(0.3)
        assert not lease.lost
        with pytest.raises(StoreSilent):
            lease.is_kept()
        hold.is_held = is_held
        hold.silent.clear()
        assert lease.is_kept() is is_held
        wait_for(lambda: lease.lost is not is_held)


def test_after_an_outage_that_was_longer_than_stale_s_two_heartbeats_tell() -> None:
    hold = Answering()
    with Lease(hold, interval_s=NEVER_S, stale_s=0.1) as lease:
        assert lease.is_kept()
        assert hold.beats == 1
        time.sleep(0.2)
        assert lease.is_kept()
        assert hold.beats == 3


def test_a_store_that_refuses_access_for_stale_s_ends_a_lease() -> None:
    class Refusing(Answering):
        def beat(self) -> bool:
            raise StoreUnreachable("access denied")

    lease = Lease(Refusing(), interval_s=0.02, stale_s=0.1)
    wait_for(lambda: lease.lost)


def test_a_block_for_one_at_a_time_waits_and_gives_up_in_one_line(store: Store) -> None:
    with alone(store, "study-mine"):
        began = time.monotonic()
        with (
            pytest.raises(UserError, match="expected to have study-mine for a moment") as raised,
            alone(store, "study-mine", patience_s=0.3),
        ):
            raise AssertionError("two are inside")
        assert 0.3 <= time.monotonic() - began < 5
        assert "\n" not in str(raised.value)
        with alone(store, "study-other", patience_s=0):
            pass
    with alone(store, "study-mine", patience_s=0):
        pass


def test_a_block_for_one_at_a_time_is_entered_once_the_other_has_left(store: Store) -> None:
    order = []

    def enter() -> None:
        with alone(store, "study-mine", patience_s=30):
            order.append("second")

    other = threading.Thread(target=enter)
    with alone(store, "study-mine"):
        other.start()
        time.sleep(0.3)
        order.append("first")
    other.join()
    assert order == ["first", "second"]


def test_another_process_sees_whether_a_lease_is_still_kept_for_it(store: Store) -> None:
    first = acquire(store, DIGEST, "a", interval_s=NEVER_S)
    assert first is not None
    lent = LentLease(store, DIGEST, first.token, interval_s=0.0)
    assert lent.is_kept()
    assert not lent.lost
    second = acquire(store, DIGEST, "a", interval_s=NEVER_S)
    assert second is not None
    assert lent.lost
    assert not lent.is_kept()
    assert LentLease(store, DIGEST, second.token).is_kept()
    second.release()


def test_a_lent_lease_is_lost_when_its_run_was_finished_elsewhere(store: Store) -> None:
    first = acquire(store, DIGEST, "a", interval_s=NEVER_S)
    assert first is not None
    lent = LentLease(store, DIGEST, first.token)
    second = acquire(store, DIGEST, "a", interval_s=NEVER_S)
    assert second is not None
    with second:
        write_json(store.run_dir(DIGEST) / "report.json", {})
    assert not lent.is_kept()
