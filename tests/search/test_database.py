"""Faults of Optuna's database: each is one line with its remedy, and a lock is waited for."""

import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
import sqlalchemy

from mlt_ray.errors import StoreFull, UserError
from mlt_ray.search import database
from mlt_ray.search.database import open_database, open_file, write_file
from mlt_ray.storage.store import Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "optuna.db"


@contextlib.contextmanager
def locked(path: Path, seconds: float) -> Iterator[None]:
    """The database is locked by somebody else, for so long or until the block ends."""
    over = threading.Event()
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    holder.execute("begin exclusive")

    def release() -> None:
        over.wait(seconds)
        holder.execute("rollback")
        holder.close()

    thread = threading.Thread(target=release)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def run_a_trial(path: Path) -> None:
    study = optuna.create_study(storage=open_file(path), study_name="s", load_if_exists=True)
    study.tell(study.ask({"a": optuna.distributions.IntDistribution(1, 3)}), 0.5)


def expect(path: Path, found: str, remedy: str, error: type[UserError] = UserError) -> None:
    """Running a trial fails with one line that says what was found and what to do."""
    with pytest.raises(error) as raised:
        run_a_trial(path)
    text = str(raised.value)
    assert text.startswith(f"{path}: expected ")
    assert f"got {found}" in text
    assert remedy in text
    assert "\n" not in text


@pytest.mark.slow
def test_a_lock_is_waited_for_longer_than_sqlite_s_five_seconds(path: Path) -> None:
    run_a_trial(path)
    with locked(path, seconds=6.5):
        run_a_trial(path)
    assert len(optuna.load_study(storage=f"sqlite:///{path}", study_name="s").trials) == 2


@pytest.mark.parametrize("opened_before", [True, False])
def test_a_database_that_stays_locked_is_told_with_its_remedy(
    opened_before: bool, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert database.LOCK_TIMEOUT_S == 60
    monkeypatch.setattr(database, "LOCK_TIMEOUT_S", 0.3)
    run_a_trial(path)
    study = optuna.load_study(storage=open_file(path), study_name="s")
    began = time.monotonic()
    with locked(path, seconds=60):
        if opened_before:
            with pytest.raises(UserError, match=r"kept it locked for 60 s .*; end that process"):
                study.ask()
        else:
            expect(path, "another process has kept it locked for 60 s", "end that process")
    # Optuna alone tries five times, and waits for the lock each time.
    assert time.monotonic() - began < 1.2
    study.ask()


def test_a_file_that_is_no_database(path: Path) -> None:
    path.write_bytes(b"no database" * 100)
    expect(path, "a file that is no database, or a damaged one", "move it away")
    assert path.read_bytes() == b"no database" * 100


def test_a_database_that_is_damaged(path: Path) -> None:
    run_a_trial(path)
    content = path.read_bytes()
    path.write_bytes(content[:4096] + bytes(len(content) - 4096))
    expect(path, "a file that is no database, or a damaged one", "move it away")


def test_a_database_of_another_version_of_optuna(path: Path) -> None:
    run_a_trial(path)
    with contextlib.closing(sqlite3.connect(path)) as opened, opened:
        opened.execute("update alembic_version set version_num = 'v2.4.0.a'")
    expect(path, "another schema: The runtime optuna", f"--storage sqlite:///{path}` for upgrading")


def test_a_database_with_other_columns(path: Path) -> None:
    run_a_trial(path)
    with contextlib.closing(sqlite3.connect(path)) as opened, opened:
        opened.execute("alter table trials rename column number to ordinal")
    expect(path, "another schema (no such column: trials.number)", "move it away")


def test_a_folder_in_the_place_of_the_database(path: Path) -> None:
    path.mkdir()
    expect(path, "a file or folder that cannot be written", "make both writable")


@pytest.fixture
def pragma() -> Iterator[list[str]]:
    """Statements that each new connection to a database begins with."""
    statements: list[str] = []

    def begin(connection: sqlite3.Connection, *_: object) -> None:
        for statement in statements:
            connection.execute(f"pragma {statement}")

    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", begin)
    yield statements
    sqlalchemy.event.remove(sqlalchemy.Engine, "connect", begin)


def test_a_database_that_cannot_be_written(path: Path, pragma: list[str]) -> None:
    run_a_trial(path)
    pragma.append("query_only = 1")  # what SQLite answers for a read-only file, even to root
    expect(path, "a file or folder that cannot be written", "make both writable")


def test_a_disk_without_room(path: Path, pragma: list[str]) -> None:
    run_a_trial(path)
    pragma.append(f"max_page_count = {path.stat().st_size // 4096}")
    study = optuna.load_study(storage=open_file(path), study_name="s")
    with pytest.raises(StoreFull, match=r"no space left on its disk .*; free some"):
        study.set_user_attr("large", "x" * 1_000_000)
    assert len(study.trials) == 1


def test_a_folder_has_one_database_for_all_searches(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.root.mkdir()
    for name in ("first", "second"):
        with open_database(store) as storage:
            optuna.create_study(storage=storage, study_name=name)
    assert {s.study_name for s in open_file(store.root / "optuna.db").get_all_studies()} == {
        "first",
        "second",
    }


def test_a_study_is_written_to_a_file_as_it_is(tmp_path: Path, path: Path) -> None:
    study = optuna.create_study(study_name="s", direction="maximize")
    for value in (0.1, 0.2):
        trial = study.ask({"a": optuna.distributions.IntDistribution(1, 3)})
        trial.set_user_attr("configuration", 7)
        study.tell(trial, value)
    write_file(study._storage, "s", path)
    read = optuna.load_study(storage=f"sqlite:///{path}", study_name="s")
    assert [(t.params, t.values, t.user_attrs) for t in read.trials] == [
        (t.params, t.values, t.user_attrs) for t in study.trials
    ]
