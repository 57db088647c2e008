"""Every text can be shown in every encoding, in as many columns, and files are UTF-8."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlt_ray.display.encoding import SHOWN

ROOT = Path(__file__).parents[2]

# What Python decodes arguments with, what it shows, and what it was told.
COMMAND = """
import sys
from mlt_ray.display.encoding import show_everything, use_utf8
use_utf8()
show_everything()
print(sys.getfilesystemencoding(), sys.argv[1] == "K\\u00f6ln", sys.argv[2:])
print("0.619\\u00b10.008 \\u25cf \\u2502 caf\\u00e9 \\u611b \\u2026")
"""


def run(text: str, *arguments: str, **surroundings: str) -> subprocess.CompletedProcess[bytes]:
    kept = {k: v for k, v in os.environ.items() if k not in ("LANG", "LC_ALL", "PYTHONIOENCODING")}
    return subprocess.run(
        [sys.executable, "-c", text, *arguments],
        capture_output=True,
        env=kept | surroundings,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    "surroundings",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "POSIX", "PYTHONUTF8": "0"},
        {"PYTHONIOENCODING": "ascii"},
    ],
)
def test_an_ascii_terminal_shows_what_comes_next_and_files_are_utf8(
    surroundings: dict[str, str],
) -> None:
    done = run(COMMAND, "Köln", "--rows", "a b", **surroundings)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode("ascii").splitlines() == [
        "utf-8 True ['--rows', 'a b']",
        "0.619~0.008 o | cafe ? .",
    ]


def test_a_terminal_that_shows_everything_is_left_alone() -> None:
    done = run(COMMAND, "Köln", LC_ALL="C.UTF-8")
    assert "0.619±0.008 ● │ café 愛 …" in done.stdout.decode()


def test_what_stands_for_a_character_is_one_character() -> None:
    assert all(len(there) == 1 and there.isascii() for there in SHOWN.values())


def test_a_terminal_of_no_columns_shows_text_all_the_same() -> None:
    text = (
        "from mlt_ray.display.encoding import show_everything; show_everything();"
        "from rich.console import Console; Console().print('words')"
    )
    assert run(text, COLUMNS="0").stdout == b"words\n"


def test_no_file_is_opened_by_the_encoding_of_the_locale() -> None:
    folders = [ROOT / name for name in ("mlt_ray", "docs", "clusters")]
    rule = ("--isolated", "--preview", "--select", "PLW1514", "--output-format", "concise")
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--no-cache", *rule, *folders],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
