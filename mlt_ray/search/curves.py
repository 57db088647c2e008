"""Compares learning curves with those of earlier configurations."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import optuna

from mlt_ray.search.evidence import VALUE, Evidence
from mlt_ray.search.samplers import make_pruner
from mlt_ray.spec import Run
from mlt_ray.storage.report import Epoch
from mlt_ray.studies.space import MAXIMISED, Objective, SearchSpace


class Curves:
    """Learning curves of runs, compared by Optuna's pruner.

    There is one Optuna study in memory for each (fold, seed), with one trial for each run. What is
    compared is the first objective epoch by epoch, whichever score chooses the epoch of a run
    (``training.select_by``).
    """

    def __init__(self, space: SearchSpace) -> None:
        # Parameters and seconds have no curve: dev_ua stands in for them.
        first = space.objectives[0]
        self._score: Objective = first if first in MAXIMISED else "dev_ua"
        self._prunes = space.search.pruner != "none"
        self._studies: dict[tuple[int, int], optuna.Study] = defaultdict(
            lambda: optuna.create_study(
                direction="maximize", pruner=make_pruner(space, space.search.warmup_epochs)
            )
        )
        self._trials: dict[str, optuna.Trial] = {}
        self._last_epoch: dict[str, int] = {}

    def is_poor(self, run: Run, epochs: Sequence[Epoch]) -> bool:
        """Whether the pruner would stop the run after any of these epochs."""
        poor = False
        for trial in self._report(run, epochs):
            poor = poor or (self._prunes and trial.should_prune())
        return poor

    def finish(self, run: Run, evidence: Evidence) -> None:
        """Keep the whole curve of a finished run, for later runs to be compared with."""
        list(self._report(run, evidence.curve))  # a generator reports nothing by itself
        study, trial = self._studies[run.fold, run.seed], self._trials.pop(run.digest)
        study.tell(trial, VALUE[self._score](evidence))

    def _report(self, run: Run, epochs: Sequence[Epoch]) -> Iterator[optuna.Trial]:
        """Report each new epoch to the run's Optuna trial; yields the trial after each report.

        Epochs of before a score was computed have nothing to report.
        """
        if run.digest not in self._trials:
            self._trials[run.digest] = self._studies[run.fold, run.seed].ask()
        trial = self._trials[run.digest]
        for epoch in epochs:
            # A run that starts again after a crash may send an epoch twice.
            if epoch.epoch > self._last_epoch.get(run.digest, 0):
                self._last_epoch[run.digest] = epoch.epoch
                if (score := getattr(epoch, self._score)) is not None:
                    trial.report(score, epoch.epoch)
                    yield trial
