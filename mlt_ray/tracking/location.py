"""Finds the MLflow server or database to write to."""

import os
import tempfile
from pathlib import Path

from mlt_ray.storage.store import Store

LEASE = "mlflow"
"""Name of the lease of who creates a database or looks for a row's run before creating it."""


def tracking_location(store: Store, tracking_uri: str | None) -> str:
    """The tracking URI that was asked for, else that of the database in the store."""
    return tracking_uri or default_uri(store)


def default_uri(store: Store) -> str:
    """URI of the MLflow database in the store."""
    return f"sqlite:///{database(store)}"


def database(store: Store) -> Path:
    """File of the MLflow database in the store."""
    return store.root / "mlflow.db"


def limit_waiting(num_retries: int = 2, timeout_s: int = 10) -> None:
    """Make MLflow fail soon if no server answers, instead of after seven retries.

    Environment variables that the user has set stay. Call it before mlflow is imported.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", str(num_retries))
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(timeout_s))


def examine(store: Store, tracking_uri: str | None) -> str:
    """Ask the server or database for its experiments; returns what was found."""
    limit_waiting(num_retries=1, timeout_s=5)
    import mlflow

    if tracking_uri is None and not database(store).exists():
        with tempfile.TemporaryDirectory() as folder:
            client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
            client.search_experiments(max_results=1)
        return "a new database can be made; the store has none yet"
    uri = tracking_location(store, tracking_uri)
    found = mlflow.MlflowClient(tracking_uri=uri).search_experiments()
    return f"{uri}: {len(found)} experiments"
