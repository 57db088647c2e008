"""Which MLflow server or database is written to."""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from mlt_ray.storage.lease import acquire
from mlt_ray.storage.store import Store

OPEN_POLL_S = 0.2
"""How often a database is asked for that another driver is just opening."""


def default_uri(store: Store) -> str:
    """The tracking database inside the store."""
    return f"sqlite:///{store.root / 'mlflow.db'}"


@contextmanager
def alone(store: Store) -> Iterator[None]:
    """One process of a store at a time: two that make a database at once spoil each other's."""
    while (lease := acquire(store, "mlflow", owner=uuid.uuid4().hex)) is None:
        time.sleep(OPEN_POLL_S)
    with lease:
        yield
