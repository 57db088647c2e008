"""A Ray actor, one per command, that shows the runs under way and tells workers which shall stop.

Ray's dashboard lists tasks by name. The tasks that Tune starts all have the same name, since their
workers are used again. So while a run is trained, one task of this actor bears the run's name.
"""

import asyncio
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayActorError
from ray.tune.execution import class_cache
from ray.util.metrics import Counter, Gauge
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mlt_ray.planning.plan import RunName
from mlt_ray.scheduling.death import has_died
from mlt_ray.spec import Run
from mlt_ray.storage.outage import Outage
from mlt_ray.storage.report import EPOCH_SCORES, Epoch

TAGS = ("study", "row", "fold", "seed")


CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SECURITY_TOKEN",
    "AWS_SESSION_TOKEN",
)
"""Variables of the driver's environment that workers on other machines need for the store.

Tune would give them to its workers too, and Ray would write them into a log that anyone may read.
"""
# There is no setting for it. If Ray renames this, the test that looks for secrets fails.
class_cache.ENV_VARS_TO_PROPAGATE.difference_update(CREDENTIALS)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a driver's store is, and what of its environment opens it; both may hold secrets."""

    location: str
    environment: Mapping[str, str]


class RunBoard:
    """The actor; its methods are coroutines, so that one process shows any number of runs."""

    def __init__(self) -> None:
        self._place = Place(location="", environment={})
        self._ended: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._stopping: set[str] = set()
        self._stops_all = False
        self._waiting: set[str] = set()
        self._heard: asyncio.Queue[tuple[bool, str]] = asyncio.Queue()
        self._epoch = Gauge("mlt_ray_epoch", "Epochs behind a run.", tag_keys=TAGS)
        self._finished = Counter("mlt_ray_runs_finished", "Runs that left a report.")
        self._scores = {
            name: Gauge(f"mlt_ray_{name}", "Of the last epoch.", tag_keys=TAGS)
            for name in EPOCH_SCORES
        }

    async def keep(self, place: Place) -> None:
        """Keep where the store is, in memory alone."""
        self._place = place

    async def place(self) -> Place:
        """Where the store is."""
        return self._place

    async def show(self, digest: str) -> None:
        """Lasts as long as the run is trained."""
        await self._ended[digest].wait()

    async def hide(self, digest: str, is_finished: bool) -> None:
        """The run is not trained any more."""
        self._ended.pop(digest, asyncio.Event()).set()
        if is_finished:
            self._finished.inc()

    async def note(self, tags: dict[str, str], epoch: Epoch) -> None:
        """Publish an epoch as Ray metrics."""
        self._epoch.set(epoch.epoch, tags=tags)
        for name, gauge in self._scores.items():
            gauge.set(getattr(epoch, name), tags=tags)

    async def stop(self, digest: str) -> None:
        """Let one run stop after its epoch."""
        self._stopping.add(digest)

    async def stop_all(self) -> None:
        """Let every run stop after its epoch."""
        self._stops_all = True

    async def is_stopping(self, digest: str) -> bool:
        """True if the run shall stop."""
        return self._stops_all or digest in self._stopping

    async def hear(self, worker: str, is_silent: bool, line: str) -> None:
        """A worker begins to wait for the store, or its wait has ended."""
        before = bool(self._waiting)
        (self._waiting.add if is_silent else self._waiting.discard)(worker)
        if bool(self._waiting) != before:
            await self._heard.put((is_silent, line))

    async def told(self) -> tuple[bool, str]:
        """What the first worker said that waits, or the last one; lasts until there is news."""
        return await self._heard.get()


class BoardClient:
    """The driver's side of the board: an `Observer` that never waits for an answer."""

    def __init__(self, name: str, names: Mapping[str, RunName], location: str) -> None:
        """`name`: the actor's; `names`: those of runs, by digest; `location`: the store's."""
        environment = {name: os.environ[name] for name in CREDENTIALS if name in os.environ}
        place = Place(location=location, environment=environment)
        self.name = name
        self.names = names
        # On the driver's node: if another node is lost, the other nodes' runs still have a board.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor = ray.remote(num_cpus=0, max_concurrency=10_000, name=name, scheduling_strategy=here)(
            RunBoard
        )
        self._actor: Any = actor.remote()
        self._news: Any = None
        # Awaited, since workers ask for it.
        ray.get(self._actor.keep.remote(place))

    def started(self, run: Run) -> None:
        """A task with the run's name appears."""
        self._actor.show.options(name=str(self.names[run.digest])).remote(run.digest)

    def epochs(self, run: Run, epochs: Sequence[Epoch]) -> None:
        """The last epoch's scores become metrics."""
        name = self.names[run.digest]
        tags = {tag: str(getattr(name, tag)) for tag in TAGS}
        self._actor.note.remote(tags, epochs[-1])

    def finished(self, run: Run) -> None:
        """The task ends."""
        self._actor.hide.remote(run.digest, True)

    def failed(self, run: Run, reason: str) -> None:
        """The task ends."""
        self._actor.hide.remote(run.digest, False)

    def stopped(self, run: Run) -> None:
        """The task ends."""
        self._actor.hide.remote(run.digest, False)

    def stop(self, run: Run) -> None:
        """Let a run stop after its epoch."""
        self._actor.stop.remote(run.digest)

    def stop_all(self) -> None:
        """Let every run stop after its epoch."""
        self._actor.stop_all.remote()

    def relay(self, outage: Outage) -> None:
        """Pass on what workers have said of the store since the last call.

        `RayDied` if the board has died, without which no worker goes on.
        """
        self._news = self._news or self._actor.told.remote()
        if ray.wait([self._news], timeout=0)[0]:
            try:
                is_silent, line = ray.get(self._news)
            except RayActorError as error:
                raise has_died("this command's board of runs, one of Ray's workers") from error
            self._news = None
            if is_silent:
                outage.begin(line)
            else:
                outage.end(answers=bool(line))
