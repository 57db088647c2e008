"""Optuna's storage for a store behind a URI: a JSON file for each trial.

    trials/<study>/<number>-<token>.json

A database in one file could only be replaced as a whole, and a machine that comes back would undo
what another one has added since. These files are added to: each belongs to one trial, is written
when its configuration is proposed, before the configuration's runs are given out, and again when
its result is told. So the store always has all trials. What a killed search had not told yet, the
next one learns from the reports of the runs.
"""

import json
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import optuna
from optuna.distributions import distribution_to_json, json_to_distribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from mlt_ray.errors import UserError
from mlt_ray.parsing import parse_json
from mlt_ray.storage.files import json_bytes
from mlt_ray.storage.mirror import AT_ONCE, Mirror


class TrialFiles(optuna.storages.InMemoryStorage):
    """Keeps trials in memory, and writes each at the first note of it and when it is told.

    Opening a study raises `UserError` for a file that holds no trial; everything raises
    `StoreUnreachable`, after the `mirror` has waited for the store.
    """

    def __init__(self, mirror: Mirror) -> None:
        super().__init__()
        self._mirror = mirror
        self._files: dict[int, str] = {}

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        """Open the study with the trials that the store has, in the order of their numbers."""
        study_id = super().create_new_study(directions, study_name)
        name = self.get_study_name_from_id(study_id)
        folder = f"trials/{name}"
        files = [f"{folder}/{file}" for file in sorted(self._mirror.files(folder))]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            contents = list(pool.map(self._read, files))
        for file, content in zip(files, contents, strict=True):
            if content is not None:
                self._files[self.create_new_trial(study_id, self._parse(file, content))] = file
        return study_id

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Note something of the trial. The first note means that it has all values: write it."""
        super().set_trial_user_attr(trial_id, key, value)
        if trial_id not in self._files:
            self._write(trial_id)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Tell the trial's result, and write it."""
        is_set = super().set_trial_state_values(trial_id, state, values)
        if state.is_finished():
            self._write(trial_id)
        return is_set

    def _write(self, trial_id: int) -> None:
        trial = self.get_trial(trial_id)
        if trial_id not in self._files:
            study_id, number = self._trial_id_to_study_id_and_number[trial_id]
            folder = f"trials/{self.get_study_name_from_id(study_id)}"
            self._files[trial_id] = f"{folder}/{number:06d}-{uuid.uuid4().hex[:8]}.json"
        file, content = self._files[trial_id], json_bytes(as_values(trial))
        self._mirror.waiting(lambda: self._mirror.remote.write(file, content))

    def _read(self, file: str) -> bytes | None:
        return self._mirror.waiting(lambda: self._mirror.remote.read(file))

    def _parse(self, file: str, content: bytes) -> FrozenTrial:
        try:
            return from_values(parse_json(content))
        except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
            raise UserError(
                f"{self._mirror.remote.name}: {file}: expected a trial of a search, got {error!r}; "
                "delete the file: what its runs have computed is kept"
            ) from error


def as_values(trial: FrozenTrial) -> dict[str, Any]:
    """A trial as plain values for JSON, all but its number."""
    ends = {"start": trial.datetime_start, "complete": trial.datetime_complete}
    return {
        "state": trial.state.name,
        "params": trial.params,
        "values": trial.values,
        "intermediate_values": trial.intermediate_values,
        "user_attrs": trial.user_attrs,
        "system_attrs": trial.system_attrs,
        "distributions": {
            name: json.loads(distribution_to_json(distribution))
            for name, distribution in trial.distributions.items()
        },
        "times": {name: time and time.isoformat() for name, time in ends.items()},
    }


def from_values(values: dict[str, Any]) -> FrozenTrial:
    """The trial that `as_values` described; `ValueError` and its like if it is none."""
    trial = optuna.trial.create_trial(
        state=TrialState[values["state"]],
        params=values["params"],
        values=values["values"],
        intermediate_values={int(n): v for n, v in values["intermediate_values"].items()},
        user_attrs=values["user_attrs"],
        system_attrs=values["system_attrs"],
        distributions={
            name: json_to_distribution(json.dumps(distribution))
            for name, distribution in values["distributions"].items()
        },
    )
    times = {name: time and datetime.fromisoformat(time) for name, time in values["times"].items()}
    trial.datetime_start, trial.datetime_complete = times["start"], times["complete"]
    return trial
