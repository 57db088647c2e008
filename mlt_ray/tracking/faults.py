"""What can be wrong with MLflow's server or database, in one line, and what to do about it."""

import re
import shlex
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from textwrap import shorten
from typing import Final
from urllib.parse import unquote

from mlt_ray.errors import UserError, first_line
from mlt_ray.masking import masked

MOVE_AWAY: Final = "move the file away: mlt-ray sync writes all of it anew"

REMEDIES: Final = {
    sqlite3.SQLITE_BUSY: "end the process that keeps it locked",
    sqlite3.SQLITE_LOCKED: "end the process that keeps it locked",
    sqlite3.SQLITE_NOTADB: MOVE_AWAY,
    sqlite3.SQLITE_CORRUPT: MOVE_AWAY,
    sqlite3.SQLITE_READONLY: "make the file and its folder writable",
    sqlite3.SQLITE_CANTOPEN: "make the file and its folder readable and writable",
    sqlite3.SQLITE_PERM: "make the file and its folder writable",
    sqlite3.SQLITE_FULL: "free some space",
}
"""What to do about SQLite's primary result codes."""

_SCHEMA: Final = re.compile(
    r"found version (\w+), but expected (\w+)|revision identified by '(\w+)'"
)


class ExperimentUnusable(Exception):
    """An experiment to which nothing of ours can be written; syncing again would not help."""

    def __init__(self, name: str, experiment: str) -> None:
        super().__init__(f"experiment {name}: {self.found}")
        self.name = name
        self.experiment = experiment

    found = "it cannot be written"

    def explained(self, uri: str, sync: str) -> str:
        """One line for the user; `sync` is the command that writes what is missing."""
        where = f"MLFLOW_TRACKING_URI={shlex.quote(masked(uri))} "
        return (
            f"MLflow at {masked(uri)}: experiment {self.name} {self.found}, so nothing of it is "
            f"recorded; {self.remedy(where)}, then record what is missing with {sync}"
        )

    def remedy(self, where: str) -> str:
        """What to do, as commands; `where` names the server or database to them."""
        raise NotImplementedError


class ExperimentDeleted(ExperimentUnusable):
    """A user has deleted the experiment in MLflow."""

    found = "was deleted there"

    def remedy(self, where: str) -> str:
        """Restore it, or remove it for good, which makes room for a new one."""
        return (
            f"bring it back with {where}mlflow experiments restore --experiment-id "
            f"{self.experiment}, or remove it for good with {where}mlflow gc --experiment-ids "
            f"{self.experiment}"
        )


class ExperimentForeign(ExperimentUnusable):
    """An experiment of the study's name has runs, and none of ours."""

    found = "has runs that mlt-ray has not made"

    def remedy(self, where: str) -> str:
        """Give it another name."""
        return (
            f"give it another name with {where}mlflow experiments rename --experiment-id "
            f"{self.experiment} --new-name NAME"
        )


def reason_of(error: BaseException) -> str:
    """The error's message in one line; of a database error, the database's own message.

    With what to do about it, where that is known.
    """
    cause = next((e for e in _causes(error) if isinstance(e, sqlite3.Error)), error)
    for one in _causes(error):
        if found := _SCHEMA.search(str(one)):
            return _other_schema(*found.groups())
    line = masked(first_line(cause))
    if isinstance(error, UserError):
        return line
    line = shorten(line, 300, placeholder=" …")
    code = getattr(cause, "sqlite_errorcode", None)
    remedy = None if code is None else REMEDIES.get(code & 0xFF)
    return f"{line}; {remedy}" if remedy else line


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what has caused it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _other_schema(found: str | None, expected: str | None, unknown: str | None) -> str:
    if unknown or not found:
        return (
            f"its tables ({unknown or found}) are of a newer MLflow than the one installed; "
            "install that, or name another --tracking-uri"
        )
    return (
        f"its tables ({found}) are of another MLflow than the one installed ({expected}); of an "
        "older one: back it up and give mlflow db upgrade its URI"
    )


def check_file(uri: str) -> None:
    """Raise SQLite's error at once for a file that is no database.

    MLflow would try again for minutes. Does nothing for another URI, or without a file.
    """
    path = sqlite_file(uri)
    if path is None or not path.exists():
        return
    # Read only: nothing is made or changed.
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=60)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    finally:
        connection.close()


def sqlite_file(uri: str) -> Path | None:
    """The file of an SQLite URI; None for another URI, or a database in memory."""
    prefix = "sqlite:///"
    if not uri.startswith(prefix):
        return None
    name = unquote(uri.removeprefix(prefix).partition("?")[0])
    return Path(name) if name and name != ":memory:" else None
