"""Finds the MLflow server or database to write to."""

import logging
import os
import sqlite3
import tempfile
from contextlib import closing
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import urlsplit

from mlt_ray.errors import UserError
from mlt_ray.logs import are_logs_shown
from mlt_ray.masking import masked
from mlt_ray.storage.files import check_writable
from mlt_ray.storage.store import Store

LEASE = "mlflow"
"""Name of the lease of who creates a database or looks for a row's run before creating it."""

MODELS_LEASE = "mlflow-models"
"""Name of the lease of who logs a model; it is not `LEASE`, which is taken meanwhile."""

URI_VARIABLE = "MLFLOW_TRACKING_URI"
"""Environment variable that names a server where no option does."""

LOCAL_UI = "http://127.0.0.1:5000"
"""Address of MLflow's pages where `mlflow ui` was started without options."""

WAIT_S = 60.0
"""Seconds that another process may keep the database locked."""

SCHEMES = (
    *("http", "https", "file", "sqlite", "postgresql", "mysql", "mssql"),
    *("databricks", "databricks-uc", "uc"),
)
"""What MLflow's URIs begin with, besides those of its plugins."""

MOVES = (
    "UPDATE experiments SET artifact_location = ? || substr(artifact_location, ?) "
    "WHERE substr(artifact_location, 1, ?) = ?",
    "UPDATE runs SET artifact_uri = ? || substr(artifact_uri, ?) "
    "WHERE substr(artifact_uri, 1, ?) = ?",
    "UPDATE logged_models SET artifact_location = ? || substr(artifact_location, ?) "
    "WHERE substr(artifact_location, 1, ?) = ?",
)
"""Statements that put one folder in the place of another, wherever folders stand in MLflow's
database."""


def tracking_location(store: Store, tracking_uri: str | None) -> str:
    """The URI that was asked for, else that of MLflow's variable, else the store's database."""
    return tracking_uri or os.environ.get(URI_VARIABLE) or default_uri(store)


def usable_location(store: Store, tracking_uri: str | None) -> str:
    """`tracking_location`; `UserError` where no MLflow can ever be, before hours are spent.

    A server that does not answer is none of these: it may answer later, and stops nothing. The
    store's own database is where the store is, which is checked by itself.
    """
    uri = tracking_location(store, tracking_uri)
    if uri == default_uri(store):
        return uri
    scheme = urlsplit(uri).scheme.partition("+")[0]
    if scheme and scheme not in (*SCHEMES, *_plugins()):
        raise UserError(
            f"--tracking-uri {masked(uri)}: expected http(s)://SERVER, sqlite:///FILE or another "
            f"database, got {scheme}:; correct it, or leave it out for the store's own"
        )
    file = uri.partition("?")[0].removeprefix("sqlite:///")
    if scheme == "sqlite" and file not in ("", ":memory:", "sqlite://"):
        check_writable(Path(file).parent, f"--tracking-uri {uri}")
    return uri


def _plugins() -> list[str]:
    """What the URIs of MLflow's plugins begin with."""
    return [plugin.name for plugin in entry_points(group="mlflow.tracking_store")]


def default_uri(store: Store) -> str:
    """URI of the MLflow database in the store."""
    return f"sqlite:///{database(store)}"


def database(store: Store) -> Path:
    """File of the MLflow database in the store."""
    return store.root / "mlflow.db"


def limit_waiting(num_retries: int = 2, timeout_s: int = 10) -> None:
    """Make MLflow fail soon if no server answers, instead of after seven retries, and keep quiet.

    Environment variables that the user has set stay. Call it before mlflow is imported.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", str(num_retries))
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(timeout_s))
    # Else it tells its makers what is called, and reads and prints each run that ends.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")


def quieten() -> None:
    """Silence what MLflow logs of its database: it says on its own what we say in one line."""
    if are_logs_shown():
        return
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def artifacts(store: Store) -> str:
    """URI of the folder in the store for the files of MLflow's runs."""
    return (store.root / "mlartifacts").as_uri()


def follow_store(store: Store) -> None:
    """Let the database in the store name the store's own folder for files, also after a move.

    MLflow writes that folder down as an absolute path with every experiment and run, and has no
    call that changes it: a store that was moved or copied would still write to the old place.
    """
    if not database(store).exists():
        return
    here = artifacts(store)
    with closing(sqlite3.connect(database(store), timeout=WAIT_S)) as connection, connection:
        named = connection.execute("SELECT DISTINCT artifact_location FROM experiments").fetchall()
        for (old,) in named:
            if old != here and old.startswith("file:") and old.endswith("/mlartifacts"):
                for statement in MOVES:
                    connection.execute(statement, (here, len(old) + 1, len(old), old))


def examine(store: Store, tracking_uri: str | None) -> str:
    """Ask the server or database for its experiments; returns what was found."""
    limit_waiting(num_retries=1, timeout_s=5)
    import mlflow

    quieten()
    uri = tracking_location(store, tracking_uri)
    if uri == default_uri(store) and not database(store).exists():
        with tempfile.TemporaryDirectory() as folder:
            client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
            client.search_experiments(max_results=1)
        return "a new database can be made; the store has none yet"
    found = mlflow.MlflowClient(tracking_uri=uri).search_experiments()
    return f"{masked(uri)}: {len(found)} experiments"
