"""Runs each stage in its own process with a time limit, and writes all findings to a JSON file.

The file is rewritten after every finding, so that a crash of the kit loses none.
"""

import contextlib
import dataclasses
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

from mlt_ray.storage.files import write_json
from tests.gpu.findings import BROKEN
from tests.gpu.whole import estimates

STARTS: Final = 3
"""Most processes per stage: after the device breaks, a new process goes on."""

LEAST_S: Final = 10.0
"""A stage is skipped if fewer seconds are left, since importing its libraries takes them."""

OUTPUT_LINES: Final = 15

ENVIRONMENT: Final = {
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "HF_HUB_OFFLINE": "1",
    "PYTHONUNBUFFERED": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage: the function that computes it, ``module:function``, and its time limit."""

    name: str
    function: str
    limit_s: float
    about: str = ""


STAGES: Final = (
    Stage(
        name="machine",
        function="tests.gpu.machine:run",
        limit_s=60,
        about="versions, rates of products and copies, cost of a launch",
    ),
    Stage(
        name="systems",
        function="tests.gpu.systems:run",
        limit_s=120,
        about="every system: as on a CPU, the same bits twice, resumed, precision, waiting",
    ),
    Stage(
        name="packs",
        function="tests.gpu.packs:run",
        limit_s=120,
        about="packs from CUDA graphs give what runs give alone",
    ),
    Stage(
        name="encoders",
        function="tests.gpu.encoders:run",
        limit_s=90,
        about="speech encoders: as on a CPU, frozen and trained; how fast both are",
    ),
    Stage(
        name="recorded",
        function="tests.gpu.speeds:run_recorded",
        limit_s=110,
        about="steps a second at the paper's sizes from CUDA graphs, in less precision too",
    ),
    Stage(
        name="rows",
        function="tests.gpu.speeds:run_rows",
        limit_s=110,
        about="the rows of the paper's tables, as users train them",
    ),
    Stage(
        name="eager",
        function="tests.gpu.speeds:run_eager",
        limit_s=100,
        about="without CUDA graphs: a plain loop, a run alone, a pack",
    ),
    Stage(
        name="attention",
        function="tests.gpu.attention:run",
        limit_s=60,
        about="a trial: a pack's attention by torch's kernel and by plain products",
    ),
    Stage(
        name="compiled",
        function="tests.gpu.compiled:run",
        limit_s=60,
        about="a trial: the pack's gradient through torch's compiler",
    ),
)
"""What matters most comes first, since the deadline may leave out the last."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What all stages share: the inputs, where they are unpacked, the device."""

    folder: Path
    room: Path
    device: str
    quick: bool


@dataclass
class Document:
    """The JSON file with the findings of every stage; it is rewritten after each addition."""

    path: Path
    values: dict[str, Any] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)

    def write(self) -> None:
        """Write the file, with the numbers of checks that held and failed."""
        entries = [e for s in self.values["stages"].values() for e in s["findings"]]
        counted = [e for e in entries if e["kind"] != "trial"]
        stages = self.values["stages"]
        self.values["summary"] = {
            "seconds": round(time.monotonic() - self.began, 1),
            "checks": len(counted),
            "failed": [e["name"] for e in counted if not e["ok"]],
            "failed_trials": [e["name"] for e in entries if e not in counted and not e["ok"]],
            "unfinished_stages": [n for n, s in stages.items() if s["state"] != "done"],
        }
        self.values["whole"] = estimates(entries)
        write_json(self.path, self.values)

    @property
    def failed(self) -> bool:
        """Whether a check failed or a stage ended with an error."""
        broken = any(s["state"] == "failed" for s in self.values["stages"].values())
        return broken or bool(self.values["summary"]["failed"])


def run_stages(
    stages: Sequence[Stage],
    job: Job,
    path: Path,
    deadline_s: float,
) -> Document:
    """Run the stages one after the other, all of them within `deadline_s`."""
    document = Document(path)
    document.values = {
        "device": job.device,
        "quick": job.quick,
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
        "deadline_s": round(deadline_s, 1),
        "stages": {
            s.name: {"about": s.about, "state": "waiting", "limit_s": s.limit_s, "findings": []}
            for s in stages
        },
    }
    document.write()
    for stage in stages:
        left_s = document.began + deadline_s - time.monotonic()
        notes = document.values["stages"][stage.name]
        if left_s < min(LEAST_S, stage.limit_s):
            notes["state"] = "left out: no time was left"
        else:
            limited = dataclasses.replace(stage, limit_s=min(stage.limit_s, left_s))
            print(f"--- {stage.name}: {stage.about}", flush=True)
            run_stage(limited, job, document)
        print(f"--- {stage.name}: {notes['state']}", *notes.get("output", ())[-3:], sep="\n    ")
        document.write()
    return document


def run_stage(stage: Stage, job: Job, document: Document) -> None:
    """Run one stage. If its device breaks, a new process runs the remaining checks."""
    notes = document.values["stages"][stage.name]
    notes["limit_s"] = round(stage.limit_s, 1)
    began = time.monotonic()
    for _ in range(STARTS):
        end = began + stage.limit_s
        state, output = _watch(stage, job, document, end)
        notes["state"], notes["seconds"] = state, round(time.monotonic() - began, 1)
        if output and state != "done":
            notes["output"] = output
        if state != "broken":
            return
    notes["state"] = "failed"


def _watch(stage: Stage, job: Job, document: Document, end: float) -> tuple[str, list[str]]:
    """Start a process of the stage and take its findings until it ends or time is up.

    Returns how it ended, and the last lines that it printed.
    """
    notes = document.values["stages"][stage.name]
    notes["state"] = "running"
    done = [entry["name"] for entry in notes["findings"]]
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "tests.gpu", "stage", stage.function, str(job.folder)]
    command += ["--device", job.device, "--room", str(job.room), "--to", str(writing)]
    command += ["--done", json.dumps(done)] + ["--quick"] * job.quick
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        process = subprocess.Popen(
            command,
            pass_fds=[writing],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**ENVIRONMENT, **os.environ},
        )
        os.close(writing)
        lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=_read, args=(os.fdopen(reading), lines), daemon=True).start()
        begun: str | None = None
        try:
            while (line := lines.get(timeout=max(0.0, end - time.monotonic()))) is not None:
                found = json.loads(line)
                begun = found.get("begun")
                if begun is None:
                    notes["findings"].append(found)
                    print(_said(found), flush=True)
                    document.write()
            code = process.wait(timeout=max(1.0, end - time.monotonic()))
        except (queue.Empty, subprocess.TimeoutExpired):
            state = f"cut after {stage.limit_s:.0f} s" + (f", during {begun}" if begun else "")
        else:
            state = {0: "done", BROKEN: "broken"}.get(code, "failed")
            if state == "failed":
                notes["error"] = f"exit code {code}" + (f", during {begun}" if begun else "")
        finally:
            _end(process)
        output.seek(0)
        return state, output.read().splitlines()[-OUTPUT_LINES:]


def _read(stream: IO[str], lines: "queue.Queue[str | None]") -> None:
    """Put the lines into the queue, then None. An incomplete last line is dropped."""
    with stream:
        for line in stream:
            if line.endswith("\n"):
                lines.put(line)
    lines.put(None)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process and its children. One that hangs in the GPU's driver is not waited for."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=5)


def _said(found: Mapping[str, Any]) -> str:
    """A finding as one line of text."""
    if "error" in found:
        text = f"{found['error']['type']}: {found['error']['message'].partition(chr(10))[0]}"
    else:
        text = ", ".join(
            f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
            for key, value in found["figures"].items()
            if isinstance(value, int | float | str)
        )
    mark = "ok" if found["ok"] else "not so" if found["kind"] == "trial" else "FAILED"
    return f"{mark:6s} {found['name']} ({found['seconds']:.1f} s): {text}"[:240]
