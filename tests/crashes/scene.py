"""The study that is disturbed, the commands that compute it, and what they leave."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlt_ray.corpus.synthetic.demo import write_demo
from tests.crashes.journal import Journal, wait_until
from tests.end_to_end.conftest import STUDY, members, mlt_ray, start_mlt_ray

EPOCHS = 30
"""Of every run, each some 0.1 s: enough that one can be killed in the middle."""

RUNS = 4
FEW = ("--rows", "audio only", "--folds", "1-2", "--seeds", "1-2")
LONG = {"training.batch_size": 4, "training.max_epochs": EPOCHS, "training.patience": EPOCHS}
PROFILE = "resources: {checkpoint_interval_s: 0}\n"

Scores = dict[str, tuple[Any, bytes]]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A corpus, a study, a profile, and the store of what nobody disturbed."""

    folder: Path
    corpus: Path
    study: Path
    profile: Path
    undisturbed: Path

    @classmethod
    def set(cls, folder: Path) -> "Scene":
        """Make all of it in a new folder."""
        folder.mkdir(parents=True, exist_ok=True)
        scene = cls(
            folder=folder,
            corpus=folder / "corpus",
            study=folder / "small.yaml",
            profile=folder / "eager.yaml",
            undisturbed=folder / "undisturbed",
        )
        write_demo(scene.corpus, utterances=100)
        scene.study.write_text(STUDY)
        scene.profile.write_text(PROFILE)
        done = mlt_ray(*scene.command(scene.undisturbed))
        if done.returncode:
            raise RuntimeError(f"the undisturbed study failed: {done.stdout}{done.stderr}")
        return scene

    def command(self, store: Path, *more: object, few: tuple[str, ...] = FEW) -> tuple[object, ...]:
        """The arguments that compute the study in a store."""
        changes = [part for key, value in LONG.items() for part in ("--set", f"{key}={value}")]
        places = ("--corpus", self.corpus, "--store", store, "--profile", self.profile)
        return ("run", self.study, *places, *few, *changes, *more)

    def store(self, name: str, inside: Path | None = None) -> Path:
        """A new store that has the features and no run."""
        store = (inside or self.folder) / name
        for part in ("features", "corpora"):
            shutil.copytree(self.undisturbed / part, store / part)
        return store


@dataclass(kw_only=True)
class Finding:
    """What one case showed; `complaints` are the facts that are not as they must be."""

    case: str
    damage: str
    recomputed: int = 0
    repeated: int = 0
    equal: bool = False
    complaints: list[str] = field(default_factory=list)
    skipped: str = ""

    @property
    def ok(self) -> bool:
        """Whether all is as it must be."""
        return not (self.recomputed or self.complaints or self.skipped) and self.equal

    def expect(self, holds: object, complaint: str) -> None:
        """Complain where something does not hold."""
        if not holds:
            self.complaints.append(complaint)

    def expect_exit(self, process: subprocess.Popen, code: int, timeout_s: float = 400) -> str:
        """Wait for a command's end; complain of another exit code. Returns stdout and stderr."""
        output, errors = process.communicate(timeout=timeout_s)
        self.expect(
            process.returncode == code, f"expected exit {code}, got {process.returncode}: {errors}"
        )
        self.expect("Traceback" not in errors, f"a traceback: {errors}")
        return output + errors

    def judge(self, kept: Journal, store: Path, undisturbed: Path, runs: int = RUNS) -> None:
        """Compare a store with one that nobody disturbed, and count what was computed twice."""
        found, wanted = scores(store), scores(undisturbed)
        wanted = {digest: score for digest, score in wanted.items() if digest in kept.computed}
        self.expect(len(found) == runs, f"{len(found)} of {runs} runs are finished")
        self.equal = found == wanted and len(found) > 0
        self.recomputed += len(kept.computed_again)
        self.repeated = sum(kept.computed.values()) - sum(map(len, curves(store).values()))


@contextlib.contextmanager
def started(*arguments: object) -> Iterator[subprocess.Popen]:
    """A command under way; whatever is left of it ends with the block."""
    process = start_mlt_ray(*arguments)
    try:
        yield process
    finally:
        kill_session(process)


def kill_session(process: subprocess.Popen) -> None:
    """Kill a process that leads a session, and all others of it."""
    for pid in (process.pid, *members(process.pid)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def middle(kept: Journal, process: subprocess.Popen, finished: int = 1, epochs: int = 5) -> str:
    """The digest of a run in the middle of its epochs: waits until it has some more than now.

    Waits also until so many runs are `finished`. Raises `RuntimeError` where the command ends
    before, `TimeoutError` where nothing comes.
    """
    found: list[str] = []
    before = kept.saved.copy()

    def is_reached() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"ended too soon: {process.communicate()}")
        found[:] = [d for d in kept.unfinished if before[d] + epochs <= kept.saved[d] < EPOCHS - 5]
        return len(kept.finished) >= finished and bool(found)

    wait_until(is_reached, f"{finished} runs finished and another after {epochs} epochs")
    return found[0]


def reports(store: Path) -> dict[str, dict[str, Any]]:
    """Every finished run's report, by digest."""
    paths = (store / "runs").glob("*/report.json")
    return {path.parent.name: json.loads(path.read_bytes()) for path in paths}


def curves(store: Path) -> dict[str, list[int]]:
    """When each epoch of each finished run ended, in milliseconds."""
    return {d: [e["ended_ms"] for e in r["curve"]] for d, r in reports(store).items()}


def scores(store: Path) -> Scores:
    """What must not depend on a crash: a run's scores, to the bit, and its predictions."""
    return {
        digest: (report["scores"], (store / "runs" / digest / "predictions.csv").read_bytes())
        for digest, report in reports(store).items()
    }


def finished_files(store: Path) -> dict[str, tuple[int, bytes]]:
    """Time of last change and bytes of every file of every finished run."""
    return {
        str(path.relative_to(store)): (path.stat().st_mtime_ns, path.read_bytes())
        for digest in reports(store)
        for path in (store / "runs" / digest).iterdir()
    }


def checkpoints(kept: Journal, store: Path) -> dict[str, list[int]]:
    """When the epochs ended that the checkpoints of unfinished runs hold, by digest."""
    found = {}
    for digest in kept.unfinished:
        with contextlib.suppress(FileNotFoundError):  # finished this moment
            found[digest] = checkpoint_epochs(store, digest)
    return found


def check_resumed(
    finding: Finding,
    store: Path,
    held: Mapping[str, Sequence[int]],
    untouched: Mapping[str, tuple[int, bytes]],
) -> None:
    """Every run went on from what its checkpoint held; finished ones are as they were."""
    found, files = curves(store), finished_files(store)
    for digest, epochs in held.items():
        went_on = found.get(digest, [])[: len(epochs)] == epochs and len(epochs) > 0
        finding.expect(went_on, f"run {digest} did not go on from its epoch {len(epochs)}")
    changed = [name for name, file in untouched.items() if files.get(name) != file]
    finding.expect(not changed, f"files of finished runs have changed: {changed}")


def checkpoint_epochs(store: Path, digest: str) -> list[int]:
    """When the epochs ended that an unfinished run's checkpoint holds, in milliseconds."""
    import torch

    path = store / "checkpoints" / f"{digest}.pt"
    state = torch.load(path, weights_only=True)
    return [epoch["ended_ms"] for epoch in state["curve"]]


def holder(store: Path, digest: str) -> int:
    """The process that computes a run, by its lease."""
    paths = (store / "leases").glob(f"{digest}.*.json")
    last = max(paths, key=lambda path: int(path.name.split(".")[1]))
    return int(json.loads(last.read_text())["pid"])
