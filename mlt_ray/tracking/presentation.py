"""How MLflow's pages show an experiment: what they open with, a text, a view of the rows' scores.

All of it is tags of the experiment. A saved view is the tag that MLflow's own page writes where a
user saves one; it stands in the menu *Views* above the runs.
"""

import json
from typing import Final

from mlt_ray.storage.record import StudyRecord

VIEW: Final = "rows"
"""Key of the saved view, in links and in its tag."""

VIEW_TAG: Final = f"mlflow.sharedViewState.{VIEW}"
"""Tag of an experiment that holds the saved view."""

EXPERIMENTS_PAGE: Final = "#/experiments?workflowType=machine_learning"
"""The address of the list of experiments, below that of MLflow's pages."""

_FIRST_COLUMNS: Final = {"1": 73, "attributes.`Run Name`": 220, "runDateAndNestInfo": 150}
"""MLflow's own columns that come first, and their widths in pixels."""

_DEV: Final = ("dev_ua_mean", "dev_wa_mean")
_TEST: Final = (
    "test_wa_mean",
    "test_ua_mean",
    "test_ua_std",
    "published_ua",
    "test_ua_minus_published",
)
_COST: Final = ("runs_done", "num_parameters", "computed_s")


def experiment_tags(record: StudyRecord, experiment_id: str, created_ms: int) -> dict[str, str]:
    """The tags of a study's or search's experiment; `created_ms` is when its view was made."""
    beneath = "a configuration" if record.is_search else "a row of the table"
    score = main_score(record)
    return {
        "mlflow.experimentKind": "custom_model_development",
        "mlflow.note.content": (
            f"[Rows with scores]({runs_page(experiment_id)}) of {record.title}, on "
            f"{record.corpus}. A run with runs beneath it is {beneath}; those beneath are its "
            "folds and seeds."
        ),
        "mlflow.experiment.primaryMetric.name": score,
        "mlflow.experiment.primaryMetric.greaterIsBetter": "True",
        VIEW_TAG: json.dumps(
            {
                "name": "Rows with scores",
                "createdAt": created_ms,
                "updatedAt": created_ms,
                "state": json.dumps(_view(record)),
            }
        ),
    }


def main_score(record: StudyRecord) -> str:
    """The metric that counts: of a search, only dev scores may be seen."""
    return "dev_ua_mean" if record.is_search else "test_ua_mean"


def runs_page(experiment_id: str) -> str:
    """The address of the rows with their scores, below that of MLflow's pages.

    Without the type of work MLflow opens its pages for language models, whatever the kind of the
    experiment.
    """
    options = f"workflowType=machine_learning&viewStateShareKey={VIEW}"
    return f"#/experiments/{experiment_id}/runs?{options}"


def _view(record: StudyRecord) -> dict[str, object]:
    """The state of MLflow's table of runs: its columns, and rows in the order of their start.

    Sorted by a score, runs would not stand beneath their rows.
    """
    metrics = (*_DEV, *_COST) if record.is_search else (*_TEST, *_DEV, *_COST)
    columns = [f"metrics.`{name}`" for name in metrics]
    return {
        "orderByAsc": True,
        "selectedColumns": columns,
        "columnOrder": [*_FIRST_COLUMNS, *columns],
        "columnWidths": {
            **_FIRST_COLUMNS,
            **{column: 40 + 7 * len(name) for column, name in zip(columns, metrics, strict=True)},
        },
    }
