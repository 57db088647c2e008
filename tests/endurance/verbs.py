"""What each verb leaves behind, however it ends: processes, ports, temporary files.

Each verb is let run to its end, interrupted as by Ctrl-C, and killed, at random moments.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rich.table import Table

from mlt_ray.errors import INTERRUPTED
from tests.crashes.scene import ONE, Scene, kill_session
from tests.end_to_end.conftest import mlt_ray, start_mlt_ray
from tests.endurance.remains import Machine

SHM = Path("/dev/shm")
"""Where shared memory is. It has one folder for all programs of the machine."""

SHARED_S = 3.0
"""Seconds in which another program, that has just made shared memory, maps or removes it."""

CLIPS = 2
COMMAND_S = 600.0


@dataclass(frozen=True, kw_only=True)
class Place:
    """What verbs work on: a scene with its finished store, recordings, a recogniser of speech."""

    scene: Scene
    folder: Path
    asr: Path | None = None

    @property
    def store(self) -> Path:
        """The finished store; verbs that write get a copy."""
        return self.scene.undisturbed

    @property
    def clips(self) -> list[Path]:
        """A few recordings of the corpus."""
        return sorted(self.scene.corpus.rglob("*.wav"))[:CLIPS]


Arguments = Callable[[Place, Path], tuple[object, ...]]
"""Arguments of a command that works in an empty folder."""


def _run(place: Place, folder: Path) -> tuple[object, ...]:
    return place.scene.command(place.scene.store("store", inside=folder), few=ONE)


def _search(place: Place, folder: Path) -> tuple[object, ...]:
    from tests.crashes import searches

    space = folder / "mini.yaml"
    space.write_text(searches.SPACE)
    return searches.command(place.scene, space, place.scene.store("store", inside=folder))


def _copied(place: Place, folder: Path) -> Path:
    shutil.copytree(place.store, folder / "store")
    return folder / "store"


def _texts(folder: Path) -> Path:
    path = folder / "texts.csv"
    rows = (f"{1 + n % 5},s{n % 5},neutral,this is sentence number {n}" for n in range(60))
    path.write_text("\n".join(["session,speaker,emotion,text", *rows]) + "\n")
    return path


ROW = "small/audio only"
VERBS: Mapping[str, Arguments] = {
    "run": _run,
    "search": _search,
    "demo": lambda place, folder: ("demo", "--store", folder / "store"),
    "report": lambda place, folder: ("report", "small", "--store", _copied(place, folder)),
    "compare": lambda place, folder: ("compare", ROW, ROW, "--store", _copied(place, folder)),
    "sync": lambda place, folder: ("sync", "--store", _copied(place, folder)),
    "doctor": lambda place, folder: ("doctor", "--store", _copied(place, folder)),
    "predict": lambda place, folder: (
        "predict", *place.clips, "--store", place.store, "--model", ROW
    ),
    "predict --asr": lambda place, folder: (
        "predict", *place.clips, "--store", place.store, "--model", ROW, "--asr", place.asr
    ),
    "explain": lambda place, folder: (
        "explain", place.clips[0], "--store", place.store, "--model", ROW,
        "--out", folder / "page.html",
    ),
    "evaluate": lambda place, folder: (
        "evaluate", ROW, "--corpus", place.scene.corpus, "--store", _copied(place, folder),
        "--leave-out-heard",
    ),
    "export": lambda place, folder: (
        "export", ROW, "--store", place.store, "--out", folder / "model"
    ),
    "export --to onnx": lambda place, folder: (
        "export", ROW, "--store", place.store, "--to", "onnx", "--out", folder / "model"
    ),
    "export --to mlflow --log": lambda place, folder: (
        "export", ROW, "--store", _copied(place, folder), "--to", "mlflow", "--log",
        "--out", folder / "model",
    ),
    "corpus demo": lambda place, folder: ("corpus", "demo", folder / "out"),
    "corpus synthesize": lambda place, folder: (
        "corpus", "synthesize", _texts(folder), folder / "out"
    ),
    "corpus check": lambda place, folder: ("corpus", "check", place.scene.corpus),
}  # fmt: skip
"""Every verb that starts something or writes temporary files."""


@dataclass(kw_only=True)
class Left:
    """What a verb left, that ended in a certain way, and after how many seconds it had ended.

    `orphans_s`: seconds from its end to the end of all processes that it had started.
    """

    verb: str
    ending: str
    code: int
    seconds: float
    orphans_s: float
    processes: list[str] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    shared_memory: list[str] = field(default_factory=list)
    said: str = ""

    @property
    def ok(self) -> bool:
        """Whether it left nothing, and ended as it should."""
        nothing = not (self.processes or self.ports or self.files or self.shared_memory)
        return nothing and not self.said


ENDINGS: Mapping[str, int] = {
    "success": 0,
    "Ctrl-C": INTERRUPTED,
    "SIGKILL": -signal.SIGKILL,
}
"""Ways to end, and the exit code of each."""


def leave(place: Place, verb: str, ending: str, length_s: float, rng: random.Random) -> Left:
    """Let a verb end, after a random part of its usual length, and look what it left."""
    folder = place.folder / "w"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    arguments = VERBS[verb](place, folder)
    machine, before = Machine(place.folder / "t"), set(os.listdir(SHM))
    began = time.monotonic()
    with machine.entered():
        process = start_mlt_ray(*arguments)
        try:
            if ending != "success":
                with_wait = rng.uniform(0.3, 0.95) * length_s
                try:
                    process.wait(with_wait)
                except subprocess.TimeoutExpired:
                    if ending == "Ctrl-C":
                        os.killpg(process.pid, signal.SIGINT)
                    else:
                        process.kill()
            shown, errors = process.communicate(timeout=COMMAND_S)
        finally:
            if process.poll() is None:
                kill_session(process)
        seconds = time.monotonic() - began
        orphans_s, left = machine.wait_for_end()
        if ending == "SIGKILL":
            # What a killed command left, the next start of Ray removes.
            mlt_ray("doctor", "--store", place.folder / "none")
            machine.wait_for_end()
    found = Left(
        verb=verb,
        ending=ending,
        code=process.returncode,
        seconds=round(seconds, 1),
        orphans_s=round(orphans_s, 1),
        processes=list(left.values()),
        files=machine.files(),
        shared_memory=shared_since(before),
    )
    if process.returncode not in (0, ENDINGS[ending]) or "Traceback" in errors:
        found.said = f"exit {process.returncode}: {shown[-300:]}{errors[-1500:]}"
    shutil.rmtree(machine.folder, ignore_errors=True)
    return found


def shared_since(before: set[str]) -> list[str]:
    """What has appeared in /dev/shm, and is there a while later still without any user."""
    if not (new := set(os.listdir(SHM)) - before):
        return []
    time.sleep(SHARED_S)
    return sorted(new & set(os.listdir(SHM)) - mapped())


def mapped() -> set[str]:
    """Names in /dev/shm that a living process has mapped, as another program of this machine."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/maps"):
        with contextlib.suppress(OSError):
            lines = path.read_text().splitlines()
            paths = (line.partition(f" {SHM}/")[2] for line in lines)
            found |= {path.partition("/")[0] for path in paths if path}
    return found


def leave_all(place: Place, verbs: list[str], seed: int, show: Callable[[str], None]) -> list[Left]:
    """Let verbs end in every way; the usual length of one is that of its success."""
    found, rng = [], random.Random(seed)
    for verb in verbs:
        length_s = 0.0
        for ending in ENDINGS:
            left = leave(place, verb, ending, length_s, rng)
            length_s = length_s or left.seconds
            found.append(left)
            what = "nothing" if left.ok else f"NOT OK: {left}"
            show(f"{verb}, {ending}: {left.seconds:g} s, left {what}")
    return found


def table(found: list[Left]) -> Table:
    """A table with one line per verb: what it left at each ending."""
    shown = Table(title="What verbs leave", box=None, padding=(0, 1))
    for heading in ("verb", *ENDINGS, "most s until all processes had ended"):
        shown.add_column(heading)
    for verb in dict.fromkeys(left.verb for left in found):
        ended = {left.ending: left for left in found if left.verb == verb}
        cells = [_text(ended[ending]) for ending in ENDINGS if ending in ended]
        shown.add_row(verb, *cells, f"{max(left.orphans_s for left in ended.values()):g}")
    return shown


def _text(left: Left) -> str:
    if left.ok:
        return "nothing"
    kinds = {
        "processes": left.processes,
        "ports": left.ports,
        "files": left.files,
        "shared memory": left.shared_memory,
    }
    counts = [f"{len(what)} {kind}" for kind, what in kinds.items() if what]
    return ", ".join(counts) or f"nothing, but exit {left.code}"
