"""Records the findings of a stage: each check and each group of figures, as soon as it is known."""

import json
import time
import traceback
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import IO, Any, Final

TRACEBACK_LINES: Final = 12
BROKEN: Final = 3
"""Exit code of a stage whose device no longer works."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result of a check: whether it holds, measured figures, largest allowed difference."""

    ok: bool
    figures: Mapping[str, Any]
    tolerance: float | None = None


class Findings:
    """Takes a stage's checks and measurements one by one, and writes each as a line of JSON.

    After a failure the next check runs. Only an error that breaks the device, such as an illegal
    access on a GPU, ends the process.
    """

    def __init__(self, out: IO[str], done: Collection[str] = ()) -> None:
        """`done`: names of findings that an earlier process of the stage has written."""
        self._out, self._done = out, done

    def check(self, name: str, function: Callable[[], Outcome]) -> None:
        """Run a check and record its result; a check that raises has failed."""
        self._take(name, "check", function)

    def measure(self, name: str, function: Callable[[], Mapping[str, Any]]) -> None:
        """Measure and record figures; an error counts as a failed check."""
        self._take(name, "figures", lambda: Outcome(ok=True, figures=function()))

    def attempt(self, name: str, function: Callable[[], Mapping[str, Any]]) -> None:
        """Measure and record figures of a trial; an error is recorded but is no failure."""
        self._take(name, "trial", lambda: Outcome(ok=True, figures=function()))

    def _take(self, name: str, kind: str, function: Callable[[], Outcome]) -> None:
        if name in self._done:
            return
        self._write({"begun": name})
        began = time.perf_counter()
        found: dict[str, Any] = {"name": name, "kind": kind}
        broken = False
        try:
            outcome = function()
        except Exception as error:
            found |= {"ok": False, "error": described(error)}
            broken = breaks_device(error)
        else:
            found |= {"ok": outcome.ok, "figures": dict(outcome.figures)}
            if outcome.tolerance is not None:
                found["tolerance"] = outcome.tolerance
        found["seconds"] = round(time.perf_counter() - began, 3)
        self._write(found)
        if broken:
            raise SystemExit(BROKEN)

    def _write(self, values: Mapping[str, Any]) -> None:
        self._out.write(json.dumps(values, default=str) + "\n")
        self._out.flush()


def described(error: BaseException) -> dict[str, Any]:
    """Type, message and the last lines of the traceback."""
    lines = "".join(traceback.format_exception(error)).strip().splitlines()
    return {
        "type": type(error).__name__,
        "message": str(error)[:1000],
        "traceback": lines[-TRACEBACK_LINES:],
    }


def breaks_device(error: BaseException) -> bool:
    """Whether this process can no longer use the GPU after the error."""
    if type(error).__name__ == "OutOfMemoryError":
        return False
    return type(error).__name__ == "AcceleratorError" or "CUDA error" in str(error)
