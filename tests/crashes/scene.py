"""What the cases share: a study, the commands that run it, and reading their results."""

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
"""Epochs of every run, about 0.1 s each: enough to kill a run in the middle."""

RUNS = 4
FEW = ("--rows", "audio only", "--folds", "1-2", "--seeds", "1-2")
ONE = ("--rows", "audio only", "--folds", "1", "--seeds", "1")
LONG = {"training.batch_size": 4, "training.max_epochs": EPOCHS, "training.patience": EPOCHS}
PROFILE = "resources: {checkpoint_interval_s: 0, memory_check: false}\n"

Results = dict[str, tuple[Any, bytes]]
"""Digest → scores, and content of predictions.csv."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Paths of a corpus, a study, a profile, and a store in which the study ran undisturbed.

    `outage_s`: how long a store that stops is silent at least.
    """

    folder: Path
    corpus: Path
    study: Path
    profile: Path
    undisturbed: Path
    outage_s: float = 0.0

    @classmethod
    def at(cls, folder: Path) -> "Scene":
        """The paths in a folder in which they were made."""
        return cls(
            folder=folder,
            corpus=folder / "corpus",
            study=folder / "small.yaml",
            profile=folder / "eager.yaml",
            undisturbed=folder / "undisturbed",
        )

    @classmethod
    def set(cls, folder: Path) -> "Scene":
        """Make all of them in a folder and run the study undisturbed."""
        folder.mkdir(parents=True, exist_ok=True)
        scene = cls.at(folder)
        write_demo(scene.corpus, utterances=100)
        scene.study.write_text(STUDY)
        scene.profile.write_text(PROFILE)
        done = mlt_ray(*scene.command(scene.undisturbed))
        if done.returncode:
            raise RuntimeError(f"the undisturbed study failed: {done.stdout}{done.stderr}")
        return scene

    def command(
        self, store: Path | str, *more: object, few: tuple[str, ...] = FEW
    ) -> tuple[object, ...]:
        """Arguments of `mlt-ray` to run the study in a store."""
        changes = [part for key, value in LONG.items() for part in ("--set", f"{key}={value}")]
        places = ("--corpus", self.corpus, "--store", store, "--profile", self.profile)
        return ("run", self.study, *places, *few, *changes, *more)

    def store(self, name: str, inside: Path | None = None) -> Path:
        """A new store with the features and without runs."""
        store = (inside or self.folder) / name
        for part in ("features", "corpora"):
            shutil.copytree(self.undisturbed / part, store / part)
        return store


@dataclass(kw_only=True)
class Finding:
    """Result of one case.

    `recomputed`: finished runs that were computed again. `repeated`: epochs that were computed
    twice. `equal`: the results equal those of the undisturbed store. `complaints`: everything that
    is not as it should be. `shown` is what the commands printed, where a case keeps it.
    """

    case: str
    damage: str
    recomputed: int = 0
    repeated: int = 0
    equal: bool = False
    complaints: list[str] = field(default_factory=list)
    skipped: str = ""
    shown: str = ""

    @property
    def ok(self) -> bool:
        """True if the case has run and everything is as it should be."""
        return not (self.recomputed or self.complaints or self.skipped) and self.equal

    def expect(self, holds: object, complaint: str) -> None:
        """Add the complaint unless `holds`."""
        if not holds:
            self.complaints.append(complaint)

    def expect_exit(self, process: subprocess.Popen, code: int, timeout_s: float = 400) -> str:
        """Wait for a command; complain if it exits with another code. Returns stdout and stderr."""
        output, errors = process.communicate(timeout=timeout_s)
        self.expect(
            process.returncode == code, f"expected exit {code}, got {process.returncode}: {errors}"
        )
        self.expect("Traceback" not in errors, f"a traceback: {errors}")
        return output + errors

    def judge(self, kept: Journal, store: Path, undisturbed: Path, runs: int = RUNS) -> None:
        """Compare a store with the undisturbed one; count runs and epochs that were repeated."""
        found, wanted = results(store), results(undisturbed)
        wanted = {digest: result for digest, result in wanted.items() if digest in kept.computed}
        self.expect(len(found) == runs, f"{len(found)} of {runs} runs are finished")
        self.equal = found == wanted and len(found) > 0
        self.recomputed += len(kept.computed_again)
        self.repeated = sum(kept.computed.values()) - sum(map(len, curves(store).values()))


@contextlib.contextmanager
def started(*arguments: object) -> Iterator[subprocess.Popen]:
    """Start a command; all its processes are killed at the end of the block."""
    process = start_mlt_ray(*arguments)
    try:
        yield process
    finally:
        kill_session(process)


def kill_session(process: subprocess.Popen) -> None:
    """Kill the leader of a session and all other processes of the session."""
    for pid in (process.pid, *members(process.pid)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def middle(kept: Journal, process: subprocess.Popen, finished: int = 1, epochs: int = 5) -> str:
    """Wait until a run is in the middle of its epochs; returns its digest.

    Waits until at least `finished` runs are finished, and another run has saved `epochs` epochs
    from now on. Raises `RuntimeError` if the command ends before, `TimeoutError` if it takes too
    long.
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
    """Reports of all finished runs, by digest."""
    paths = (store / "runs").glob("*/report.json")
    return {path.parent.name: json.loads(path.read_bytes()) for path in paths}


def curves(store: Path) -> dict[str, list[int]]:
    """Times at which the epochs of each finished run ended: Unix time in ms, by digest."""
    return {d: [e["ended_ms"] for e in r["curve"]] for d, r in reports(store).items()}


def results(store: Path) -> Results:
    """Results of all finished runs, which must be the same to the bit after a crash."""
    return {
        digest: (report["scores"], (store / "runs" / digest / "predictions.csv").read_bytes())
        for digest, report in reports(store).items()
    }


def finished_files(store: Path) -> dict[str, tuple[int, bytes]]:
    """Time of last change and content of every file of every finished run, by path."""
    return {
        str(path.relative_to(store)): (path.stat().st_mtime_ns, path.read_bytes())
        for digest in reports(store)
        for path in (store / "runs" / digest).iterdir()
    }


def checkpoints(kept: Journal, store: Path) -> dict[str, list[int]]:
    """Times at which the epochs in the checkpoints of unfinished runs ended, by digest."""
    found = {}
    for digest in kept.unfinished:
        with contextlib.suppress(FileNotFoundError):  # the run has just finished
            found[digest] = checkpoint_epochs(store, digest)
    return found


def check_resumed(
    finding: Finding,
    store: Path,
    held: Mapping[str, Sequence[int]],
    untouched: Mapping[str, tuple[int, bytes]],
) -> None:
    """Expect that runs went on from the epochs of their checkpoints (`held`).

    Expects also that the files of the runs that were finished then (`untouched`) are unchanged.
    """
    found, files = curves(store), finished_files(store)
    for digest, epochs in held.items():
        went_on = found.get(digest, [])[: len(epochs)] == epochs and len(epochs) > 0
        finding.expect(went_on, f"run {digest} did not go on from its epoch {len(epochs)}")
    changed = [name for name, file in untouched.items() if files.get(name) != file]
    finding.expect(not changed, f"files of finished runs have changed: {changed}")


def checkpoint_epochs(store: Path, digest: str) -> list[int]:
    """Times at which the epochs in an unfinished run's checkpoint ended, in ms."""
    import torch

    path = store / "checkpoints" / f"{digest}.pt"
    saved = torch.load(path, weights_only=True)
    return [epoch["ended_ms"] for epoch in saved["state"]["curve"]]


def holder(store: Path, digest: str) -> int:
    """Id of the process that computes a run, from its lease."""
    paths = (store / "leases").glob(f"{digest}.*.json")
    last = max(paths, key=lambda path: int(path.name.split(".")[1]))
    return int(json.loads(last.read_text())["pid"])
