"""Stores that are damaged, of another kind, or closed to whoever asks."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.bad_input.case import Case

REPORT: Final = "report noise --store @store"
PREDICT: Final = "predict @corpus/0.wav --store @store --model noise/audio"
EVALUATE: Final = "evaluate noise/audio --corpus @corpus --store @store"
SYNC: Final = "sync --store @store"

Damage = Callable[[Path], None]


def study(content: bytes) -> Damage:
    """The record of the study becomes this."""
    return lambda here: _write(here / "store" / "studies" / "noise.json", content)


def changed(**values: Any) -> Damage:
    """The record of the study has these values instead of its own; None for a key less."""

    def damage(here: Path) -> None:
        path = here / "store" / "studies" / "noise.json"
        found = json.loads(path.read_text()) | values
        path.write_text(json.dumps({k: v for k, v in found.items() if v is not None}))

    return damage


def of_runs(name: str, content: bytes | None) -> Damage:
    """A file of every run becomes this; None: is no more."""

    def damage(here: Path) -> None:
        for folder in (here / "store" / "runs").iterdir():
            path = folder / name
            if content is None:
                path.unlink(missing_ok=True)
            elif path.exists():
                _write(path, content)

    return damage


def cut(name: str) -> Damage:
    """A file of every run ends in its middle, as a copy that was broken off does."""

    def damage(here: Path) -> None:
        for path in (here / "store" / "runs").glob(f"*/{name}"):
            content = path.read_bytes()
            _write(path, content[: len(content) // 2])

    return damage


def instead(name: str) -> Damage:
    """A file is where the store has a folder."""

    def damage(here: Path) -> None:
        shutil.rmtree(here / "store" / name, ignore_errors=True)
        _write(here / "store" / name, b"")

    return damage


def without_score(here: Path) -> None:
    """A score of every run is no number."""
    for path in (here / "store" / "runs").glob("*/report.json"):
        values = json.loads(path.read_text())
        values["scores"]["test"]["wa"] = float("nan")
        path.write_text(json.dumps(values))


def loop(here: Path) -> None:
    """The store is a link to itself."""
    shutil.rmtree(here / "store")
    (here / "store").symlink_to(here / "store")


def another(here: Path) -> None:
    """The folder of another project, which has a folder of the same name."""
    shutil.rmtree(here / "store")
    _write(here / "store" / "studies" / "noise.json", b'{"name": "noise", "sites": 3}')


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


_SAID: Final[dict[str, tuple[str, Damage, str]]] = {
    "a record that is empty": (REPORT, study(b""), "noise.json"),
    "a record that is cut": (REPORT, study(b'{"study": "noi'), "noise.json"),
    "a record that is a list": (REPORT, study(b"[]"), "noise.json"),
    "a record of bytes": (REPORT, study(b"\xff\x00"), "noise.json"),
    "a record of another project": (REPORT, another, "noise.json"),
    "a record without rows": (REPORT, changed(rows=None), "noise.json"),
    "a record with rows of texts": (REPORT, changed(rows=["a"]), "noise.json"),
    "a record that is cut, to predict": (PREDICT, study(b'{"stu'), "noise.json"),
    "a record that is cut, to evaluate": (EVALUATE, study(b'{"stu'), "noise.json"),
    "a record that is cut, to sync": (SYNC, study(b'{"stu'), "noise.json"),
    "a record that is cut, to export": (
        "export noise/audio --store @store",
        study(b'{"stu'),
        "noise.json",
    ),
    "a record that is cut, to compare": (
        "compare noise audio both --store @store",
        study(b'{"stu'),
        "noise.json",
    ),
    "a report that is empty": (REPORT, of_runs("report.json", b""), "report.json: expected a run"),
    "a report that is cut": (REPORT, cut("report.json"), "report.json: expected a run report"),
    "a score that is no number": (REPORT, without_score, "expected a run report"),
    "a report that is a list": (REPORT, of_runs("report.json", b"[]"), "expected a run report"),
    "a report of another run": (REPORT, of_runs("report.json", b"{}"), "expected a run report"),
    "a report of bytes": (PREDICT, of_runs("report.json", b"\xff"), "expected a run report"),
    "a report that is a number": (REPORT, of_runs("report.json", b"3"), "expected a run report"),
    "no report": (PREDICT, of_runs("report.json", None), "noise/audio"),
    "weights that are empty": (PREDICT, of_runs("weights.safetensors", b""), "safetensors"),
    "weights that are cut": (PREDICT, cut("weights.safetensors"), "weights.safetensors"),
    "weights of bytes": (PREDICT, of_runs("weights.safetensors", b"x" * 99), "safetensors"),
    "no weights": (PREDICT, of_runs("weights.safetensors", None), "weights"),
    "inputs that are empty": (PREDICT, of_runs("inputs.json", b""), "inputs.json"),
    "inputs that are cut": (PREDICT, cut("inputs.json"), "inputs.json"),
    "inputs of another kind": (PREDICT, of_runs("inputs.json", b"[]"), "inputs.json"),
    "classifiers that are cut": (
        "predict @corpus/0.wav --store @store --model noise/words --text so",
        cut("classical.skops"),
        "classical.skops",
    ),
    "a link to itself": (REPORT, loop, "expected a folder for the store, got a link to itself"),
    "a corpus": ("report noise --store @corpus", loop, "found those of: none"),
    "a file instead of the studies": (REPORT, instead("studies"), "studies: expected a folder"),
    "a file instead of the runs": (PREDICT, instead("runs"), "runs: expected a folder, got a"),
}

CASES: Final = {
    name: Case(command=command, says=says, damage=damage)
    for name, (command, damage, says) in _SAID.items()
}
