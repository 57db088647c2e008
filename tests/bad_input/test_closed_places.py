"""Places that the system closes: read-only, full, not to be entered, too many files at once.

Root may write wherever permissions forbid it, so that drives are mounted here. Where that is not
allowed, these tests are skipped.
"""

import contextlib
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlt_ray.cli.app import exit_code
from mlt_ray.display import waiting
from tests.bad_input.corpus import write_corpus
from tests.bad_input.places import content

STUDY = """
base: {folds: {by: speaker, number: 3}}
rows:
- name: tfidf
  model: {system: classical, text: tfidf}
"""
SPACE = """
base: {folds: {by: speaker, number: 3}, model: {system: classical, text: tfidf}}
space: {model.text_c: {choice: [1.0, 2.0]}}
"""
TEXTS = "session,speaker,emotion,text\n1,F,angry,so\n"
NOBODY = 65534

VERBS = {
    "run": "run study.yaml --corpus corpus --store DRIVE/store",
    "run into a new store": "run study.yaml --corpus corpus --store DRIVE/new",
    "search": "search space.yaml --corpus corpus --store DRIVE/store",
    "report": "report noise --store DRIVE/store",
    "sync": "sync --store DRIVE/store",
    "evaluate": "evaluate noise/audio --corpus corpus --store DRIVE/store",
    "demo": "demo --store DRIVE/new",
    "corpus demo": "corpus demo DRIVE/new",
    "corpus synthesize": "corpus synthesize texts.csv DRIVE/new",
    "export": "export noise/audio --store DRIVE/store --out DRIVE/new",
    "explain": "explain corpus/0.wav --store DRIVE/store --model noise/audio --out DRIVE/x.html",
    "run, for its tables": "run study.yaml --corpus corpus --store new --out DRIVE/new",
    "report, for its tables": "report noise --store DRIVE/store --out DRIVE/new",
    "evaluate, for its tables": "evaluate noise/audio --corpus corpus --store new --out DRIVE/new",
}
"""Commands that would write onto a drive."""


@contextlib.contextmanager
def drive(folder: Path, size: str) -> Iterator[Path]:
    """A small drive in memory; skips the test where none can be mounted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "mlt-ray-bad-input", folder]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"a drive cannot be mounted here: {error}")
    if done.returncode:
        pytest.skip(f"a drive cannot be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture(scope="module")
def read_only(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A drive with the store of trained rows, mounted so that nobody can write."""
    with drive(tmp_path_factory.mktemp("closed") / "drive", "64m") as folder:
        shutil.copytree(trained / "store", folder / "store")
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        yield folder


@pytest.fixture
def here(tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a corpus, a study, a space and texts."""
    folder = tmp_path / "here"
    write_corpus(folder / "corpus", trained)
    for name, text in (("study.yaml", STUDY), ("space.yaml", SPACE), ("texts.csv", TEXTS)):
        (folder / name).write_text(text)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(waiting, "PATIENCE_S", 3600.0)
    return folder


def line_of(command: str, place: Path, capfd: pytest.CaptureFixture[str]) -> str:
    """The one line that a command ends in; ``DRIVE`` is the place."""
    code = exit_code([word.replace("DRIVE", str(place)) for word in command.split()])
    said = capfd.readouterr().err
    assert code == 2, said
    assert len(said.splitlines()) == 1, said
    assert said.startswith("mlt-ray: ")
    return said


@pytest.mark.parametrize("verb", VERBS)
def test_a_drive_that_is_mounted_read_only(
    verb: str, read_only: Path, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = content(here)
    line = line_of(VERBS[verb], read_only, capfd)
    assert "read-only file system" in line.lower()
    assert "name another" in line
    assert content(here) == before


@pytest.mark.parametrize("verb", ["run", "report", "sync", "search"])
def test_a_full_drive(
    verb: str, trained: Path, here: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with drive(tmp_path / "drive", "16m") as folder:
        shutil.copytree(trained / "store", folder / "store")
        before = content(folder)
        with (folder / "ballast").open("wb") as file, contextlib.suppress(OSError):
            while True:
                os.write(file.fileno(), bytes(1 << 16))
        with (folder / "ballast").open("ab") as file, contextlib.suppress(OSError):
            while True:
                os.write(file.fileno(), bytes(1))
        line = line_of(VERBS[verb], folder, capfd)
        (folder / "ballast").unlink()
        assert content(folder) == before
    assert "no space left on device" in line


def test_a_folder_that_must_not_be_entered(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    place = here / "place"
    (place / "store").mkdir(parents=True)
    command = "report noise --store DRIVE/store"
    assert "found those of: none" in line_of(command, place, capfd)
    place.chmod(0)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(NOBODY)
        line = line_of(command, place, capfd)
    finally:
        os.seteuid(user)
        place.chmod(0o755)
    assert "permission denied; expected a place that may be read and written" in line


def test_too_many_open_files(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = "run study.yaml --corpus none --store new --dry-run"
    line_of(command, here, capfd)  # whatever it imports is imported by now
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    open_now = max(int(name) for name in os.listdir("/proc/self/fd"))
    filled = [os.open(os.devnull, os.O_RDONLY) for _ in range(open_now)]
    try:
        # Every number below is taken.
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(filled) + 1, hard))
        line = line_of(command, here, capfd)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for number in filled:
            os.close(number)
    assert "too many open files; allow more (ulimit -n 4096) and ask again" in line


def test_a_current_folder_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    line = line_of("report noise --store store", folder, capfd)
    assert "expected one that exists, found it deleted; cd to another" in line


def test_a_name_that_is_too_long(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    line = line_of(f"report noise --store DRIVE/{'x' * 300}", here, capfd)
    assert "file name too long; expected a shorter name" in line


def test_a_bug_keeps_its_traceback(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is missing where the package looks for it is none of the user's places."""

    def broken(*_: object) -> None:
        raise FileNotFoundError(2, "No such file or directory", "inside.json")

    monkeypatch.setattr("mlt_ray.studies.files.read_yaml", broken)
    with pytest.raises(FileNotFoundError, match=r"inside\.json"):
        exit_code(["run", "study.yaml", "--corpus", "corpus", "--dry-run"])
