"""CMA-ES as a sampler of Optuna, whose state is computed from the trials and stored nowhere.

Optuna's own sampler pickles its state into the database of the study. Reading a pickle runs the
code that it holds, and the database may come from a shared folder or a bucket. Here each proposal
replays the generations so far, which takes milliseconds.
"""

from typing import Any

import cmaes  # type: ignore[import-untyped]
import numpy as np
import optuna
from optuna._transform import _SearchSpaceTransform
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.search_space import intersection_search_space
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

GENERATION = "cma:generation"
"""System attribute of a trial: number of generations that were known when it was proposed."""


class CmaEs(optuna.samplers.BaseSampler):
    """Proposes by CMA-ES, with the settings of Optuna's `CmaEsSampler`.

    A proposal depends only on `seed` and on the complete trials: their values, their generations
    and the order in which they completed. So a study that was opened again gets the proposal that
    it would have got. Choices, and everything before the first complete trial, are drawn at random.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._independent = optuna.samplers.RandomSampler(seed=seed)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The numbers that CMA-ES proposes: all that have more than one value."""
        shared = intersection_search_space(study.get_trials(deepcopy=False))
        return {
            name: distribution
            for name, distribution in shared.items()
            if isinstance(distribution, FloatDistribution | IntDistribution)
            and not distribution.single()
        }

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A value for each of the numbers, from the present generation."""
        if not search_space:
            return {}
        transform = _SearchSpaceTransform(search_space, transform_0_1=True)
        optimizer = self._replay(study, transform)
        study._storage.set_trial_system_attr(trial._trial_id, GENERATION, optimizer.generation)
        return transform.untransform(optimizer.ask())

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A value at random."""
        return self._independent.sample_independent(study, trial, param_name, param_distribution)

    def _replay(self, study: optuna.Study, transform: _SearchSpaceTransform) -> cmaes.CMA:
        """CMA-ES after all full generations.

        Trials end in another order than they were proposed in, and more than a population may
        belong to a generation. Those that completed first count, as they did at the time.
        """
        num_values = len(transform.bounds)
        optimizer = cmaes.CMA(
            mean=np.full(num_values, 0.5),
            sigma=1 / 6,
            bounds=transform.bounds,
            seed=self._seed,
            n_max_resampling=10 * num_values,
        )
        sign = -1 if study.direction is StudyDirection.MAXIMIZE else 1
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        complete.sort(key=lambda trial: (trial.datetime_complete, trial.number))
        while True:
            present = [
                t for t in complete if t.system_attrs.get(GENERATION) == optimizer.generation
            ]
            if len(present) < optimizer.population_size:
                return optimizer
            optimizer.tell(
                [
                    (transform.transform(t.params), sign * (t.value or 0.0))
                    for t in present[: optimizer.population_size]
                ]
            )
