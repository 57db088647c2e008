"""Writes many runs at once into an SQLite database of MLflow's.

MLflow's own store takes four calls a run and writes every value of them as an object of its own;
that is most of what a sync of thousands of runs takes. Here the same rows go, many by one
statement, through the tables that MLflow's package declares, in a session of its store: complete
or not at all. Its tables belong to MLflow, so this is done in databases of `SCHEMAS` alone, which
a test compares table by table with what MLflow's client leaves. Any other is written by that.
"""

import shutil
import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlt_ray.masking import masked
from mlt_ray.tracking.artifacts import copy_files, local_folder
from mlt_ray.tracking.entry import FINISHED, Entry, Written, shown_params

SCHEMAS = frozenset({"dc11669786a5"})
"""Revisions of MLflow's database whose tables are known here: that of MLflow 3.17."""


def can_bulk(client: Any) -> bool:
    """Whether a client's database is one that `writing` can write to."""
    from sqlalchemy import text

    store: Any = getattr(getattr(client, "_tracking_client", None), "store", None)
    if getattr(store, "db_type", "") != "sqlite":
        return False
    with store.engine.connect() as connection:
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
    return set(found) <= SCHEMAS and bool(found)


@contextmanager
def writing(client: Any, experiment: str, dataset: Any) -> "Iterator[BulkWriter]":
    """Yields what takes entries; all of them are written when the block ends, or none.

    Another process that writes to the database waits meanwhile: let the block be short.
    """
    store = client._tracking_client.store
    location = client.get_experiment(experiment).artifact_location
    writer = BulkWriter(store, int(experiment), location)
    try:
        yield writer
        with store.ManagedSessionMaker(read_only=False) as session:
            writer.insert(session, dataset)
    except BaseException:
        # A folder whose run is in no database would stay for ever.
        for folder in writer.folders:
            shutil.rmtree(folder.parent, ignore_errors=True)
        raise


class BulkWriter:
    """Collects entries as rows of MLflow's tables, and writes their files."""

    def __init__(self, store: Any, experiment: int, location: str) -> None:
        self._store = store
        self._experiment = experiment
        self._location = location
        self._rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.folders: list[Path] = []

    def add(self, entry: Entry) -> Written:
        """Take an entry; returns its run as it will be."""
        from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME
        from mlflow.utils.uri import append_to_uri_path

        run_id = uuid.uuid4().hex
        uri = append_to_uri_path(self._location, run_id, self._store.ARTIFACTS_FOLDER_NAME)
        is_ended = entry.end_ms is not None
        self._rows["SqlRun"].append(
            {
                "run_uuid": run_id,
                "name": entry.name,
                "experiment_id": self._experiment,
                "artifact_uri": uri,
                "source_type": "UNKNOWN",
                "source_name": "",
                "source_version": "",
                "entry_point_name": "",
                "user_id": "unknown",
                "status": FINISHED if is_ended else "RUNNING",
                "start_time": entry.start_ms,
                "end_time": entry.end_ms,
                "deleted_time": None,
                "lifecycle_stage": "active",
            }
        )
        self._add_values(run_id, entry, {**entry.tags, MLFLOW_RUN_NAME: entry.name})
        if entry.files:
            folder = local_folder(uri)
            assert folder is not None, uri
            self.folders.append(folder)
            copy_files(folder, entry.files)
        return Written(run_id=run_id, artifact_uri=uri, is_finished=is_ended)

    def _add_values(self, run_id: str, entry: Entry, tags: dict[str, str]) -> None:
        from mlflow.utils.validation import _validate_param, _validate_tag

        # They cut what is too long, or refuse it, as MLflow's settings say.
        for key, value in tags.items():
            tag = _validate_tag(key, masked(value))
            self._rows["SqlTag"].append({"run_uuid": run_id, "key": tag.key, "value": tag.value})
        for key, value in shown_params(entry.params).items():
            param = _validate_param(key, value)
            self._rows["SqlParam"].append(
                {"run_uuid": run_id, "key": param.key, "value": param.value}
            )
        latest: dict[str, tuple[tuple[int, int, float], dict[str, Any]]] = {}
        for metric in dict.fromkeys(entry.metrics):
            is_nan, value = self._store.sanitize_metric_value(metric.value)
            row = {
                "run_uuid": run_id,
                "key": metric.key,
                "value": value,
                "timestamp": metric.timestamp,
                "step": metric.step,
                "is_nan": is_nan,
            }
            self._rows["SqlMetric"].append(row)
            order = (metric.step, metric.timestamp, value)
            if metric.key not in latest or order > latest[metric.key][0]:
                latest[metric.key] = (order, row)
        self._rows["SqlLatestMetric"] += [row for _, row in latest.values()]

    def insert(self, session: Any, dataset: Any) -> None:
        """Insert everything that was taken, each run with the dataset as its input."""
        from mlflow.store.tracking.dbmodels import models
        from sqlalchemy import insert

        runs = [row["run_uuid"] for row in self._rows["SqlRun"]]
        if not runs:
            return
        dataset_id = self._dataset_id(session, dataset.dataset)
        for run_id in runs:
            input_id = uuid.uuid4().hex
            self._rows["SqlInput"].append(
                {
                    "input_uuid": input_id,
                    "source_type": "DATASET",
                    "source_id": dataset_id,
                    "destination_type": "RUN",
                    "destination_id": run_id,
                }
            )
            self._rows["SqlInputTag"] += [
                {"input_uuid": input_id, "name": tag.key, "value": tag.value}
                for tag in dataset.tags
            ]
        for name, rows in self._rows.items():
            if rows:
                session.execute(insert(getattr(models, name).__table__), rows)

    def _dataset_id(self, session: Any, dataset: Any) -> str:
        """Id of the dataset, which is made if the experiment has none of its name and digest."""
        from mlflow.store.tracking.dbmodels.models import SqlDataset

        named = {"experiment_id": self._experiment, "name": dataset.name, "digest": dataset.digest}
        found = session.query(SqlDataset).filter_by(**named).first()
        if found is not None:
            return str(found.dataset_uuid)
        made = SqlDataset(
            dataset_uuid=uuid.uuid4().hex,
            dataset_source_type=dataset.source_type,
            dataset_source=dataset.source,
            dataset_schema=dataset.schema,
            dataset_profile=dataset.profile,
            **named,
        )
        session.add(made)
        session.flush()
        return str(made.dataset_uuid)
