"""A search for the best configurations, each judged by cross-validation; a source of runs.

Optuna proposes configurations (ask) and is told their scores (tell). Each configuration has one
run per (fold, seed), or per fold if its system reads no seed; these runs share the store with every
other study. Optuna's pruner ends a poor configuration early. It compares the mean over the first n
runs with that of earlier configurations, and the learning curve of a run with earlier curves of the
same fold and seed.

The store keeps Optuna's database and the runs. A search that is started again after a crash goes
on with the configurations that had not ended, and trains none of their finished runs again.
"""

import contextlib
import statistics
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import TrialState

from mlt_ray.errors import StoreUnreachable, UserError
from mlt_ray.planning.source import End, Pack, PackSize, RunEnd
from mlt_ray.reports.search import ConfigurationResult
from mlt_ray.search.configuration import Configuration, ConfigurationState
from mlt_ray.search.curves import Curves
from mlt_ray.search.evidence import VALUE, evidence_of
from mlt_ray.search.samplers import make_pruner, make_sampler, suggest
from mlt_ray.spec import Run, RunSpec, runs_of
from mlt_ray.storage.leftovers import drop_checkpoints, planned_runs
from mlt_ray.storage.report import Epoch
from mlt_ray.storage.store import Store
from mlt_ray.studies.space import MAXIMISED, SearchSpace

MOST_REPEATS = 100
"""After so many known proposals in a row, the search takes it that nothing new will come."""

MOST_REFUSALS = 20
"""After so many proposals in a row of which no model can be built, the search gives up."""


LEAST_SCORES = 4
"""Different scores that must be known before parameters are called important (*assumed*)."""


class CrossValidationSearch:
    """A `Source` that gives out the runs of the configurations that Optuna proposes.

    `configure` makes a RunSpec of proposed values; it raises `UserError` if no model can be built
    of them. `identity` is part of the Optuna study's name, so that other settings are another
    study. `on_proposal` is called with each configuration, known or new, before its runs are
    given out; `on_end` is called when its last run has ended.
    """

    def __init__(
        self,
        space: SearchSpace,
        store: Store,
        storage: optuna.storages.BaseStorage,
        configure: Callable[[Mapping[str, Any]], RunSpec],
        *,
        identity: str,
        on_proposal: Callable[[Configuration], None] = lambda configuration: None,
        on_end: Callable[[Configuration], None] = lambda configuration: None,
    ) -> None:
        self.space = space
        self.store = store
        self.configurations: list[Configuration] = []
        self._configure = configure
        self._on_proposal = on_proposal
        self._on_end = on_end
        self._by_spec: dict[RunSpec, Configuration] = {}
        self._by_run: dict[str, Configuration] = {}
        self._planned = planned_runs(store)
        self._no_more_proposals = False
        self.study = self._open_study(storage, f"{space.name}-{identity}")
        self._curves = Curves(space)
        self._resume()

    def _open_study(self, storage: optuna.storages.BaseStorage, name: str) -> optuna.Study:
        directions = [
            StudyDirection.MAXIMIZE if o in MAXIMISED else StudyDirection.MINIMIZE
            for o in self.space.objectives
        ]
        study = optuna.create_study(
            storage=storage, study_name=name, directions=directions, load_if_exists=True
        )
        study.sampler = make_sampler(self.space, known=0)
        study.pruner = make_pruner(self.space, self.space.search.warmup_cells)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(list(self.space.objectives))  # for optuna-dashboard
        return study

    def _resume(self) -> None:
        """Restore the configurations of Optuna's trials; those that had not ended go on."""
        for frozen in self.study.get_trials(deepcopy=False):
            if frozen.state in (TrialState.WAITING, TrialState.FAIL):
                continue
            if len(frozen.params) < len(self.space.parameters):
                # The driver died while Optuna was proposing values.
                self.study.tell(frozen.number, state=TrialState.FAIL)
                continue
            configuration = self._configuration_of(frozen.params)
            if frozen.state is TrialState.RUNNING:
                if not configuration.trials:
                    configuration.compared = len(frozen.intermediate_values)
                configuration.trials.append(optuna.Trial(self.study, frozen._trial_id))
                continue
            reason = frozen.user_attrs.get("failure", "")
            if frozen.state is TrialState.COMPLETE and configuration.todo:
                continue  # the store has lost runs of it, which are computed again
            if reason:
                configuration.state = ConfigurationState.FAILED
            elif frozen.state is TrialState.COMPLETE:
                configuration.state = ConfigurationState.COMPLETE
            else:
                configuration.state = ConfigurationState.PRUNED
            configuration.reason = reason
            configuration.todo.clear()
        for configuration in list(self.configurations):
            if configuration.is_running:
                self._update(configuration)
            else:
                self._tell_optuna(configuration)
                self._drop_checkpoints(configuration)

    def next(self, max_size: PackSize) -> Pack | None:
        """Runs of the oldest configuration that has any left, else of a new one."""
        while True:
            for configuration in self.configurations:
                if configuration.todo:
                    size = max_size(configuration.spec)
                    runs = configuration.todo[:size]
                    del configuration.todo[:size]
                    configuration.under_way |= {run.digest for run in runs}
                    return tuple(runs)
            if not self._propose():
                return None

    def importances(self) -> dict[str, float]:
        """The share of the first objective's variance that each parameter explains (fANOVA).

        Empty with one parameter, and before enough configurations differ in their score.
        """
        done = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        scores = {trial.values[0] for trial in done}
        if len(self.space.parameters) < 2 or len(scores) < LEAST_SCORES:
            return {}
        found = optuna.importance.get_param_importances(
            self.study,
            evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0),
            target=lambda trial: trial.values[0],
        )
        return dict(found)

    @property
    def exhausted(self) -> bool:
        """True if no new configuration will come and every known one has ended."""
        has_all = len(self.configurations) >= self.space.search.trials
        is_running = any(c.is_running for c in self.configurations)
        return (has_all or self._no_more_proposals) and not is_running

    def epochs(self, run: Run, epochs: Sequence[Epoch]) -> Sequence[Run]:
        """Compare the learning curve; if it is poor, returns the configuration's runs under way."""
        configuration = self._by_run[run.digest]
        if not configuration.is_running or not self._curves.is_poor(run, epochs):
            return ()
        return self._prune(configuration, f"{run}: learning curve")

    def ended(self, run: Run, end: RunEnd) -> Sequence[Run]:
        """A run has ended; if its configuration is pruned now, returns the runs still under way."""
        configuration = self._by_run[run.digest]
        configuration.under_way.discard(run.digest)
        if end.kind is End.DONE:
            self._load_evidence(configuration, (run,))
            is_pruned = configuration.state is ConfigurationState.PRUNED
            if is_pruned and len(configuration.found) == len(configuration.runs):
                # Its last run was finished before it could be stopped: no score is missing.
                configuration.state, configuration.reason = ConfigurationState.RUNNING, ""
        elif end.kind is End.FAILED and configuration.is_running:
            configuration.state, configuration.reason = ConfigurationState.FAILED, end.reason
            configuration.todo.clear()
        elif configuration.is_running:
            configuration.todo.insert(0, run)
        return self._update(configuration)

    def _propose(self) -> bool:
        """Ask Optuna for values until a configuration is new; False if no new one will come."""
        repeats = refusals = 0
        while len(self.configurations) < self.space.search.trials and not self._no_more_proposals:
            trials = self.study.get_trials(deepcopy=False)
            # One that lacks values waits, or its driver died while Optuna was proposing it.
            known = [t.params for t in trials if len(t.params) == len(self.space.parameters)]
            if self.space.search.sampler == "grid":
                left = [values for values in self.space.grid() if values not in known]
                if not left:
                    self._no_more_proposals = True
                    break
                if all(t.state is not TrialState.WAITING for t in trials):
                    self.study.enqueue_trial(left[0])
            self.study.sampler = make_sampler(self.space, len(known))
            trial = self.study.ask()
            values = {p.key: suggest(trial, p) for p in self.space.parameters}
            num_configurations = len(self.configurations)
            try:
                configuration = self._configuration_of(values)
            except UserError as error:
                refusals += 1
                trial.set_user_attr("refused", str(error))
                self.study.tell(trial, state=TrialState.FAIL)
                if refusals == MOST_REFUSALS:
                    raise UserError(
                        f"{self.space.name}: {refusals} proposals in a row cannot be built; the "
                        f"last: {error}; narrow the space"
                    ) from error
                continue
            configuration.trials.append(trial)
            trial.set_user_attr("configuration", configuration.number)
            if len(self.configurations) > num_configurations:
                self._update(configuration)
                return True
            repeats += 1
            self._tell_optuna(configuration)
            size = self.space.size
            has_all = size is not None and len(self.configurations) >= size
            self._no_more_proposals = has_all or repeats >= MOST_REPEATS
        return False

    def _configuration_of(self, values: Mapping[str, Any]) -> Configuration:
        """The configuration with the RunSpec of these values; makes it if there is none yet."""
        spec = self._configure(values)
        if spec in self._by_spec:
            return self._by_spec[spec]
        runs = runs_of(spec, self.space.fold_seeds(spec.folds.num_folds))
        configuration = Configuration(
            number=len(self.configurations) + 1, values=dict(values), spec=spec, runs=runs
        )
        self.configurations.append(configuration)
        self._by_spec[spec] = configuration
        self._by_run |= {run.digest: configuration for run in runs}
        configuration.todo = self._load_evidence(configuration, runs)
        self._on_proposal(configuration)
        return configuration

    def _load_evidence(self, configuration: Configuration, runs: Sequence[Run]) -> list[Run]:
        """Take the evidence of runs from the store; returns those that are not finished."""
        by_digest = {run.digest: run for run in runs}
        for report in self.store.reports(by_digest):
            run, evidence = by_digest.pop(report.digest), evidence_of(report)
            configuration.found[run.digest] = evidence
            self._curves.finish(run, evidence)
        return list(by_digest.values())

    def _update(self, configuration: Configuration) -> Sequence[Run]:
        """Show the pruner each new mean; end the configuration if no run is left.

        Returns the runs under way that shall stop, since the pruner has ended the configuration.
        """
        stopping: Sequence[Run] = ()
        has_one = len(self.space.objectives) == 1
        if configuration.is_running and configuration.trials and has_one:
            scores = [VALUE[self.space.objectives[0]](e) for e in configuration.first_evidence]
            trial = configuration.trials[0]
            while configuration.compared < len(scores):
                configuration.compared += 1
                trial.report(
                    statistics.fmean(scores[: configuration.compared]), configuration.compared
                )
                has_runs = configuration.todo or configuration.under_way
                if has_runs and trial.should_prune():
                    reason = f"mean of the first {configuration.compared} cells"
                    stopping = self._prune(configuration, reason)
                    break
        if not configuration.todo and not configuration.under_way:
            if configuration.is_running:
                configuration.state = ConfigurationState.COMPLETE
            self._tell_optuna(configuration)
            self._drop_checkpoints(configuration)
            self._on_end(configuration)
        return stopping

    def _drop_checkpoints(self, configuration: Configuration) -> None:
        """Delete what the runs of an ended configuration have left, unless a study plans them too.

        If the store does not answer, the next start of the search deletes it.
        """
        unfinished = {run.digest for run in configuration.runs} - configuration.found.keys()
        if unfinished and not configuration.is_running:
            with contextlib.suppress(StoreUnreachable):
                drop_checkpoints(self.store.at_once(), unfinished - self._planned)

    def _prune(self, configuration: Configuration, reason: str) -> Sequence[Run]:
        """Mark the configuration as pruned; returns its runs under way, which shall stop."""
        configuration.state, configuration.reason = ConfigurationState.PRUNED, reason
        configuration.todo.clear()
        return [run for run in configuration.runs if run.digest in configuration.under_way]

    def _tell_optuna(self, configuration: Configuration) -> None:
        """Tell Optuna the result of a configuration that has ended."""
        if configuration.is_running:
            return
        while configuration.trials:
            trial = configuration.trials.pop()
            trial.set_user_attr("state", str(configuration.state))
            if configuration.reason:
                key = "failure" if configuration.state is ConfigurationState.FAILED else "pruned by"
                trial.set_user_attr(key, configuration.reason)
            if configuration.state is ConfigurationState.COMPLETE:
                self.study.tell(trial, [configuration.means[o] for o in self.space.objectives])
            else:
                # Optuna's samplers learn nothing from FAIL; a pruned trial counts as a poor one.
                self.study.tell(trial, state=TrialState.PRUNED)

    def best(self) -> list[Configuration]:
        """The best complete configurations, best first, at most as many as the space asks for.

        With several objectives, only those on the Pareto front, ordered by the first objective.
        """
        complete = [c for c in self.configurations if c.state is ConfigurationState.COMPLETE]
        if len(self.space.objectives) > 1:
            front = {self._configuration_of(t.params).number for t in self.study.best_trials}
            complete = [c for c in complete if c.number in front]
        first = self.space.objectives[0]
        sign = -1 if first in MAXIMISED else 1
        complete.sort(key=lambda c: (sign * c.means[first], c.number))
        return complete[: self.space.search.best]

    def results(self) -> list[ConfigurationResult]:
        """What a report shows of every configuration, in the order of the proposals."""
        places = {c.number: place for place, c in enumerate(self.best(), start=1)}
        return [
            ConfigurationResult(
                number=c.number,
                values=c.values,
                state=str(c.state),
                reason=c.reason,
                runs_done=len(c.found),
                runs_planned=len(c.runs),
                means={str(name): mean for name, mean in c.means.items()},
                place=places.get(c.number),
            )
            for c in self.configurations
        ]
