"""The kit of GPU checks runs without a GPU and without the packages that it must not need."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.absent import GUARD
from tests.gpu.findings import Findings, Outcome
from tests.gpu.inputs import ROW, distinct, load, networks, prepare
from tests.gpu.setting import Setting
from tests.gpu.stages import STAGES, Job, Stage, run_stages
from tests.gpu.whole import estimates

ROOT = Path(__file__).parents[2]
PAPER_ROWS = 16
MOST_BYTES = 20_000_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("inputs")
    prepare(made)
    return made


def kit(*command: object, guard: Path) -> "subprocess.CompletedProcess[str]":
    """Run the kit; the `sitecustomize` in `guard` makes some packages unimportable."""
    (guard / "sitecustomize.py").write_text(GUARD)
    return subprocess.run(
        [sys.executable, "-m", "tests.gpu", *map(str, command)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(guard), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )


def test_inputs_take_little_room_and_are_the_same_each_time(folder: Path, tmp_path: Path) -> None:
    assert sum(path.stat().st_size for path in folder.iterdir()) <= MOST_BYTES
    prepare(tmp_path)
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes()


def test_inputs_hold_every_row_of_the_papers_tables(folder: Path) -> None:
    inputs = load(folder, seeds=3)
    rows = {name for table in ("table1", "table2", "table3") for name in inputs.tables[table]}
    specs = {name: inputs.rows[name][0].spec for name in rows}
    assert len(distinct(specs)) == PAPER_ROWS
    assert {len(runs) for runs in inputs.rows.values()} == {15}
    for runs in (*inputs.rows.values(), *inputs.small_rows.values()):
        if not runs[0].spec.model.text_encoder:
            batch = inputs.fold(runs[0]).batch([3, 7])
            assert batch.extras.keys() == {extra.name for extra in runs[0].spec.model.extras}
    run = inputs.rows[ROW][0]
    assert (run.spec.model.width, run.spec.training.batch_size) == (128, 4)


def test_each_row_is_named_by_the_study_that_has_it() -> None:
    specs, tables = networks("")
    assert {name for names in tables.values() for name in names} <= specs.keys()
    assert distinct(specs)[0] == ROW


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_the_kit_runs_without_a_gpu_and_without_what_it_must_do_without(
    folder: Path, tmp_path: Path
) -> None:
    found = tmp_path / "found.json"
    command = ["run", folder, "--json", found, "--device", "cpu", "--quick"]
    command += ["--patience", 10, "--deadline", 2000]  # tests run beside it
    done = kit(*command, guard=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    values = json.loads(found.read_text())
    assert values["summary"]["failed"] == values["summary"]["failed_trials"] == []
    assert values["summary"]["unfinished_stages"] == []
    assert values["stages"].keys() == {s.name for s in STAGES}
    for found_of_stage in values["stages"].values():
        assert any(finding["figures"] for finding in found_of_stage["findings"])
    assert values["whole"]["hours_if_all_were"].keys() >= {
        "one run, recorded",
        "plain PyTorch loop",
    }
    assert values["whole"]["rows"]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["run", "missing", "--json", "x.json", "--device", "cpu"], "expected inputs of GPU"),
        (["run", "missing", "--json", "x.json", "--stages", "one"], "expected some of machine"),
    ],
)
def test_a_users_mistake_is_one_line(command: list[str], said: str, tmp_path: Path) -> None:
    done = kit(*command, guard=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def fails(setting: Setting, findings: Findings) -> None:
    findings.check("wrong", lambda: Outcome(ok=False, figures={"difference": 3.0}, tolerance=1.0))
    findings.measure("raises", lambda: {"figure": 1 / 0})
    findings.attempt("is tried in vain", lambda: {"figure": 1 / 0})
    findings.check("right", lambda: Outcome(ok=True, figures={}))


def hangs(setting: Setting, findings: Findings) -> None:
    findings.measure("first", lambda: {"figure": 1.0})
    findings.measure("second", lambda: time.sleep(600) or {})


def dies(setting: Setting, findings: Findings) -> None:
    findings.measure("last words", lambda: {"figure": 2.0})
    print("a fault", flush=True)
    os.abort()


def breaks(setting: Setting, findings: Findings) -> None:
    def broken() -> dict[str, Any]:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    findings.measure("before", lambda: {"process": os.getpid()})
    findings.measure("breaks the device", broken)
    findings.measure("after", lambda: {"process": os.getpid()})


@pytest.fixture
def run(tmp_path: Path) -> Any:
    def run(*stages: Stage, deadline_s: float = 100.0) -> dict[str, Any]:
        job = Job(folder=tmp_path, room=tmp_path, device="cpu", quick=True)
        path = tmp_path / "found.json"
        document = run_stages(stages, job, path, deadline_s)
        values = json.loads(path.read_text())
        return {**values, "has_failed": document.failed}

    return run


def stage(function: Any, limit_s: float = 60.0) -> Stage:
    return Stage(
        name=function.__name__, function=f"tests.gpu.test_kit:{function.__name__}", limit_s=limit_s
    )


@pytest.mark.slow
def test_what_fails_hangs_or_dies_does_not_take_the_rest_along(run: Any) -> None:
    found = run(stage(dies), stage(hangs, limit_s=12), stage(fails))
    stages = found["stages"]
    assert stages["dies"]["state"] == "failed"
    assert "a fault" in "".join(stages["dies"]["output"])
    assert [f["name"] for f in stages["dies"]["findings"]] == ["last words"]
    assert stages["hangs"]["state"] == "cut after 12 s, during second"
    assert [f["name"] for f in stages["hangs"]["findings"]] == ["first"]
    assert stages["fails"]["state"] == "done"
    by_name = {f["name"]: f for f in stages["fails"]["findings"]}
    assert by_name["raises"]["error"]["type"] == "ZeroDivisionError"
    assert any("1 / 0" in line for line in by_name["raises"]["error"]["traceback"])
    assert by_name["right"]["ok"]
    assert found["summary"]["failed"] == ["wrong", "raises"]
    assert found["summary"]["failed_trials"] == ["is tried in vain"]
    assert found["has_failed"]


@pytest.mark.slow
def test_a_stage_goes_on_in_a_new_process_where_its_device_breaks(run: Any) -> None:
    found = run(stage(breaks))["stages"]["breaks"]
    assert found["state"] == "done"
    first, broken, last = found["findings"]
    assert broken["error"]["message"].startswith("CUDA error")
    assert first["figures"]["process"] != last["figures"]["process"]


def test_a_stage_is_left_out_where_no_time_is_left(run: Any) -> None:
    found = run(stage(fails), deadline_s=1.0)
    assert found["stages"]["fails"]["state"] == "left out: no time was left"
    assert found["summary"]["unfinished_stages"] == ["fails"]


def test_stages_have_limits_and_their_names_once() -> None:
    assert len({s.name for s in STAGES}) == len(STAGES)
    assert all(10 < s.limit_s <= 120 for s in STAGES)


def test_hours_follow_from_steps_a_second() -> None:
    found = estimates(
        [
            {"figures": {"way": "one run", "steps_per_s": 100.0, "batch_size": 4}},
            {"figures": {"row": "a", "runs_of_row": 15, "steps_per_s": 10.0, "batch_size": 128}},
            {"figures": {"way": "no steps"}},
            {"error": {"type": "ValueError"}},
        ]
    )
    assert found["hours_if_all_were"] == {"one run": round(240 * 40 * 830 / 100 / 3600, 3)}
    assert found["rows"] == {"a": round(15 * 40 * 26 / 10 / 3600, 4)}
