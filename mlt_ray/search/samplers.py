"""Optuna's samplers and pruners, as a search space asks for them."""

from typing import Any

import optuna

from mlt_ray.errors import UserError
from mlt_ray.search.cma_es import CmaEs
from mlt_ray.spec import digest_of
from mlt_ray.studies.space import Parameter, SearchSpace


def suggest(trial: optuna.Trial, parameter: Parameter) -> Any:
    """The value that Optuna's trial has for a parameter."""
    if parameter.kind == "choice":
        return trial.suggest_categorical(parameter.key, parameter.values)
    low, high = parameter.values
    if parameter.kind == "int":
        return trial.suggest_int(parameter.key, low, high, step=int(parameter.step or 1))
    return trial.suggest_float(
        parameter.key, low, high, step=parameter.step, log=parameter.kind == "log"
    )


def make_sampler(space: SearchSpace, known: int) -> optuna.samplers.BaseSampler:
    """The space's sampler for one proposal, seeded by the space's seed and the number of `known`.

    So a proposal depends on the trials alone, and a search that is started again proposes what it
    would have proposed. Raises `UserError` for CMA-ES with several objectives.
    """
    seed = int(digest_of([space.search.sampler_seed, known])[:8], 16)
    if space.search.sampler == "tpe":
        return optuna.samplers.TPESampler(seed=seed, constant_liar=True)
    if space.search.sampler == "cmaes":
        if len(space.objectives) > 1:
            raise UserError(
                f"{space.name}.search.sampler: expected tpe, random or grid with several "
                "objectives, got cmaes, which needs one"
            )
        return CmaEs(seed=seed)
    return optuna.samplers.RandomSampler(seed=seed)  # a grid's point is queued in the study


def make_pruner(space: SearchSpace, warmup: int) -> optuna.pruners.BasePruner:
    """The space's pruner, which prunes nothing before step `warmup` (steps count from 1)."""
    search = space.search
    if search.pruner == "median":
        return optuna.pruners.MedianPruner(search.startup_trials, n_warmup_steps=warmup)
    if search.pruner == "percentile":
        return optuna.pruners.PercentilePruner(25.0, search.startup_trials, n_warmup_steps=warmup)
    if search.pruner == "halving":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=max(1, warmup))
    return optuna.pruners.NopPruner()
