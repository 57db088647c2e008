"""Compares the learning curve of a run with those of earlier configurations."""

from collections import deque
from collections.abc import Iterator, Sequence

import optuna

from mlt_ray.search.evidence import Evidence
from mlt_ray.search.samplers import make_pruner
from mlt_ray.spec import Run
from mlt_ray.storage.report import Epoch
from mlt_ray.studies.space import MAXIMISED, SearchSpace


class Curves:
    """Learning curves of runs, each compared with those of the same fold and seed.

    Optuna's pruner compares them: there is one Optuna study in memory for each (fold, seed).
    """

    def __init__(self, space: SearchSpace) -> None:
        first = space.objectives[0]
        self._score = first if first in MAXIMISED else "dev_ua"
        self._is_on = space.search.pruner != "none"
        self._studies = {
            fold_seed: optuna.create_study(
                direction="maximize", pruner=make_pruner(space, space.search.warmup_epochs)
            )
            for fold_seed in space.fold_seeds
        }
        self._trials: dict[str, optuna.Trial] = {}
        self._seen: dict[str, int] = {}

    def is_poor(self, run: Run, epochs: Sequence[Epoch]) -> bool:
        """True if the pruner would stop the run after one of these epochs."""
        poor = False
        for trial in self._reported(run, epochs):
            poor = poor or (self._is_on and trial.should_prune())
        return poor

    def finish(self, run: Run, evidence: Evidence) -> None:
        """Add the whole curve of a finished run to those that others are compared with."""
        deque(self._reported(run, evidence.curve), maxlen=0)
        study, trial = self._studies[run.fold, run.seed], self._trials.pop(run.digest)
        study.tell(trial, max(getattr(e, self._score) for e in evidence.curve))

    def _reported(self, run: Run, epochs: Sequence[Epoch]) -> Iterator[optuna.Trial]:
        """Report new epochs to the run's trial; yields the trial after each of them."""
        if run.digest not in self._trials:
            self._trials[run.digest] = self._studies[run.fold, run.seed].ask()
        trial = self._trials[run.digest]
        for epoch in epochs:
            # A run that restarts after a crash may report an epoch twice.
            if epoch.epoch > self._seen.get(run.digest, 0):
                self._seen[run.digest] = epoch.epoch
                trial.report(getattr(epoch, self._score), epoch.epoch)
                yield trial
