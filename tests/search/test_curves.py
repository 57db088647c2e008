"""Learning curves are compared by the first objective, whichever score chooses an epoch."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from mlt_ray.models.multilevel.values import MultilevelSpec
from mlt_ray.search.curves import Curves
from mlt_ray.search.evidence import evidence_of
from mlt_ray.spec import Run, RunSpec
from mlt_ray.storage.report import Epoch, RunReport
from mlt_ray.studies.space import parse_space
from tests.stored import EPOCHS, report_of

optuna.logging.set_verbosity(optuna.logging.WARNING)

NAMES = ("dev_wa", "dev_ua", "dev_macro_f1")


def curves_of(objective: str) -> Curves:
    """Curves of which a poor one is found from the second epoch on, beside one that is known."""
    values: dict[str, Any] = {
        "base": {"model": {"system": "multilevel"}},
        "space": {"model.width": {"choice": [4, 8]}},
        "search": {"startup_trials": 1, "warmup_epochs": 1, "objectives": [objective]},
    }
    return Curves(parse_space(Path("mini.yaml"), values))


def run_of(width: int) -> Run:
    return Run(spec=RunSpec(corpus="c", model=MultilevelSpec(width=width)), fold=1, seed=1)


def epochs_of(**scores: Any) -> tuple[Epoch, ...]:
    return tuple(replace(EPOCHS[0], epoch=n, **scores) for n in (1, 2, 3))


def known(run: Run, **scores: Any) -> RunReport:
    return replace(report_of(run, 0.5), curve=epochs_of(**scores))


@pytest.mark.parametrize("name", NAMES)
def test_a_curve_is_poor_by_the_objective_alone(name: str) -> None:
    earlier, later = run_of(4), run_of(8)
    curves = curves_of(name)
    curves.finish(earlier, evidence_of(known(earlier, **dict.fromkeys(NAMES, 0.5))))
    others = {other: 0.1 for other in NAMES if other != name}
    assert not curves.is_poor(later, epochs_of(**others, **{name: 0.9}))
    others = {other: 0.9 for other in NAMES if other != name}
    assert curves.is_poor(run_of(16), epochs_of(**others, **{name: 0.1}))


def test_no_curve_is_compared_with_one_of_before_its_score_was_computed() -> None:
    earlier, later = run_of(4), run_of(8)
    curves = curves_of("dev_macro_f1")
    curves.finish(earlier, evidence_of(known(earlier, dev_macro_f1=None)))
    assert not curves.is_poor(later, epochs_of(dev_macro_f1=0.1))
