import shutil

import pytest

from mlt_ray.models.multilevel.values import MultilevelSpec
from mlt_ray.planning.backlog import note_plans
from mlt_ray.planning.plan import Plan
from mlt_ray.spec import Run, RunSpec, TrainingSpec
from mlt_ray.storage.store import Store
from tests.tracking.finished import finish, planned


@pytest.fixture
def runs():
    spec = RunSpec(corpus="c", model=MultilevelSpec(), training=TrainingSpec(max_epochs=4))
    return tuple(Run(spec=spec, fold=fold, seed=1) for fold in range(1, 6))


@pytest.fixture
def store(tmp_path, runs):
    """A store with a plan of two rows that share their runs, of which three are finished."""
    made = Store(tmp_path)
    rows = (planned("one", runs), planned("two", runs))
    note_plans([Plan(study="s", title="S", corpus="c", fingerprint="f", rows=rows)], made)
    for run in runs[:3]:
        finish(made, run)
    return made


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """A database of MLflow's without runs, which takes seconds to make."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(autouse=True)
def with_database(request):
    """In a slow test the store has an empty database already."""
    if request.node.get_closest_marker("slow") and "store" in request.fixturenames:
        database = request.getfixturevalue("store").root / "mlflow.db"
        if not database.exists():  # a store that several tests share has one
            shutil.copyfile(request.getfixturevalue("empty_database"), database)
