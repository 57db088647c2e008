"""What the verbs of corpus make of languages and word vectors."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from typer.testing import CliRunner, Result

from mlt_ray.cli.app import app
from mlt_ray.errors import UserError


@pytest.fixture
def check(tmp_path: Path) -> Callable[..., Result]:
    """Checks a corpus of two German texts with some options."""
    lines = ["path,text,emotion,speaker", "0.wav,Sie könnte gehen.,sad,a", "1.wav,Gehen!,angry,b"]
    (tmp_path / "manifest.csv").write_text("\n".join(lines), "utf-8")
    for number in range(2):
        noise = np.random.default_rng(number).uniform(-0.5, 0.5, 1600)
        sf.write(tmp_path / f"{number}.wav", noise, 16_000)

    def invoke(*options: str) -> Result:
        return CliRunner().invoke(app, ["corpus", "check", str(tmp_path), *options])

    return invoke


def test_words_that_vectors_lack_are_told(check: Callable[..., Result], tmp_path: Path) -> None:
    vectors = tmp_path / "de.vec"
    vectors.write_text("2 2\nsie 1 2\ngehen 3 4\n")
    said = check("--language", "de", "--glove", str(vectors)).output.splitlines()
    assert said[-2:] == [
        "words without a vector in de: 1 of 3 (25.0% of the running words), such as könnte",
        "note: 25% of the running words have no vector in de; give word vectors of the language de "
        "(--glove FILE)",
    ]
    assert "words in no dictionary" in check("--glove", str(vectors)).output


def test_an_unknown_language_is_refused_before_the_corpus_is_read(
    check: Callable[..., Result],
) -> None:
    error = check("--language", "deutsch").exception
    assert isinstance(error, UserError)
    assert str(error).startswith("--language: expected a language that espeak-ng speaks, such as")


def test_languages_are_listed_by_code() -> None:
    said = CliRunner().invoke(app, ["corpus", "languages"]).output.splitlines()
    assert "pl                   Polish" in said
