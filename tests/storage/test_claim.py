"""Claims: one contender at a time has the lease, though files can only be written and listed."""

import contextlib
import json
import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from mlt_ray.errors import StoreSilent
from mlt_ray.storage import claim as claim_module
from mlt_ray.storage import holder as holder_module
from mlt_ray.storage.claim import Claim, ClaimHold, is_held, list_claims
from mlt_ray.storage.holder import Holder
from mlt_ray.storage.remote import Remote, RemoteFile
from tests.storage.contenders import alone_inside

FOLDER = "leases/run"
CONTEXT = multiprocessing.get_context("fork")
NEVER_S = 1000.0


@pytest.fixture
def there(tmp_path: Path) -> Path:
    return tmp_path / "there"


@pytest.fixture
def remote(there: Path, monkeypatch: pytest.MonkeyPatch) -> Remote:
    monkeypatch.setattr(claim_module, "LISTING_INTERVAL_S", 0.01)
    return Remote(f"local://{there}")


def take(remote: Remote, owner: str, stale_s: float = NEVER_S) -> ClaimHold | None:
    return ClaimHold.take(remote, FOLDER, Holder.here(owner), stale_s)


def files(there: Path) -> list[str]:
    return sorted(p.name for p in (there / FOLDER).iterdir())


def age(there: Path, seconds: float) -> None:
    """Make the files of all claims older."""
    for path in (there / FOLDER).iterdir():
        then = path.stat().st_mtime - seconds
        os.utime(path, (then, then))


def contend(pipe: Connection, uri: str, mark: Path, rounds: int) -> None:
    """Take and release the lease many times; send how often it was held alone, and not alone."""
    claim_module.LISTING_INTERVAL_S = 0.002
    remote, held, overlaps = Remote(uri), 0, 0
    pipe.recv()
    for _ in range(rounds):
        hold = take(remote, f"owner {os.getpid()}")
        if hold is None:
            continue
        alone = alone_inside(mark)
        held, overlaps = held + alone, overlaps + (not alone)
        hold.release()
    pipe.send((held, overlaps))


def rival(there: Path, name: str, holder: Holder | None = None) -> Path:
    """Write the claim of another process."""
    path = there / FOLDER / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text((holder or Holder.here("rival")).as_json())
    return path


def test_only_one_owner_holds_a_claim(remote: Remote, there: Path) -> None:
    first = take(remote, "a")
    assert first is not None
    assert take(remote, "b") is None
    [name] = files(there)
    assert name.endswith(".held")
    assert first.beat()
    first.release()
    assert files(there) == []
    second = take(remote, "b")
    assert second is not None


def test_an_owner_retakes_its_own_claim_and_the_older_holder_has_lost_it(
    remote: Remote, there: Path
) -> None:
    first, second = take(remote, "a"), take(remote, "a")
    assert first is not None
    assert second is not None
    assert not first.beat()
    first.release()
    assert second.beat()
    assert take(remote, "b") is None


def test_a_holder_is_dead_when_its_heartbeat_is_old(
    remote: Remote, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = take(remote, "a", 30)
    monkeypatch.setattr(holder_module, "machine", lambda: "another boot")
    age(there, 25)
    assert take(remote, "b", 30) is None
    age(there, 10)
    second = take(remote, "b", 30)
    assert first is not None
    assert second is not None
    assert not first.beat()
    assert second.beat()


def test_a_dead_process_of_this_machine_holds_nothing(remote: Remote, there: Path) -> None:
    here = Holder.here("rival")
    values = json.loads(here.as_json())
    rival(there, "000001.x.held", Holder(**(values | {"started": "1"})))
    rival(there, "000002.y.claim", Holder(**(values | {"pid": 2**22 + 1})))
    hold = take(remote, "a")
    assert hold is not None
    assert len(files(there)) == 1


def test_a_holder_whose_heartbeat_restores_a_removed_file_gives_way_to_the_higher_claim(
    remote: Remote, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = take(remote, "a", 30)
    assert first is not None
    age(there, 60)
    write = ClaimHold._write

    def pausing(hold: ClaimHold, state: str) -> None:
        monkeypatch.setattr(ClaimHold, "_write", write)
        second.append(take(remote, "b", 30))
        write(hold, state)

    second: list[ClaimHold | None] = []
    monkeypatch.setattr(ClaimHold, "_write", pausing)
    assert first.beat(), "it listed before the other took over, and writes afterwards"
    [later] = second
    assert later is not None
    assert later.beat()
    assert not first.beat()
    first.release()
    assert later.beat()
    assert len(files(there)) == 1


def test_a_contender_that_counts_as_dead_before_it_takes_the_lease_does_not_get_it(
    remote: Remote, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is alone in its listing, then stands still, and another takes the lease meanwhile."""
    wins, others = ClaimHold._becomes_alone, []

    def pausing(hold: ClaimHold, stale_s: float) -> bool:
        monkeypatch.setattr(ClaimHold, "_becomes_alone", wins)
        found = wins(hold, stale_s)
        age(there, 60)
        others.append(take(remote, "b", 30))
        return found

    monkeypatch.setattr(ClaimHold, "_becomes_alone", pausing)
    assert take(remote, "a", 30) is None
    [other] = others
    assert other is not None
    assert other.beat()
    assert len(files(there)) == 1


def test_the_lowest_contender_waits_for_the_others_to_give_up(
    remote: Remote, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    naps = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            higher.unlink()

    higher = rival(there, "000009.z.claim")
    monkeypatch.setattr(claim_module.time, "sleep", nap)
    monkeypatch.setattr(claim_module, "list_claims", lambda *where: lower(list_claims(*where)))

    def lower(found: dict) -> dict:
        # As if the rival had written its claim after our first listing.
        return found if any(c.number == 1 for c in found) else {}

    hold = take(remote, "a")
    assert hold is not None
    assert len(naps) == 3


@pytest.mark.parametrize("name", ["000000.a.claim", "000007.z.held"])
def test_a_contender_gives_up_if_there_is_a_lower_claim_or_a_holder(
    remote: Remote, there: Path, name: str
) -> None:
    rival(there, name)
    began = time.monotonic()
    assert take(remote, "a") is None
    assert time.monotonic() - began < 5
    assert files(there) == [name]


def test_a_claim_that_becomes_the_lease_before_it_is_read_is_not_removed(
    remote: Remote, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its `.claim` file is gone when a contender reads it, which does not mean that it is dead."""
    path = rival(there, "000009.z.claim")
    read = Remote.read

    def turning(remote: Remote, name: str) -> bytes | None:
        if path.exists():
            path.rename(path.with_suffix(".held"))
        return read(remote, name)

    monkeypatch.setattr(Remote, "read", turning)
    assert take(remote, "a") is None
    assert files(there) == ["000009.z.held"]


def test_contenders_never_hold_a_claim_together(there: Path, tmp_path: Path) -> None:
    started = []
    for _ in range(5):
        ours, theirs = CONTEXT.Pipe()
        arguments = (theirs, f"local://{there}", tmp_path / "inside", 40)
        process = CONTEXT.Process(target=contend, args=arguments, daemon=True)
        process.start()
        started.append((process, ours))
    for _, pipe in started:
        pipe.send("go")
    results = [pipe.recv() for _, pipe in started]
    for process, _ in started:
        process.join()
    assert sum(held for held, _ in results) > 0
    assert sum(overlaps for _, overlaps in results) == 0
    assert files(there) == []


def test_a_contender_that_fails_leaves_no_claim(
    remote: Remote, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(hold: ClaimHold) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(ClaimHold, "_turn_into_lease", failing)
    with pytest.raises(KeyboardInterrupt):
        take(remote, "a")
    assert files(there) == []


def test_claims_are_listed_in_order_and_a_held_one_as_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = ("000010.b.claim", "000009.a.held", "000010.a.held", "000010.a.claim")
    names += ("README", "x.y.held", "000011.c.other")

    class Listing:
        def files(self, folder: str) -> dict[str, RemoteFile]:
            return {name: RemoteFile(size=1, written_s=None) for name in names}

    found = list_claims(Listing(), FOLDER)  # type: ignore[arg-type]
    assert list(found) == [Claim(9, "a"), Claim(10, "a"), Claim(10, "b")]
    assert [seen.is_held for seen in found.values()] == [True, True, False]


def test_a_folder_that_vanishes_while_it_is_listed_holds_nothing(
    remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Vanishing:
        def get_file_info(self, selector: object) -> None:
            raise FileNotFoundError

    monkeypatch.setattr(remote, "_fs", Vanishing())
    assert remote.files(FOLDER) == {}


def hold_without_its_file(remote: Remote, there: Path) -> tuple[ClaimHold, str]:
    """A lease whose file was deleted, and the file's name."""
    hold = take(remote, "a")
    assert hold is not None
    [name] = files(there)
    (there / FOLDER / name).unlink()
    return hold, name


def test_a_holder_takes_its_lease_again_in_a_store_that_was_emptied(
    remote: Remote, there: Path
) -> None:
    hold, name = hold_without_its_file(remote, there)
    assert hold.beat()
    assert files(there) == [name]
    assert take(remote, "b") is None


def test_a_holder_whose_file_is_gone_gives_way_to_one_who_claims_the_lease(
    remote: Remote, there: Path
) -> None:
    hold, _ = hold_without_its_file(remote, there)
    rival(there, "000002.z.claim")
    assert not hold.beat()
    assert files(there) == ["000002.z.claim"]


def test_a_contender_waits_through_an_outage_and_leaves_one_claim(
    remote: Remote, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is silent once in each of its requests."""
    failed: set[tuple[str, str]] = set()

    def silent_once(method: str) -> Any:
        original = getattr(Remote, method)

        def request(remote: Remote, name: str, *more: Any) -> Any:
            if (method, name) not in failed:
                failed.add((method, name))
                raise StoreSilent("gone")
            return original(remote, name, *more)

        return request

    def waiting(action: Callable[[], Any]) -> Any:
        while True:
            with contextlib.suppress(StoreSilent):
                return action()

    for method in ("write", "files", "delete"):
        monkeypatch.setattr(Remote, method, silent_once(method))
    hold = ClaimHold.take(remote, FOLDER, Holder.here("a"), NEVER_S, waiting)
    assert hold is not None
    assert len(failed) >= 4
    assert len(files(there)) == 1
    assert hold.beat()


def test_a_claim_is_held_until_a_higher_one_is(remote: Remote, there: Path) -> None:
    first = take(remote, "a")
    assert first is not None
    assert is_held(remote, FOLDER, first.token)
    second = take(remote, "a")
    assert second is not None
    assert not is_held(remote, FOLDER, first.token)
    assert is_held(remote, FOLDER, second.token)
    second.release()
    assert not is_held(remote, FOLDER, second.token)
