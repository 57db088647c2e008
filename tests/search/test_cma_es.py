"""CMA-ES without a pickle: the same proposals after a restart, and nothing of a database is run."""

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna._transform import _SearchSpaceTransform
from optuna.search_space import intersection_search_space

from mlt_ray.search.cma_es import GENERATION, CmaEs

optuna.logging.set_verbosity(optuna.logging.WARNING)

BEST = {"x": 0.2, "y": 3.0}


class Planted:
    """An object whose pickle creates a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def plant(study: optuna.Study, path: Path) -> None:
    """Put a pickle that creates `path` where Optuna's CMA-ES keeps its own, in every place."""
    for number in range(5):
        content = pickle.dumps(Planted(path)).hex()
        study._storage.set_study_system_attr(study._study_id, f"cma:optimizer:{number}", content)
        for kind in ("cma", "sepcma", "cmawm"):
            waiting = study.ask()
            waiting.suggest_float("x", 0, 1)
            waiting.suggest_float("y", 1, 100, log=True)
            key = f"{kind}:optimizer:0"
            study._storage.set_trial_system_attr(waiting._trial_id, key, content)
            study._storage.set_trial_system_attr(waiting._trial_id, GENERATION, 0)
            study.tell(waiting, 1.0)


def propose(study: optuna.Study, number: int) -> optuna.Trial:
    """The next proposal, with the sampler's seed that belongs to its number."""
    study.sampler = CmaEs(seed=number)
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    trial.suggest_float("y", 1, 100, log=True)
    trial.suggest_categorical("z", ["a", "b"])
    return trial


def loss(params: dict[str, Any]) -> float:
    return float((params["x"] - BEST["x"]) ** 2 + (params["y"] - BEST["y"]) ** 2 / 100)


def study_in(path: Path) -> optuna.Study:
    return optuna.create_study(
        storage=f"sqlite:///{path}", study_name="s", load_if_exists=True, sampler=CmaEs(seed=0)
    )


def test_nothing_that_a_database_holds_is_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    study = study_in(tmp_path / "optuna.db")
    study.sampler = optuna.samplers.RandomSampler(seed=1)
    plant(study, marker)
    again = study_in(tmp_path / "optuna.db")
    for number in range(3):
        again.tell(propose(again, number), 0.5)
    assert not marker.exists()
    # The same database is dangerous to Optuna's own sampler, so the pickle is where it looks.
    again.sampler = optuna.samplers.CmaEsSampler(seed=1)
    again.ask().suggest_float("x", 0, 1)
    assert marker.exists()


def test_a_study_that_is_opened_again_for_every_proposal_gets_the_same_ones(tmp_path: Path) -> None:
    whole = study_in(tmp_path / "whole.db")
    for number in range(20):
        trial = propose(whole, number)
        whole.tell(trial, loss(trial.params))
    for number in range(20):
        opened = study_in(tmp_path / "cut.db")
        trial = propose(opened, number)
        opened.tell(trial, loss(trial.params))
    assert [t.params for t in study_in(tmp_path / "cut.db").trials] == [
        t.params for t in whole.trials
    ]
    assert max(t.system_attrs.get(GENERATION, 0) for t in whole.trials) >= 2


def test_of_a_generation_the_first_to_complete_count() -> None:
    study = optuna.create_study(sampler=CmaEs(seed=0))
    study.tell(propose(study, 0), 1.0)
    under_way = [propose(study, number) for number in range(1, 10)]
    for trial in reversed(under_way[1:]):
        study.tell(trial, loss(trial.params))
    before = propose(study, 10).params
    study.tell(under_way[0], 0.0)  # came too late for its generation, though its number is lower
    assert propose(study, 10).params == before


def test_its_state_is_that_of_optuna_s_own_sampler() -> None:
    own = optuna.samplers.CmaEsSampler(seed=3)
    study = optuna.create_study(sampler=own, direction="maximize")
    for _ in range(40):
        trial = study.ask()
        x, y = trial.suggest_int("x", 1, 9, step=2), trial.suggest_float("y", 1e-4, 1, log=True)
        study.tell(trial, -((x - 4) ** 2) / 9 - abs(math.log(y) + 3))
    theirs: Any = own._restore_optimizer(study.trials)
    space = intersection_search_space(study.trials)
    ours = CmaEs(0)._replay(study, _SearchSpaceTransform(space, transform_0_1=True))
    assert ours.generation == theirs.generation == 6
    for name in ("_mean", "_sigma", "_C", "_p_sigma", "_pc", "_bounds", "_n_max_resampling"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=1e-12)


def test_it_finds_the_lowest_point_of_a_bowl() -> None:
    study = optuna.create_study(direction="maximize")
    for number in range(150):
        trial = propose(study, number)
        study.tell(trial, -loss(trial.params))
    assert study.best_params["x"] == pytest.approx(BEST["x"], abs=0.02)
    assert study.best_params["y"] == pytest.approx(BEST["y"], rel=0.05)


def test_a_single_number_is_enough() -> None:
    study = optuna.create_study(sampler=CmaEs(seed=0))
    for number in range(30):
        study.sampler = CmaEs(seed=number)
        trial = study.ask()
        study.tell(trial, (trial.suggest_int("n", 1, 9) - 7) ** 2)
    assert study.best_params == {"n": 7}
