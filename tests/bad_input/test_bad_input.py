"""Every bad input of the table ends in one line that says where and what to do, with exit code 2.

Nothing is written, in the store least of all. The cases are data, in a file for each kind.
"""

import hashlib
import io
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from mlt_ray.cli.app import exit_code
from tests.bad_input import corpora, environments, flags, inputs, spaces, stores, studies
from tests.bad_input.case import Case

KINDS: Final[Mapping[str, Mapping[str, Case]]] = {
    "flags": flags.CASES,
    "studies": studies.CASES,
    "spaces": spaces.CASES,
    "corpora": corpora.CASES,
    "inputs": inputs.CASES,
    "stores": stores.CASES,
    "environments": environments.CASES,
}
LEAST: Final = 200


@pytest.fixture(scope="session")
def corpus(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of the recordings on which the rows of the store were trained."""
    folder = tmp_path_factory.mktemp("fine") / "corpus"
    folder.mkdir()
    emotions = ("angry", "happy", "neutral", "sad")
    lines = ["path,text,emotion,speaker"]
    for n in range(24):
        shutil.copy(trained / f"{n}.wav", folder)
        lines.append(f"{n}.wav,so glad,{emotions[n % 4]},speaker{n // 8}")
    (folder / "manifest.csv").write_text("\n".join(lines))
    return folder


def content(*folders: Path) -> dict[str, str]:
    """The hash of every file below folders, where links lead, and which folders there are."""
    found = {}
    for folder in folders:
        for parent, names, files in os.walk(folder):
            for name in (*names, *files):
                path = Path(parent, name)
                if path.is_symlink():
                    found[str(path)] = os.readlink(path)
                elif path.is_file():
                    found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
                else:
                    found[str(path)] = "no file"
    return found


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a case, which is also the current one."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    yield folder


def named() -> list[object]:
    return [
        pytest.param(case, id=f"{kind}: {name}")
        for kind, cases in KINDS.items()
        for name, case in cases.items()
    ]


def test_there_are_many() -> None:
    assert sum(map(len, KINDS.values())) >= LEAST


@pytest.mark.parametrize("case", named())
def test_a_bad_input_is_one_line(
    case: Case,
    trained: Path,
    corpus: Path,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    recwarn: pytest.WarningsRecorder,
    capfd: pytest.CaptureFixture[str],
) -> None:
    store = trained / "store"
    case.write(here)
    if case.damage is not None:
        store = Path(shutil.copytree(store, here / "store"))
        case.damage(here)
    for name, value in case.environment.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(case.stream)))
    before = content(here, trained)
    code = exit_code(case.words(here=here, corpus=corpus, store=store))
    said = capfd.readouterr().err
    assert code == 2, said
    [line] = said.splitlines()
    assert line.startswith("mlt-ray: ")
    assert case.says in line
    assert content(here, trained) == before
    assert [str(warning.message) for warning in recwarn] == []
