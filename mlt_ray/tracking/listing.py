"""What MLflow has of a study or search: its experiment, the runs of rows, the runs beneath them."""

import time
from collections.abc import Mapping
from typing import Any

from mlt_ray.storage.record import StudyRecord
from mlt_ray.storage.store import Store
from mlt_ray.tracking.faults import ExperimentDeleted, ExperimentForeign
from mlt_ray.tracking.location import artifacts
from mlt_ray.tracking.presentation import VIEW_TAG, experiment_tags

KIND = "mlt_ray.kind"
ROW_DIGEST = "mlt_ray.row_digest"
DIGEST = "mlt_ray.digest"
PARENT = "mlflow.parentRunId"
PAGE_SIZE = 1000
"""Runs that are asked for at once."""


def experiment_id(client: Any, store: Store, record: StudyRecord, uri: str) -> str:
    """The experiment's id; it is created where there is none, and gets the tags it lacks.

    Raises `ExperimentDeleted` if a user has deleted it, and `ExperimentForeign` if one of this name
    has runs, and none of ours.
    """
    existing = client.get_experiment_by_name(record.study)
    tags: Mapping[str, str] = {}
    if existing is None:
        folder = artifacts(store) if uri.startswith("sqlite:") else None
        found = client.create_experiment(record.study, artifact_location=folder)
    else:
        found, tags = existing.experiment_id, existing.tags
        if existing.lifecycle_stage == "deleted":
            raise ExperimentDeleted(record.study, found)
        if VIEW_TAG not in tags and _is_foreign(client, found):
            raise ExperimentForeign(record.study, found)
    for key, value in experiment_tags(record, found, round(1000 * time.time())).items():
        if key not in tags:
            client.set_experiment_tag(found, key, value)
    return str(found)


def _is_foreign(client: Any, experiment: str) -> bool:
    """Whether an experiment has runs, none of which is ours."""
    if not client.search_runs([experiment], max_results=1):
        return False
    return not client.search_runs([experiment], f"tags.`{KIND}` != ''", max_results=1)


def runs_with(client: Any, experiment: str, tags: Mapping[str, str]) -> list[Any]:
    """The runs that have all of these tags, deleted ones apart."""
    return _all(client, experiment, tags, _view_type("ACTIVE_ONLY"))


def bereft_parents(client: Any, experiment: str) -> set[str]:
    """Ids of the runs of rows beneath which a user has deleted runs."""
    found = _all(client, experiment, {KIND: "fold-seed"}, _view_type("DELETED_ONLY"))
    return {run.data.tags.get(PARENT, "") for run in found}


def _all(client: Any, experiment: str, tags: Mapping[str, str], view_type: int) -> list[Any]:
    query = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
    found: list[Any] = []
    token = None
    while True:
        page = client.search_runs(
            [experiment],
            filter_string=query,
            run_view_type=view_type,
            max_results=PAGE_SIZE,
            page_token=token,
        )
        found += page
        token = page.token
        if not token:
            return found


def _view_type(name: str) -> int:
    from mlflow.entities import ViewType

    return int(getattr(ViewType, name))
