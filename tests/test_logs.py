"""Logs are shown where they are asked for, and nowhere else."""

import logging
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from mlt_ray.cli.app import app
from mlt_ray.logs import are_logs_shown
from mlt_ray.tracking.location import quieten


@pytest.fixture(autouse=True)
def loggers() -> Iterator[None]:
    """The levels of before."""
    names = ("", "mlt_ray", "alembic", "mlflow.store.db.utils")
    before = {name: logging.getLogger(name).level for name in names}
    handlers = list(logging.getLogger().handlers)
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)
    logging.getLogger().handlers[:] = handlers


@pytest.mark.parametrize(("option", "is_shown"), [("--verbose", True), ("-v", True), (None, False)])
def test_an_option_shows_logs(option: str | None, is_shown: bool) -> None:
    words = ["run", "no_such_study", "--corpus", "nowhere", *([option] if option else [])]
    done = CliRunner().invoke(app, words)
    assert "no_such_study" in str(done.exception)
    assert are_logs_shown() == is_shown
    logging.getLogger("alembic").setLevel(logging.INFO)
    quieten()
    assert logging.getLogger("alembic").isEnabledFor(logging.INFO) == is_shown
