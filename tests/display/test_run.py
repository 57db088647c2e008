import io
import re

import pytest
from rich.console import Console

from mlt_ray.display.run import RunDisplay
from mlt_ray.labels import NAMED
from mlt_ray.models.multilevel.values import MultilevelSpec
from mlt_ray.planning.backlog import Backlog
from mlt_ray.planning.plan import Plan, PlannedRow
from mlt_ray.spec import Run, RunSpec, TrainingSpec
from mlt_ray.storage.report import Epoch

HEIGHT = 7


def row(number, seeds=(1, 2)):
    training = TrainingSpec(max_epochs=number)
    spec = RunSpec(corpus="c", model=MultilevelSpec(), training=training)
    runs = tuple(Run(spec=spec, fold=fold, seed=seed) for seed in seeds for fold in range(1, 6))
    labels = NAMED["four"]
    return PlannedRow(
        name=f"row {number}", published=None, labels=labels, changes=(), runs=runs, asked=runs
    )


@pytest.fixture
def display():
    def make(*rows):
        plan = Plan(study="s", title="S", corpus="c", fingerprint="f", rows=rows)
        left = tuple(run for row in rows for run in row.asked)
        backlog = Backlog(plans=(plan,), done=frozenset(), left=left)
        console = Console(file=io.StringIO(), force_terminal=True, width=90, height=HEIGHT)
        return RunDisplay(backlog, console)

    return make


def drawn(display):
    display.console.print(display._render())
    return re.sub(r"\x1b\[[0-9;]*m", "", display.console.file.getvalue())


def test_every_run_has_a_mark_for_its_state(display):
    shown = display(row(1))
    runs = shown.plans[0].rows[0].runs
    shown.started(runs[0])
    shown.finished(runs[0])
    shown.started(runs[1])
    shown.failed(runs[2], "the loss is nan")
    text = drawn(shown)
    assert "●◐✗·······" in text
    assert "2/10 runs" in text


def test_rows_under_way_are_shown_where_not_all_fit_into_the_terminal(display):
    rows = [row(n) for n in range(1, 21)]
    shown = display(*rows)
    shown.started(rows[17].runs[3])
    for run in rows[0].runs:
        shown.finished(run)
    lines = drawn(shown).splitlines()
    assert len(lines) < HEIGHT
    assert [line.split()[2] for line in lines[:-1]] == ["2", "3", "4", "5", "18"]
    assert lines[-1].endswith("and 15 more rows")


def test_a_row_of_very_many_runs_counts_them(display):
    many = row(1, seeds=range(20))
    shown = display(many)
    for run in many.runs[:30]:
        shown.finished(run)
    shown.started(many.runs[30])
    assert "30 done, 1 running, 69 waiting" in drawn(shown)


def epoch(dev_ua):
    ua = {"dev_wa": 0.5, "dev_ua": dev_ua, "dev_macro_f1": 0.5}
    return Epoch(epoch=1, train_loss=1.0, dev_loss=1.0, ended_ms=0, **ua)


def test_rows_show_the_mean_of_the_best_dev_scores_of_their_runs(display):
    poor, good = row(1), row(2)
    shown = display(poor, good)
    assert "waiting for the first worker to start" in drawn(shown)
    shown.epochs(poor.runs[0], [epoch(0.5), epoch(0.6)])
    shown.epochs(good.runs[0], [epoch(0.9)])
    shown.epochs(good.runs[1], [epoch(0.7)])
    shown.epochs(good.runs[1], [epoch(0.1)])
    shown.started(good.runs[0])
    lines = drawn(shown).splitlines()
    assert [line.split()[-1] for line in lines if "dev UA" in line][-3:-1] == ["60.0", "80.0"]
    assert lines[-1].endswith("; best dev UA so far 80.0 (row 2)")
    assert "waiting for the first" not in lines[-1]


def test_every_run_is_told_where_logs_are_shown(display, monkeypatch):
    shown = display(row(1))
    run = shown.plans[0].rows[0].runs[0]
    shown.started(run)
    assert shown.console.file.getvalue() == ""
    monkeypatch.setattr("mlt_ray.display.run.are_logs_shown", lambda: True)
    shown.epochs(run, [epoch(0.625)])
    shown.finished(run)
    assert "s: row 1, fold 1, seed 1: done, best dev UA 62.5" in shown.console.file.getvalue()
