"""What the benchmarks of scale and overhead count, without Ray. No time is asserted."""

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mlt_ray.models.multilevel.values import MultilevelSpec
from mlt_ray.planning.plan import make_plan
from mlt_ray.spec import Run, RunSpec, TrainingSpec
from mlt_ray.storage.files import write_json
from mlt_ray.storage.store import Store
from mlt_ray.training.fit import fit_runs
from tests.benchmarks.inputs import fold_of
from tests.benchmarks.overhead import Call, Process, Watch, kind_of, mean_gap_ms, train_alone
from tests.benchmarks.scale import pace, study_of
from tests.benchmarks.sleeping import SleepingSpec

SPEC = MultilevelSpec(width=6, num_heads=2, feed_forward=7, phoneme_channels=5, prenet_kernel=3)
BUSY = """
import time
while time.process_time() < 0.5: sum(range(1000))
print("busy enough", flush=True)
input()
"""


def run_of(raw: Any, folder: Path, **values: Any) -> Run:
    """A run on a corpus of forty utterances whose table and features are in the store."""
    raw.write(folder)
    write_json(Store(folder).corpus(raw.corpus.fingerprint), raw.corpus.as_dict())
    return Run(spec=RunSpec(corpus=raw.corpus.fingerprint, **values), fold=2, seed=3)


def test_the_sleeping_system_leaves_a_report_of_its_run(raw: Any, tmp_path: Path) -> None:
    run = run_of(raw, tmp_path, model=SleepingSpec(sleep_s=0.01))
    heard = []
    [finished] = fit_runs(
        [run],
        [fold_of(run, raw.corpus, Store(tmp_path))],
        device=torch.device("cpu"),
        on_epoch=lambda *values: heard.append(values),
    )
    assert finished.report.digest == run.digest
    assert finished.report.computed_s >= 0.01
    assert finished.report.part_sizes == {"train": 24, "dev": 8, "test": 8}
    assert heard == [(run, finished.report.curve[0])]


def test_a_study_has_as_many_distinct_cells_as_asked_for(raw: Any) -> None:
    rows = make_plan(study_of(150, 0.0), raw.corpus).rows
    assert len({run.digest for row in rows for run in row.runs}) == 150
    with pytest.raises(SystemExit, match="multiples of 50"):
        study_of(120, 0.0)


def test_the_pace_is_the_time_of_a_slot_between_two_ends(
    raw: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(raw, tmp_path, model=SleepingSpec())
    [finished] = fit_runs(
        [run], [fold_of(run, raw.corpus, Store(tmp_path))], device=torch.device("cpu")
    )
    ends = [replace(finished.report, ended_ms=ms) for ms in (1000, 1050, 1100, 1300)]
    monkeypatch.setattr(Store, "reports", lambda self, digests: ends)
    found = pace(Store(tmp_path), (), slots=2, sleep_s=0.01)
    assert found == {"cell_ms": 190.0, "late_ms": 390.0, "cells_s": 0.3}


def test_a_watch_counts_the_processor_time_of_children() -> None:
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BUSY!r}], check=True)"
    process = subprocess.Popen(
        [sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    watch = Watch(process.pid)
    assert process.stdout is not None
    assert process.stdout.readline() == "busy enough\n"
    seen = len(watch.samples)
    while len(watch.samples) < seen + 2:
        time.sleep(0.05)
    process.communicate("\n")
    watch.stop()
    used = watch.used()
    assert used["other"] >= 0.45
    assert set(used) == {"driver", "other"}
    assert sum(watch.used(began=time.time()).values()) == 0


def test_processes_are_told_apart_by_their_command_lines() -> None:
    assert kind_of("ray::ImplicitFunc.train", is_root=False) == "workers"
    assert kind_of("ray::IDLE", is_root=False) == "idle workers"
    assert kind_of("python -c from mlt_ray.cli.app import main; main()", is_root=True) == "driver"


def test_a_call_is_divided_by_its_first_beginning_and_last_end(raw: Any, tmp_path: Path) -> None:
    training = TrainingSpec(batch_size=5, max_epochs=2)
    run = run_of(raw, tmp_path, model=SPEC, training=training)
    report = train_alone(run, str(tmp_path))
    assert len(report.curve) == 2
    first = replace(report, started_ms=12_000, ended_ms=15_000)
    second = replace(report, started_ms=15_250, ended_ms=17_000)
    watch = Watch(0)
    watch.stop()
    driver, worker = Process(1, "1"), Process(2, "2")
    watch.kinds = {driver: "driver", worker: "workers"}
    watch.samples = [
        (11.0, {driver: 1.0}),
        (14.0, {driver: 2.0, worker: 1.0}),
        (16.0, {driver: 2.5, worker: 4.0}),
        (19.0, {driver: 7.0, worker: 4.5}),
    ]
    found = Call(10.0, 20.0, [second, first], watch).figures()
    assert (found["start_s"], found["runs_s"], found["end_s"]) == (2.0, 5.0, 3.0)
    assert found["gap_ms"] == 250.0
    assert found["runs_cpu_by_kind_s"] == {"driver": 1.5, "workers": 4.0}
    assert found["runs_cpu_s"] == 1.5 + 4.0
    assert found["cpu_s"] == 7.0 + 4.5
    assert mean_gap_ms([first, replace(second, started_ms=14_000)]) is None
