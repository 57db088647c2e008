"""Commands work in odd surroundings: locale, TMPDIR, HOME, umask, proxies, terminal, limits."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.conftest import COMMAND

NOWHERE = "http://127.0.0.1:1"
"""An address where nobody listens."""

PROXIES = dict.fromkeys(
    ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"), NOWHERE
)
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
TERMINAL = {"TERM": "dumb", "COLUMNS": "10", "NO_COLOR": "1", "TZ": "Odd/Zone"}
NUMBERS = {"OMP_NUM_THREADS": "banana", "CUDA_VISIBLE_DEVICES": "banana", "PYTHONHASHSEED": "0"}


def mlt_ray(
    *arguments: object, limits: str = "", **surroundings: str
) -> subprocess.CompletedProcess:
    """Run the command with few variables, without standard input, after a shell has set limits."""
    shell = ["bash", "-c", f'{limits or ":"} && exec "$@"', "mlt-ray", str(COMMAND)]
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "PYTHONPATH")}
    return subprocess.run(
        [*shell, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=kept | surroundings,
        timeout=400,
        check=False,
    )


@pytest.mark.slow
def test_a_study_is_computed_where_everything_is_odd(
    corpus: Path, study: Path, tmp_path: Path
) -> None:
    """A container's locale, a deep TMPDIR, no HOME, few files, dead proxies and a bad address."""
    odd_corpus, deep = tmp_path / "Körper 愛", tmp_path / ("x" * 110)
    shutil.copytree(corpus, odd_corpus)
    deep.mkdir()
    before = set(Path("/tmp").glob("mlt-ray-*"))
    done = mlt_ray(
        *("run", study, "--corpus", odd_corpus, "--store", tmp_path / "stö", "--address", "local"),
        *("--rows", "audio only", "--folds", "1", "--seeds", "1"),
        limits="umask 0077 && ulimit -S -n 64",
        TMPDIR=str(deep),
        HOME="/dev/null/nowhere",
        RAY_ADDRESS="127.0.0.1:1",
        **PROXIES,
        **ASCII,
        **TERMINAL,
        **NUMBERS,
    )
    shown = done.stdout.decode("ascii") + done.stderr.decode("ascii")
    assert done.returncode == 0, shown
    assert "corpus: Korper ?, 100 utterances" in shown
    assert (tmp_path / "stö" / "reports" / "small" / "tables.json").is_file()
    record = json.loads((tmp_path / "stö" / "studies" / "small.json").read_bytes())
    assert record["corpus"]["name"] == "Körper 愛"
    assert set(Path("/tmp").glob("mlt-ray-*")) <= before


def test_a_cluster_that_does_not_answer_is_told_before_anything_is_computed(
    corpus: Path, study: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    done = mlt_ray(
        "run", study, "--corpus", corpus, "--store", store, RAY_ADDRESS="127.0.0.1:1", **ASCII
    )
    [line] = done.stderr.decode().splitlines()
    assert (done.returncode, line.partition(": expected")[0]) == (
        2,
        "mlt-ray: RAY_ADDRESS=127.0.0.1:1",
    )
    assert not list(store.glob("features/*"))


def test_a_working_directory_that_was_deleted(tmp_path: Path) -> None:
    (gone := tmp_path / "gone").mkdir()
    done = mlt_ray("report", "small", limits=f"cd {gone} && rmdir {gone}")
    assert done.returncode == 2
    [line] = done.stderr.decode().splitlines()
    assert line.startswith("mlt-ray: working directory: expected one that exists")


@pytest.mark.parametrize("limits", ["exec <&-", "exec >&-", "exec <&- >&-"])
def test_standard_streams_that_are_closed(limits: str) -> None:
    done = mlt_ray("studies", limits=limits)
    assert (done.returncode, done.stderr) == (0, b"")
    assert bool(done.stdout) == (">" not in limits)
