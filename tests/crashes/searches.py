"""Case: a search is killed in the middle."""

import contextlib
import json
import os
import signal
import sqlite3
from pathlib import Path

from tests.crashes.journal import journal
from tests.crashes.scene import (
    EPOCHS,
    LONG,
    Finding,
    Scene,
    check_resumed,
    checkpoints,
    finished_files,
    middle,
    started,
)
from tests.end_to_end.conftest import STUDY, mlt_ray

SPACE = (
    STUDY.partition("rows:")[0]
    .replace("Two small rows", "Small widths")
    .replace("seeds: [1, 2]", "seeds: [1]")
    .replace("    system: multilevel\n", "    system: multilevel\n    inputs: audio\n")
    + """
space:
  model.feed_forward: {choice: [16, 24, 32]}
search: {trials: 3, folds: [1, 2], pruner: none, best: 1}
"""
)
CONFIGURATIONS, FOLDS, ALL_FOLDS = 3, 2, 5
RUNS = (CONFIGURATIONS - 1) * FOLDS + ALL_FOLDS
"""Each configuration is tried on two folds; the best one is then run on all five."""


def killed_search(scene: Scene) -> Finding:
    """The search is killed while it tries configurations; the same command is given again."""
    finding = Finding(case="search killed", damage="")
    space = scene.folder / "mini.yaml"
    space.write_text(SPACE)
    undisturbed, store = scene.store("undisturbed-search"), scene.store("killed-search")
    done = mlt_ray(*command(scene, space, undisturbed))
    finding.expect(done.returncode == 0, f"undisturbed: {done.stderr}")
    with journal(store) as kept:
        with started(*command(scene, space, store)) as process:
            middle(kept, process, finished=2)
            untouched = finished_files(store)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            held, before = checkpoints(kept, store), optuna_studies(store)
        finding.damage = f"SIGKILL of the search after {len(kept.finished)} cells; asked again"
        with started(*command(scene, space, store)) as process:
            finding.expect_exit(process, 0)
        check_resumed(finding, store, held, untouched)
    finding.judge(kept, store, undisturbed, runs=RUNS)
    tried = configurations(store)
    finding.expect(
        sorted(c["model.feed_forward"] for c in tried) == [16, 24, 32]
        and {c["state"] for c in tried} == {"complete"},
        f"expected three complete configurations, got {tried}",
    )
    finding.expect(len(before) == 1 and optuna_studies(store) == before, "another Optuna study")
    return finding


def command(scene: Scene, space: Path, store: Path) -> tuple[object, ...]:
    """Arguments of `mlt-ray` to search the space in a store."""
    shorter = {**LONG, "training.max_epochs": EPOCHS // 2}
    changes = [part for key, value in shorter.items() for part in ("--set", f"{key}={value}")]
    places = ("--corpus", scene.corpus, "--store", store, "--profile", scene.profile)
    return ("search", space, *places, *changes)


def configurations(store: Path) -> list[dict]:
    """The configurations of a search with their states, from search.json."""
    values = json.loads((store / "reports" / "mini" / "search.json").read_text())
    return list(values["configurations"])


def optuna_studies(store: Path) -> list[tuple[int, str]]:
    """Number and name of every Optuna study in a store."""
    with contextlib.closing(sqlite3.connect(store / "optuna.db")) as opened:
        return opened.execute("select study_id, study_name from studies").fetchall()
