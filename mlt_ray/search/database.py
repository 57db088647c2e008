"""Opens Optuna's storage of a store: the proposals of searches and their results.

A store that is a folder has them in an SQLite database, ``optuna.db``. In a store behind a URI,
each trial is a file (`mlt_ray.search.trial_files`), and a database of a search, for the dashboard,
is made of them when the search has ended.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy

from mlt_ray.errors import StoreFull, UserError
from mlt_ray.search.trial_files import TrialFiles
from mlt_ray.storage.files import replacing
from mlt_ray.storage.store import Store

LOCK_TIMEOUT_S = 60.0
"""How long a database that another process has locked is waited for."""

DATABASE = "optuna.db"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What is wrong with a database, and what to do about it."""

    found: str
    remedy: str
    error: type[UserError] = UserError


GOES_ON = "then the same command goes on from here"
ANEW = "move it away: the search starts anew, with every finished cell of the store"
LOCKED = Fault(
    found=f"another process has kept it locked for {LOCK_TIMEOUT_S:.0f} s",
    remedy=f"end that process, {GOES_ON}",
)
DAMAGED = Fault(found="a file that is no database, or a damaged one", remedy=ANEW)
OTHER_SCHEMA = Fault(found="another schema", remedy=ANEW)
NO_ACCESS = Fault(
    found="a file or folder that cannot be written",
    remedy=f"make both writable, {GOES_ON}",
)
FULL = Fault(found="no space left on its disk", remedy=f"free some, {GOES_ON}", error=StoreFull)

FAULTS = {
    sqlite3.SQLITE_BUSY: LOCKED,
    sqlite3.SQLITE_LOCKED: LOCKED,
    sqlite3.SQLITE_NOTADB: DAMAGED,
    sqlite3.SQLITE_CORRUPT: DAMAGED,
    sqlite3.SQLITE_ERROR: OTHER_SCHEMA,
    sqlite3.SQLITE_READONLY: NO_ACCESS,
    sqlite3.SQLITE_CANTOPEN: NO_ACCESS,
    sqlite3.SQLITE_PERM: NO_ACCESS,
    sqlite3.SQLITE_FULL: FULL,
}
"""SQLite's primary result codes that are no bug of ours."""


@contextlib.contextmanager
def open_database(store: Store) -> Iterator[optuna.storages.BaseStorage]:
    """Optuna's storage in a store. Nothing that was proposed or told is lost by a kill.

    Whatever is done with it raises `UserError` in one line if the database is locked for longer
    than `LOCK_TIMEOUT_S`, is none, has another schema, or cannot be written; `StoreFull` if the
    disk is full; `StoreUnreachable` if the store is behind a URI and does not answer.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    mirror = store.mirror
    if mirror is None:
        yield open_file(store.root / DATABASE)
        return
    storage = TrialFiles(mirror)
    yield storage
    for study in storage.get_all_studies():
        path = store.root / "trials" / f"{study.study_name}.db"
        with replacing(path) as temporary:
            write_file(storage, study.study_name, temporary)
        store.push(path)


def open_file(path: Path) -> optuna.storages.RDBStorage:
    """Optuna's storage in an SQLite file, which is made if it does not exist."""
    timeout = {"connect_args": {"timeout": LOCK_TIMEOUT_S}}
    try:
        storage = optuna.storages.RDBStorage(f"sqlite:///{path}", engine_kwargs=timeout)
    except sqlalchemy.exc.DBAPIError as error:
        explain(path, error.orig)
        raise
    except RuntimeError as error:
        # Optuna's own words for a database of another version, with its remedy.
        upgrade = " ".join(str(error).split()).replace("$STORAGE_URL", f"sqlite:///{path}")
        raise UserError(
            f"{path}: expected Optuna's database, got another schema: {upgrade} Or {ANEW}"
        ) from error

    @sqlalchemy.event.listens_for(storage.engine, "handle_error")
    def on_error(context: sqlalchemy.engine.ExceptionContext) -> None:
        explain(path, context.original_exception)

    return storage


def write_file(storage: optuna.storages.BaseStorage, study: str, path: Path) -> None:
    """Write a study to an SQLite file: made in memory, where nothing waits for a disk."""
    written = optuna.storages.RDBStorage("sqlite://")
    optuna.copy_study(from_study_name=study, from_storage=storage, to_storage=written)
    connection: Any = written.engine.raw_connection().driver_connection
    with contextlib.closing(sqlite3.connect(path)) as file:
        connection.backup(file)
    written.engine.dispose()


def explain(path: Path, error: BaseException | None) -> None:
    """Raise `UserError` for an error of SQLite that is no bug of ours."""
    code = getattr(error, "sqlite_errorcode", None)
    fault = None if code is None else FAULTS.get(code & 0xFF)  # the rest says more of the same
    if fault is not None:
        raise fault.error(
            f"{path}: expected a database of Optuna, got {fault.found} ({error}); {fault.remedy}"
        ) from error
