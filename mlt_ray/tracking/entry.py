"""A run as it shall stand in MLflow, and how one is written by MLflow's client."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mlt_ray.masking import masked
from mlt_ray.tracking.artifacts import write_files

FINISHED = "FINISHED"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A run of MLflow's, a row or one of its runs.

    `metrics` are MLflow's `Metric`s. `params` may be nested: MLflow gets dotted names. `files` are
    what the run's folder holds, by name. Without `end_ms` the run is left open.
    """

    name: str
    start_ms: int | None
    tags: Mapping[str, str]
    params: Mapping[str, Any]
    metrics: Sequence[Any] = ()
    files: Mapping[str, Path | bytes] = field(default_factory=dict)
    end_ms: int | None = None


@dataclass(frozen=True, kw_only=True)
class Written:
    """A run that MLflow has: its id, where its files go, and whether it is finished."""

    run_id: str
    artifact_uri: str
    is_finished: bool

    @classmethod
    def of(cls, run: Any) -> "Written":
        """Of a run as MLflow's client returns it."""
        info = run.info
        return cls(
            run_id=info.run_id,
            artifact_uri=info.artifact_uri,
            is_finished=info.status == FINISHED,
        )


def shown_params(values: Mapping[str, Any]) -> dict[str, str]:
    """Nested values as MLflow shows them: texts under dotted names, without secrets."""
    return {key: masked(str(value)) for key, value in flatten(values).items()}


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values under dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


class PlainWriter:
    """Writes entries to an experiment by MLflow's client: four requests each, and the files."""

    def __init__(self, client: Any, experiment: str, dataset: Any) -> None:
        self.client = client
        self.experiment = experiment
        self.dataset = dataset

    def create(self, entry: Entry) -> Written:
        """Create the run, and log its parameters and metrics so far; it stays open."""
        tags = {key: masked(value) for key, value in entry.tags.items()}
        run = self.client.create_run(
            self.experiment, start_time=entry.start_ms, tags=tags, run_name=entry.name
        )
        self._log(run.info.run_id, entry)
        return Written.of(run)

    def write(self, entry: Entry) -> Written:
        """Write the whole entry."""
        return self._end(self.create(entry), entry)

    def complete(self, run: Written, entry: Entry) -> Written:
        """Write the entry to a run that MLflow has: who created it may not have come further."""
        self._log(run.run_id, entry)
        return self._end(run, entry)

    def add(
        self,
        run: Written,
        *,
        metrics: Sequence[Any] = (),
        tags: Mapping[str, str] | None = None,
        files: Mapping[str, Path | bytes] | None = None,
        end_ms: int | None = None,
        status: str = FINISHED,
    ) -> None:
        """Add to a run; `end_ms` ends it with the status."""
        from mlflow.entities import RunTag

        texts = [RunTag(key, masked(value)) for key, value in (tags or {}).items()]
        if metrics or texts:
            self.client.log_batch(run.run_id, metrics=metrics, tags=texts)
        write_files(self.client, run.run_id, run.artifact_uri, files or {})
        if end_ms is not None:
            self.client.set_terminated(run.run_id, status, end_ms)

    def _log(self, run_id: str, entry: Entry) -> None:
        from mlflow.entities import Param

        self.client.log_inputs(run_id, [self.dataset])
        params = [Param(key, value) for key, value in shown_params(entry.params).items()]
        if entry.metrics or params:
            self.client.log_batch(run_id, metrics=entry.metrics, params=params)

    def _end(self, run: Written, entry: Entry) -> Written:
        self.add(run, files=entry.files, end_ms=entry.end_ms)
        return replace(run, is_finished=entry.end_ms is not None)
