"""The wheel holds every file of the package, and works from an empty folder."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from mlt_ray.studies.files import space_names, study_names

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
SHIPPED = {"mlt_ray": "mlt_ray", "search_spaces": "mlt_ray/search_spaces"}
SHIPPED |= {"clusters": "mlt_ray/clusters"}
"""Folders of the checkout, and where the wheel has them."""

DATA = ("mlt_ray/py.typed", "mlt_ray/reports/page/page.html.j2", "mlt_ray/reports/page/page.css")
"""Some files that are no Python, so that the wheel is not compared with an empty folder."""


def built(folder: Path, *options: str) -> list[Path]:
    """What `python -m build` writes of the checkout, without a network."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, *options, ROOT]
    subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel that is built of the sdist, and the sdist."""
    wheel, sdist = built(tmp_path_factory.mktemp("built"))
    return wheel, sdist


@pytest.fixture(scope="module")
def site(distributions: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked as pip does."""
    folder = tmp_path_factory.mktemp("site")
    zipfile.ZipFile(distributions[0]).extractall(folder)
    return folder


def contents(wheel: Path) -> dict[str, bytes]:
    """The files of a wheel by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_has_every_file_of_the_package_and_no_other(
    distributions: tuple[Path, Path],
) -> None:
    expected = {
        f"{there}/{path.relative_to(ROOT / here).as_posix()}": path.read_bytes()
        for here, there in SHIPPED.items()
        for path in (ROOT / here).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    found = contents(distributions[0])
    assert set(DATA) <= set(expected)
    assert {n: c for n, c in found.items() if ".dist-info/" not in n} == expected


def test_the_sdist_gives_the_wheel_that_the_checkout_gives(
    distributions: tuple[Path, Path], tmp_path: Path
) -> None:
    [direct] = built(tmp_path, "--wheel")
    assert contents(distributions[0]) == contents(direct)


def test_the_sdist_has_what_its_own_tests_need(distributions: tuple[Path, Path]) -> None:
    with tarfile.open(distributions[1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"tests/test_wheel.py", "README.md", "constraints.txt", ".ci/run"} <= names
    assert {"CITATION.cff", "CONTRIBUTING.md", "mkdocs.yml", "docs/code.md"} <= names


def test_the_wheel_says_its_extras_and_pythons(site: Path) -> None:
    [metadata] = site.glob("*.dist-info/METADATA")
    lines = metadata.read_text(encoding="utf-8").splitlines()
    assert {f"Provides-Extra: {name}" for name in ("demo", "espeak", "opensmile")} <= set(lines)
    assert "Requires-Python: >=3.11" in lines
    always = [line for line in lines if line.startswith("Requires-Dist") and "extra ==" not in line]
    assert any(line.startswith("Requires-Dist: torch") for line in always)
    assert not [line for line in always if "opensmile" in line or "espeak" in line]


def run(site: Path, folder: Path, code: str, *words: object) -> str:
    """What a program prints that finds the wheel's files alone."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"import sys; sys.path[:0] = [{str(site)!r}]; {code}"]
        + [str(word) for word in words],
        cwd=folder,
        env=environment | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def mlt_ray(site: Path, folder: Path, *words: object) -> str:
    """What a command of the wheel prints."""
    return run(site, folder, "from mlt_ray.cli.app import main; main()", *words)


def test_the_wheel_works_from_an_empty_folder(site: Path, tmp_path: Path) -> None:
    empty, corpus, store = (tmp_path / name for name in ("empty", "corpus", "store"))
    empty.mkdir()
    studies = mlt_ray(site, empty, "studies")
    assert {line.split()[0] for line in studies.splitlines()} == {*study_names(), *space_names()}
    assert str(site / "mlt_ray/search_spaces/table1.yaml") in studies
    assert "285 runs" in mlt_ray(site, empty, "demo", "--help")
    mlt_ray(site, empty, "corpus", "demo", corpus, "--utterances", "40")
    asked = ("run", "table1", "--corpus", corpus, "--store", store, "--profile", "laptop")
    assert "120 runs, 120 to compute" in mlt_ray(site, empty, *asked, "--dry-run")
    page = "from mlt_ray.reports.page.render import render; print(render([])[0])"
    assert '<main id="main">' in run(site, empty, page)
    assert list(empty.iterdir()) == []
