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
        "spec": {"folds": {"by": "session"}},
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
