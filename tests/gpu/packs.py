"""Checks of packs on the device: same numbers as runs alone, with CUDA graphs too, no waiting."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from mlt_ray.spec import Run
from mlt_ray.training.learner import Learner
from mlt_ray.training.loop import deterministic, train
from mlt_ray.training.packs.trainer import PackTrainer
from tests.gpu.comparing import OTHER_ORDER, agree, apart, finished
from tests.gpu.findings import Findings, Outcome
from tests.gpu.inputs import ROW, changed, cut, distinct, networks
from tests.gpu.setting import Setting
from tests.gpu.systems import resumed_equals_uninterrupted

WHO: Final = (0, 2, 5)
"""Indices of the runs of a pack: folds 1 and 3 of one seed, and fold 1 of another."""

REPLAYED_EPOCHS: Final = 3
LONG_STEPS: Final = 24
"""Frames per step in checks of replaying. There are then few shapes, so many are replayed."""

FEW, MANY = 3, 5
"""Numbers of steps of the two epochs in which waits are counted."""


def row_names() -> tuple[str, ...]:
    """The rows of the studies whose runs can be packed."""
    specs = networks("")[0]
    return tuple(name for name in distinct(specs) if specs[name].model.can_be_packed)


def run(setting: Setting, findings: Findings) -> None:
    """Run all checks, one kind after another; those of all rows last."""
    names = (ROW,) if setting.quick else row_names()
    for aspect in CHECKS:
        if setting.quick and aspect in LONG:
            continue
        findings.check(f"{ROW}, pack: {aspect}", lambda a=aspect: CHECKS[a](setting, ROW))
    for aspect in OF_ALL_ROWS:
        for name in names:
            if name != ROW:
                findings.check(
                    f"{name}, pack: {aspect}", lambda a=aspect, n=name: CHECKS[a](setting, n)
                )


def runs_of(setting: Setting, name: str) -> list[Run]:
    """Three small runs of a row, whose folds have different vocabularies."""
    return [setting.inputs.small_rows[name][n] for n in WHO]


def equals_runs_alone(setting: Setting, name: str) -> Outcome:
    """A pack of three runs gives the numbers that each run gives alone."""
    runs = runs_of(setting, name)
    data = [setting.inputs.fold(run) for run in runs]
    alone = [train([r], [d], device=setting.device)[0] for r, d in zip(runs, data, strict=True)]
    packed = train(runs, data, device=setting.device)
    figures = apart(finished(packed), finished(alone))
    return Outcome(ok=agree(figures), figures=figures, tolerance=OTHER_ORDER)


def replayed_equals_taken(setting: Setting, name: str) -> Outcome:
    """Recorded and replayed steps give the numbers of ordinary steps."""
    runs = [_long_steps(run) for run in runs_of(setting, name)]
    data = [setting.inputs.fold(run) for run in runs]
    recorder = setting.recorder()
    taken = train(runs, data, device=setting.device)
    replayed = train(runs, data, device=setting.device, recorder=recorder)
    figures = apart(finished(replayed), finished(taken))
    figures |= {"recorded": recorder.recorded, "replayed": recorder.replayed}
    return Outcome(
        ok=agree(figures) and recorder.recorded > 0,
        figures=figures,
        tolerance=OTHER_ORDER,
    )


def replayed_equals_runs_alone(setting: Setting, name: str) -> Outcome:
    """A pack with replayed steps gives the numbers that each run gives alone, without recording."""
    runs = [_long_steps(run) for run in runs_of(setting, name)]
    data = [setting.inputs.fold(run) for run in runs]
    alone = [train([r], [d], device=setting.device)[0] for r, d in zip(runs, data, strict=True)]
    recorder = setting.recorder()
    replayed = train(runs, data, device=setting.device, recorder=recorder)
    figures = apart(finished(replayed), finished(alone))
    figures |= {"recorded": recorder.recorded, "replayed": recorder.replayed}
    return Outcome(
        ok=agree(figures) and recorder.recorded > 0, figures=figures, tolerance=OTHER_ORDER
    )


def same_bits_twice(setting: Setting, name: str) -> Outcome:
    """A pack that is trained twice gives the same bits."""
    runs = runs_of(setting, name)
    data = [setting.inputs.fold(run) for run in runs]
    one, other = (finished(train(runs, data, device=setting.device)) for _ in range(2))
    figures = apart(one, other)
    return Outcome(ok=figures["same_bits"], figures=figures)


def same_bits_replayed_twice(setting: Setting, name: str) -> Outcome:
    """A pack with replayed steps that is trained twice gives the same bits."""
    runs = [_long_steps(run) for run in runs_of(setting, name)]
    data = [setting.inputs.fold(run) for run in runs]
    one, other = (
        finished(train(runs, data, device=setting.device, recorder=setting.recorder()))
        for _ in range(2)
    )
    figures = apart(one, other)
    return Outcome(ok=figures["same_bits"], figures=figures)


def resumed(setting: Setting, name: str) -> Outcome:
    """A pack that stops after an epoch and goes on gives the bits of one that never stopped."""
    return resumed_equals_uninterrupted(setting, runs_of(setting, name))


def nothing_waits(setting: Setting, name: str) -> Outcome:
    """No step makes the host wait: a longer epoch has no more waits than a shorter one."""
    return _waits(setting, name, is_recorded=False)


def nothing_waits_replayed(setting: Setting, name: str) -> Outcome:
    """The same with replayed steps."""
    return _waits(setting, name, is_recorded=True)


def _waits(setting: Setting, name: str, is_recorded: bool) -> Outcome:
    counts: list[Counter[str]] = []
    for num_steps in (FEW, MANY):
        runs = runs_of(setting, name)
        size = runs[0].spec.training.batch_size * num_steps
        with deterministic():
            learners = [Learner(r, cut(setting.inputs.fold(r), size), setting.device) for r in runs]
            pack = PackTrainer(learners, setting.recorder() if is_recorded else None)
            for _ in range(1 + is_recorded):
                pack.train_epoch()
            with setting.watching() as waits:
                pack.train_epoch()
        counts.append(waits)
    few, many = counts
    more = many - few
    return Outcome(
        ok=not more,
        figures={
            "waits_an_epoch": few.total(),
            "waits_of_more_steps": more.total(),
            "places": dict(more),
            "places_an_epoch": dict(few),
        },
    )


def _long_steps(run: Run) -> Run:
    features = replace(run.spec.features, frames_per_step=LONG_STEPS)
    longer = replace(run, spec=replace(run.spec, features=features))
    return changed(longer, "training", max_epochs=REPLAYED_EPOCHS, patience=REPLAYED_EPOCHS)


LONG: Final = ("the same bits twice", "the same bits replayed twice")
"""Checks that a quick try leaves out."""

OF_ALL_ROWS: Final = ("replayed equals runs alone",)
CHECKS: Final[Mapping[str, Callable[[Setting, str], Outcome]]] = {
    "replayed equals runs alone": replayed_equals_runs_alone,
    "equals runs alone": equals_runs_alone,
    "replayed equals taken": replayed_equals_taken,
    "no step waits": nothing_waits,
    "no replayed step waits": nothing_waits_replayed,
    "the same bits twice": same_bits_twice,
    "the same bits replayed twice": same_bits_replayed_twice,
    "resumed equals uninterrupted": resumed,
}
