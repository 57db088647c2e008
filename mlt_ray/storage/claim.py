"""Leases where files can only be written, listed and removed, as in an object store.

    leases/<digest>/<number>.<token>.claim   somebody wants the lease
    leases/<digest>/<number>.<token>.held    somebody has it; rewritten as a heartbeat

Whoever writes a claim and sees no other in a listing made afterwards has the lease: of two, at
least one sees the other, as long as a listing holds all that was written before it began (S3, GCS,
Azure and MinIO promise that). Of several who see each other the one with the lowest name waits for
the others to withdraw. Names are unique, so a dead holder's claim can be removed by anybody, and
age is told by the store's own clock, from the time of a claim that was just written.

What remains: a holder that stands still for longer than `stale_s`, and exactly between the two
requests of a heartbeat, revives a claim that another has removed. It learns so at its next
heartbeat, since later leases have higher numbers; until then both compute the run.
"""

import time
import uuid
from dataclasses import dataclass

from mlt_ray.storage.holder import UNKNOWN, Holder
from mlt_ray.storage.remote import Remote, RemoteFile

POLL_S = 0.2
POLLS = 25
"""How often, and how many times, the lowest of several contenders looks whether it is alone."""


@dataclass(frozen=True, order=True)
class Claim:
    """What names a claim. Lower ones go first; a lease has a higher number than all before it."""

    number: int
    token: str

    def file(self, state: str) -> str:
        """Its file's name in the state ``claim`` or ``held``."""
        return f"{self.number:06d}.{self.token}.{state}"


@dataclass(frozen=True)
class Seen:
    """A claim's file in a listing."""

    name: str
    file: RemoteFile

    @property
    def is_held(self) -> bool:
        """Whether the claim has become the lease."""
        return self.name.endswith(".held")


def listed(remote: Remote, folder: str) -> dict[Claim, Seen]:
    """All claims, in order; one that is both wanted and held is held."""
    found = {}
    for name, file in sorted(remote.files(folder).items()):
        match name.split("."):
            case [number, token, "claim" | "held"] if number.isdecimal():
                found[Claim(int(number), token)] = Seen(name, file)
    return found


class ClaimHold:
    """A lease that is held by a claim."""

    def __init__(self, remote: Remote, folder: str, claim: Claim, holder: Holder) -> None:
        self._remote = remote
        self._folder = folder
        self._claim = claim
        self._holder = holder

    @classmethod
    def take(
        cls, remote: Remote, folder: str, holder: Holder, stale_s: float
    ) -> "ClaimHold | None":
        """Claim the lease and wait until that is decided, some seconds at most."""
        number = max((claim.number for claim in listed(remote, folder)), default=0) + 1
        hold = cls(remote, folder, Claim(number, uuid.uuid4().hex), holder)
        try:
            if hold._wins(stale_s) and hold._confirm():
                return hold
        except BaseException:
            hold.leave()
            raise
        hold.leave()
        return None

    def _wins(self, stale_s: float) -> bool:
        for attempt in range(POLLS):
            if attempt:
                time.sleep(POLL_S)
            # Written anew each time: its time is the store's clock.
            self._write("claim")
            others = listed(self._remote, self._folder)
            own = others.pop(self._claim, None)
            if own is None:
                return False
            now = own.file.written_s
            rivals = {c: s for c, s in others.items() if not self._buries(s, now, stale_s)}
            if not rivals:
                return True
            if any(seen.is_held or claim < self._claim for claim, seen in rivals.items()):
                return False
        return False

    def _buries(self, seen: Seen, now: float | None, stale_s: float) -> bool:
        """Whether another's claim is dead, and so has been removed."""
        written = seen.file.written_s
        if now is None or written is None or now - written <= stale_s:
            content = self._remote.read(f"{self._folder}/{seen.name}")
            # A claim that has gone may just have become the lease: the next listing tells.
            other = Holder.from_json(content) if content else UNKNOWN
            retaken = seen.is_held and other.owner == self._holder.owner
            if not (retaken or other.is_known_dead):
                return False
        self._remote.delete(f"{self._folder}/{seen.name}")
        return True

    def _confirm(self) -> bool:
        """Turn the claim into the lease, unless it was taken for dead meanwhile."""
        self._write("held")
        names = set(self._remote.files(self._folder)) - {self._claim.file("held")}
        if self._claim.file("claim") not in names or any(n.endswith(".held") for n in names):
            return False
        self._delete("claim")
        return True

    def beat(self) -> bool:
        """Rewrite the claim, unless it has been removed or a later one is held."""
        found = listed(self._remote, self._folder)
        later = any(seen.is_held and claim > self._claim for claim, seen in found.items())
        if later or self._claim not in found:
            return False
        self._write("held")
        return True

    def leave(self) -> None:
        """Remove the claim."""
        self._delete("held")
        self._delete("claim")

    def _write(self, state: str) -> None:
        name = f"{self._folder}/{self._claim.file(state)}"
        self._remote.write(name, self._holder.as_json().encode())

    def _delete(self, state: str) -> None:
        self._remote.delete(f"{self._folder}/{self._claim.file(state)}")
