"""What the verb report prints."""

from pathlib import Path

from typer.testing import CliRunner

from mlt_ray.cli.app import app
from mlt_ray.errors import UserError
from mlt_ray.storage.store import Store


def test_report_prints_the_other_tables_if_one_study_was_never_run(
    tmp_path: Path,
) -> None:
    row = {
        "name": "one",
        "published": None,
        "overrides": [],
        "spec": {"corpus": "c0ffee", "folds": {"by": "session"}},
        "runs": [{"digest": "c0ffee", "fold": 1, "seed": 1}],
    }
    store = Store(tmp_path)
    corpus = {"name": "spoken", "fingerprint": "c0ffee"}
    values = {"study": "mine", "title": "Mine", "corpus": corpus, "rows": [row]}
    store.write_json(store.study("mine"), values)
    done = CliRunner().invoke(app, ["report", "table1", "mine", "--store", str(tmp_path)])
    assert "mine" in done.output
    assert isinstance(done.exception, UserError)
    assert "expected runs of study table1, found those of: mine" in str(done.exception)


def test_a_study_given_by_path_is_found_by_its_name_and_named_by_its_path(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    path = tmp_path / "mine.yaml"
    arguments = ["report", str(path), "--store", store.location]
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, UserError)
    assert f"run mlt-ray run {path} --corpus CORPUS first" in str(done.exception)
    corpus = {"name": "spoken", "fingerprint": "c0ffee"}
    store.write_json(
        store.study("mine"), {"study": "mine", "title": "Mine", "corpus": corpus, "rows": []}
    )
    assert CliRunner().invoke(app, arguments).exit_code == 0


def test_sync_of_a_store_without_runs_does_not_ask_for_the_option_that_was_given(
    tmp_path: Path,
) -> None:
    done = CliRunner().invoke(app, ["sync", "--store", str(tmp_path)])
    assert isinstance(done.exception, UserError)
    assert str(done.exception) == (
        f"{tmp_path}: expected a store with runs, found none; run a study first, or name another "
        "--store"
    )
