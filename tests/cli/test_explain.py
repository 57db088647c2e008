"""The verb explain, from a recording's file to its page."""

from pathlib import Path

import pytest
import soundfile
import typer
from typer.testing import CliRunner, Result

from mlt_ray.cli.explain import explain
from mlt_ray.errors import UserError
from mlt_ray.storage.store import Store
from tests.inference.explanation.spoken import SPOKEN, utterance
from tests.trained_store import trained_store

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store() -> Store:
    return trained_store()[0]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "door.flac"
    soundfile.write(path, utterance().audio, 16_000)
    return path


def explained(clip: Path, store: Store, row: str, *more: str) -> Result:
    app = typer.Typer()
    app.command()(explain)
    options = ["--model", f"study/{row}", "--store", store.location, "--device", "cpu", *more]
    return CliRunner().invoke(app, [str(clip), *options])


def test_the_page_is_written_and_summed_up_in_three_lines(
    clip: Path, store: Store, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    done = explained(clip, store, "multilevel", "--text", SPOKEN, "--out", str(page))
    assert done.exit_code == 0, done.output
    answer, changes, nearest, written = done.stdout.strip().splitlines()
    assert "by study/multilevel, the mean of 2 runs" in answer
    assert "without the word " in changes
    assert nearest.startswith("nearest training utterances: u")
    assert written == f"written: {page}"
    html = page.read_text("utf-8")
    assert SPOKEN in html
    assert "study/multilevel" in html


def test_the_page_lies_in_the_current_folder_unless_said_otherwise(
    clip: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = explained(clip, store, "audio only")
    assert done.exit_code == 0, done.output
    assert "written: explain-door.html" in done.stdout
    assert (tmp_path / "explain-door.html").is_file()


def test_a_row_that_reads_text_asks_for_it(clip: Path, store: Store) -> None:
    done = explained(clip, store, "multilevel")
    assert isinstance(done.exception, UserError)
    assert "study/multilevel reads text, and none is given; give one by --text" in str(
        done.exception
    )


def test_a_text_and_a_recogniser_are_not_given_together(clip: Path, store: Store) -> None:
    done = explained(clip, store, "multilevel", "--text", "so", "--asr", "any")
    assert isinstance(done.exception, UserError)


def test_a_long_recording_is_refused(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "long.flac"
    soundfile.write(path, utterance(seconds=61).audio, 16_000)
    done = explained(path, store, "audio only")
    assert "expected one utterance of at most 60 s, got 61 s" in str(done.exception)
