"""In what surroundings a study or a search is disturbed."""

import contextlib
import os
import random
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.crashes import disks, searches, servers, stores
from tests.crashes.scene import RUNS, Finding, Scene, kill_session
from tests.end_to_end.conftest import mlt_ray


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Commands that are given at once, and with what they work.

    `arguments`: of each command. `store`: where it is, as a command is told; `root`: its folder, or
    the mirror of it. `runs`: how many are finished at last. `check`: further complaints, when all
    is done. The rest is that of `tests.endurance.damages.Target`.
    """

    arguments: tuple[object, ...]
    store: str
    root: Path
    undisturbed: Path
    runs: int = RUNS
    drivers: int = 1
    stop: Callable[[], None] | None = None
    start: Callable[[], None] | None = None
    disk: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    check: Callable[[Finding], None] = lambda finding: None


def _in_folder(scene: Scene, store: Path, *more: object, **values: Any) -> Setting:
    """The study in a folder; `more` are further arguments of its command."""
    return Setting(
        arguments=scene.command(store, *more),
        store=str(store),
        root=store,
        undisturbed=scene.undisturbed,
        **values,
    )


Enter = Callable[[Scene, str], AbstractContextManager[Setting]]


@contextlib.contextmanager
def study(scene: Scene, name: str) -> Iterator[Setting]:
    """The study, in a folder."""
    store = scene.store(name)
    yield Setting(
        arguments=scene.command(store), store=str(store), root=store, undisturbed=scene.undisturbed
    )


@contextlib.contextmanager
def two_drivers(scene: Scene, name: str) -> Iterator[Setting]:
    """The same command twice at once."""
    store = scene.store(name)
    yield Setting(
        arguments=scene.command(store),
        store=str(store),
        root=store,
        undisturbed=scene.undisturbed,
        drivers=2,
    )


@contextlib.contextmanager
def search(scene: Scene, name: str) -> Iterator[Setting]:
    """A search, whose undisturbed store is made the first time."""
    space, undisturbed = scene.folder / "mini.yaml", scene.folder / "undisturbed-search"
    if not space.exists():
        space.write_text(searches.SPACE)
        done = mlt_ray(*searches.command(scene, space, scene.store(undisturbed.name)))
        if done.returncode:
            raise RuntimeError(f"the undisturbed search failed: {done.stderr}")
    store = scene.store(name)

    def check(finding: Finding) -> None:
        tried = searches.configurations(store)
        values = sorted(c["model.feed_forward"] for c in tried)
        finding.expect(values == [16, 24, 32], f"configurations {values}")
        finding.expect({c["state"] for c in tried} == {"complete"}, f"states of {tried}")
        finding.expect(len(searches.optuna_studies(store)) == 1, "more than one Optuna study")

    yield Setting(
        arguments=searches.command(scene, space, store),
        store=str(store),
        root=store,
        undisturbed=undisturbed,
        runs=searches.RUNS,
        check=check,
    )


@contextlib.contextmanager
def disk(scene: Scene, name: str) -> Iterator[Setting]:
    """The study, on a small disk. Needs the right to mount one."""
    folder = scene.folder / f"{name}-disk"
    refusal = disks.mount(folder)
    if refusal:
        raise RuntimeError(f"a tmpfs cannot be mounted here: {refusal}")
    try:
        store = scene.store("store", inside=folder)
        yield _in_folder(scene, store, disk=folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextlib.contextmanager
def mlflow(scene: Scene, name: str) -> Iterator[Setting]:
    """The study, with MLflow on a server, which is killed and started again."""
    store, database, port = scene.store(name), scene.folder / f"{name}.db", servers.free_port()
    running: list[tuple[subprocess.Popen, contextlib.ExitStack]] = []

    def start() -> None:
        stack = contextlib.ExitStack()
        running.append((stack.enter_context(servers.server(database, port)), stack))

    def stop() -> None:
        process, stack = running.pop()
        kill_session(process)
        stack.close()

    def check(finding: Finding) -> None:
        stop()
        servers.sync_twice(finding, store, database, port)
        start()

    start()
    try:
        uri = f"http://127.0.0.1:{port}"
        more = ("--tracking-uri", uri)
        yield _in_folder(scene, store, *more, stop=stop, start=start, check=check)
    finally:
        stop()


@contextlib.contextmanager
def object_store(scene: Scene, name: str) -> Iterator[Setting]:
    """The study, in a store on an S3 server, which is gone for a while."""
    from mlt_ray.storage.store import Store

    with stores.server() as s3, stores.machine(scene.folder / f"machine-{name}"):
        uri = s3.uri(name)
        root = Store(uri).root

        def check(finding: Finding) -> None:
            found = [n for n in s3.names() if n.startswith(f"{name}/runs/")]
            number = sum(n.endswith("/report.json") for n in found)
            finding.expect(number == RUNS, f"the store has {number} of {RUNS} runs")

        yield Setting(
            arguments=scene.command(uri),
            store=uri,
            root=root,
            undisturbed=scene.undisturbed,
            stop=s3.stop,
            start=s3.start,
            environment={k: os.environ[k] for k in (*stores.KEYS, "MLT_RAY_CACHE")},
            check=check,
        )


SETTINGS: Mapping[str, tuple[Enter, float]] = {
    "study": (study, 6.0),
    "two drivers": (two_drivers, 2.0),
    "search": (search, 2.0),
    "small disk": (disk, 1.0),
    "MLflow server": (mlflow, 2.0),
    "S3 store": (object_store, 2.0),
}
"""How a setting is entered, and how often it is chosen."""


def choose(rng: random.Random) -> str:
    """The name of a setting."""
    weights = [weight for _, weight in SETTINGS.values()]
    return rng.choices(list(SETTINGS), weights)[0]
