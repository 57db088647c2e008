"""Opens Optuna's database of a store: the proposals of searches and their results."""

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager

import optuna

from mlt_ray.errors import StoreUnreachable
from mlt_ray.storage.store import Store


@contextmanager
def open_database(store: Store) -> Iterator[optuna.storages.BaseStorage]:
    """Optuna's storage in the store's ``optuna.db``, which a store at a URI gets at the end."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = store.root / "optuna.db"
    store.pull(path)
    try:
        yield optuna.storages.RDBStorage(f"sqlite:///{path}")
    except BaseException:
        # The command ends, and does not wait for a store that is silent: the runs are there.
        with contextlib.suppress(StoreUnreachable):
            store.at_once().push(path)
        raise
    store.push(path)
