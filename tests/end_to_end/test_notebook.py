"""`mlt_ray.run` and `mlt_ray.results` in a plain process, as a notebook's kernel is one."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mlt_ray.workflows.notebook import results
from tests.end_to_end.conftest import STUDY, environment

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs/python.md"

STOPPED_AND_GONE_ON = """
import os, signal, sys, threading, time
from pathlib import Path
import mlt_ray, yaml

corpus, study = sys.argv[1:]
before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

def interrupt():
    while not list(Path("runs/checkpoints").glob("*.pt")):
        time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGINT)

def run(**more):
    changes = {"training.max_epochs": 60, "training.patience": 60, **more}
    return mlt_ray.run(
        study, corpus, rows="audio only", folds=[1], seeds=[1], changes=changes,
        resources={"checkpoint_interval_s": 0}, progress=False,
    )

threading.Thread(target=interrupt, daemon=True).start()
try:
    run()
    sys.exit("it was not interrupted")
except KeyboardInterrupt:
    stopped_ms = 1000 * time.time()
found = run()
assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
ended = found.curves["ended_ms"]
assert found.curves["epoch"].to_list() == list(range(1, 61))
assert (ended < stopped_ms).any() and (ended > stopped_ms).any(), (stopped_ms, ended)
try:
    run(**{"training.learning_rate": 1e10})
    sys.exit("it did not fail")
except mlt_ray.RunsFailed as failed:
    [reason] = failed.failures
    assert "audio only, fold 1, seed 1: the loss is nan" in reason
assert mlt_ray.results("runs", study).runs.empty
"""


def python(code: str, *arguments: object, cwd: Path) -> Any:
    return subprocess.run(
        [sys.executable, "-", *map(str, arguments)],
        input=code,
        capture_output=True,
        text=True,
        timeout=400,
        env=environment(),
        cwd=cwd,
        check=False,
    )


def test_the_example_of_its_page_gives_the_frames_that_it_shows(
    corpus: Path, tmp_path: Path
) -> None:
    [example] = re.findall("```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "demo-corpus").symlink_to(corpus)
    done = python(example, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4/4 runs" in done.stdout
    found = results(tmp_path / "runs", "small")
    means = found.runs.groupby("row")[["test_wa", "test_ua"]].mean()
    assert len(found.runs) == 4
    assert str(means) in done.stdout
    # Scores of the runs are those of their predictions.
    right = found.predictions.eval("predicted == emotion").groupby(
        [found.predictions[name] for name in ("row", "fold", "part")]
    )
    runs = found.runs.set_index(["row", "fold"])
    for (row, fold, part), share in right.mean().items():
        assert runs.loc[(row, fold), f"{part}_wa"] == pytest.approx(share)
    assert (tmp_path / "runs" / "reports" / "small" / "tables.md").read_text() == repr(found)


def test_an_interrupted_call_goes_on_in_the_same_process_and_a_failed_run_is_raised(
    corpus: Path, tmp_path: Path
) -> None:
    study = tmp_path / "two_rows.yaml"
    study.write_text(STUDY)
    done = python(STOPPED_AND_GONE_ON, corpus, study, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
