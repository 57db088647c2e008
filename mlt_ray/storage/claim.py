"""Leases in a store behind a URI, where files can only be written, listed and removed.

An object store cannot refuse to create a file that exists, so two drivers may both write a file.
Therefore each driver announces itself first, by a claim, and then looks whether it is alone:

    leases/<name>/<number>.<token>.claim   a claim: this process wants the lease
    leases/<name>/<number>.<token>.held    the lease: this process has it

Taking the lease:
1. List the folder. Write a claim with the highest number there + 1 and a random token.
2. List the folder again. Remove the files of dead processes (below). If no other file is left,
   write ``.held``, list once more to see that the claim is still there and that nobody else holds
   the lease, and delete ``.claim``: the lease is taken.
3. If another file is left, and it is a lease or a lower claim, delete the own claim and give up.
   The lowest claim waits for the others to give up: it repeats step 2 a few times.

Of two contenders, the one whose second listing is later sees the other, since a listing shows all
files that were complete before it began (S3, GCS, Azure and MinIO promise this). So two contenders
never both find themselves alone.

Keeping the lease: the holder rewrites its ``.held`` file every few seconds, as a heartbeat. Before
each heartbeat it lists the folder. If its file is gone, or if a higher number is held, it has lost
the lease. If there is no file at all, the store was emptied or others have come and gone during an
outage: the holder takes the lease again, with its old claim. Giving the lease back means deleting
the file.

When a holder dies, its file stays. A contender removes it if the file is older than `stale_s`, or
at once if the process ran on the contender's machine and no longer exists, or if it is the lease
of the same owner. Ages are measured by the store's clock: the contender compares the file's time
with that of the claim that it has just written. No two files have one name, so nobody removes
another's file by mistake.

In an outage of the store nobody can take a lease, and the holder cannot keep it. Who is answered
first afterwards has it: if that is a contender, the holder's next heartbeat tells the holder.

One gap remains. A holder may stand still for longer than `stale_s` exactly between the listing and
the writing of a heartbeat. It then writes its ``.held`` file again after another process has
removed it. Both compute the run until the holder's next heartbeat, which finds the higher number.
"""

import contextlib
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mlt_ray.errors import StoreUnreachable
from mlt_ray.storage.holder import UNKNOWN_HOLDER, Holder
from mlt_ray.storage.remote import Remote, RemoteFile

LISTING_INTERVAL_S = 0.2
"""Seconds between two listings of a contender that waits for others to give up."""

MAX_LISTINGS = 25
"""Number of listings after which a contender that is still not alone gives up."""

Waiting = Callable[[Callable[[], Any]], Any]
"""Calls a function and returns its result."""


def directly(action: Callable[[], Any]) -> Any:
    """Result of `action`, which is called once."""
    return action()


@dataclass(frozen=True, order=True)
class Claim:
    """Names a claim. The lowest contender goes first; a new claim gets the highest number."""

    number: int
    token: str

    def file(self, state: str) -> str:
        """Name of its file in the state ``claim`` or ``held``."""
        return f"{self.number:06d}.{self.token}.{state}"


@dataclass(frozen=True)
class ClaimFile:
    """A claim's file in a listing."""

    name: str
    file: RemoteFile

    @property
    def is_held(self) -> bool:
        """Whether the claim has become the lease."""
        return self.name.endswith(".held")


def list_claims(remote: Remote, folder: str) -> dict[Claim, ClaimFile]:
    """All claims in order. Of a claim with both files, the ``.held`` one."""
    found = {}
    for name, file in sorted(remote.files(folder).items()):
        match name.split("."):
            case [number, token, "claim" | "held"] if number.isdecimal():
                found[Claim(int(number), token)] = ClaimFile(name, file)
    return found


def is_held(remote: Remote, folder: str, token: str) -> bool:
    """Whether the claim whose ``.held`` file bears this name is the lease, and no higher one is."""
    held = [
        claim.file("held") for claim, file in list_claims(remote, folder).items() if file.is_held
    ]
    return bool(held) and held[-1] == token


class ClaimHold:
    """A lease in a store behind a URI."""

    def __init__(
        self, remote: Remote, folder: str, claim: Claim, holder: Holder, stale_s: float
    ) -> None:
        self.token = claim.file("held")
        self._remote = remote
        self._folder = folder
        self._claim = claim
        self._holder = holder
        self._stale_s = stale_s

    @classmethod
    def take(
        cls,
        remote: Remote,
        folder: str,
        holder: Holder,
        stale_s: float,
        waiting: Waiting = directly,
    ) -> "ClaimHold | None":
        """Try to take the lease, for some seconds at most; None if another process has it.

        `waiting` is what calls the store: `Mirror.waiting`, if an outage is to be waited for.
        """
        claims = waiting(lambda: list_claims(remote, folder))
        number = max((claim.number for claim in claims), default=0) + 1
        hold = cls(remote, folder, Claim(number, uuid.uuid4().hex), holder, stale_s)
        try:
            # After an outage in the middle this begins again, with the same claim.
            if waiting(hold._take):
                return hold
        except BaseException:
            with contextlib.suppress(StoreUnreachable):
                hold.release()
            raise
        waiting(hold.release)
        return None

    def _take(self) -> bool:
        return self._becomes_alone(self._stale_s) and self._turn_into_lease()

    def _becomes_alone(self, stale_s: float) -> bool:
        """Write the claim and wait until no other is left; False if another goes first."""
        for attempt in range(MAX_LISTINGS):
            if attempt:
                time.sleep(LISTING_INTERVAL_S)
            # Written each time, so that its time is the store's present time.
            self._write("claim")
            others = list_claims(self._remote, self._folder)
            own = others.pop(self._claim, None)
            if own is None:
                return False
            now = own.file.written_s
            rivals = {c: f for c, f in others.items() if not self._remove_if_dead(f, now, stale_s)}
            if not rivals:
                return True
            if any(file.is_held or claim < self._claim for claim, file in rivals.items()):
                return False
        return False

    def _remove_if_dead(self, other: ClaimFile, now: float | None, stale_s: float) -> bool:
        """Remove the file of a dead process or of the same owner's lease; whether it was one."""
        written = other.file.written_s
        if now is None or written is None or now - written <= stale_s:
            content = self._remote.read(f"{self._folder}/{other.name}")
            # A claim that has gone may have become the lease: the next listing shows it.
            holder = Holder.from_json(content) if content else UNKNOWN_HOLDER
            is_own_lease = other.is_held and holder.owner == self._holder.owner
            if not (is_own_lease or holder.is_known_dead):
                return False
        self._remote.delete(f"{self._folder}/{other.name}")
        return True

    def _turn_into_lease(self) -> bool:
        """Replace ``.claim`` by ``.held``; False if another process removed the claim before."""
        self._write("held")
        names = set(self._remote.files(self._folder)) - {self._claim.file("held")}
        if self._claim.file("claim") not in names or any(n.endswith(".held") for n in names):
            return False
        self._delete("claim")
        return True

    def beat(self) -> bool:
        """Rewrite the lease's file, unless it was removed or a higher claim is held."""
        found = list_claims(self._remote, self._folder)
        if not found:
            return self._take()
        is_overtaken = any(file.is_held and claim > self._claim for claim, file in found.items())
        if is_overtaken or self._claim not in found:
            return False
        self._write("held")
        return True

    def release(self) -> None:
        """Delete the claim's files."""
        self._delete("held")
        self._delete("claim")

    def _write(self, state: str) -> None:
        name = f"{self._folder}/{self._claim.file(state)}"
        self._remote.write(name, self._holder.as_json().encode())

    def _delete(self, state: str) -> None:
        self._remote.delete(f"{self._folder}/{self._claim.file(state)}")
