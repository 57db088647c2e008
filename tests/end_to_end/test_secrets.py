"""No password of a URI is found in a file or line after a study and a search."""

import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from mlt_ray.masking import masked
from tests.end_to_end.conftest import COMMAND, STUDY, environment
from tests.storage.test_store_on_s3 import server as server

pytestmark = pytest.mark.slow

KEY, SECRET, OTHER, THIRD = "AKIDUSER", "hushhushhush", "quietquietquiet", "stillstillstill"
SPACE = (
    STUDY.partition("rows:")[0]
    + "space:\n  model.deep_fusion_layers: {int: [0, 1]}\nseeds: [1]\n"
    + "search: {trials: 1, folds: [1], best: 1, startup_trials: 1}\n"
).replace("seeds: [1, 2]\n", "")


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A folder with a short path, since Ray puts sockets into it."""
    folder = Path(tempfile.mkdtemp(prefix="r-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def kept(folder: Path, copies: Path) -> Iterator[None]:
    """Inside the block, every file that appears in a folder gets a link, which outlives it."""
    copies.mkdir()
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(0.2):
            for path in folder.rglob("*.*"):
                with suppress(OSError):  # it has just been removed, or is a socket
                    if path.is_file() and not path.is_symlink():
                        os.link(path, copies / f"{path.stat().st_ino}-{path.name}")

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def test_no_secret_is_left_anywhere(
    server: str, corpus: Path, study: Path, tmp_path: Path, scratch: Path
) -> None:
    store = f"s3://{KEY}:{SECRET}@bucket/hushed?endpoint_override={server}&scheme=http"
    tracking = f"http://me:{OTHER}@127.0.0.1:9"
    space, profile = tmp_path / "mini.yaml", tmp_path / "profile.yaml"
    space.write_text(SPACE)
    # What the user wrote is the user's: the files made by commands are searched.
    profile.write_text(f"store: {store}\ntracking_uri: {tracking}\n")
    variables = {"MLT_RAY_CACHE": str(tmp_path / "cache"), "RAY_TMPDIR": str(scratch)}
    inherited = {k: v for k, v in environment().items() if not k.startswith("AWS_")}
    keys = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": THIRD}
    by_environment = store.replace(f"{KEY}:{SECRET}@", "").replace("hushed", "quiet")
    places = ("--store", store, "--tracking-uri", tracking)
    told = ""
    one = ("run", study, "--corpus", corpus, "--rows", "audio only", "--folds", "1")
    with kept(scratch, tmp_path / "copies"):
        for code, command, more in (
            (0, (*one, "--seeds", "1", *places), {}),
            (0, (*one, "--seeds", "1", "--store", by_environment), keys),
            (0, (*one, "--seeds", "2", "--profile", profile, "--workers", "2"), {}),
            (0, ("search", space, "--corpus", corpus, *places), {}),
            (1, ("doctor", *places), {}),
            (2, (*one, "--store", store.replace("bucket/", "none/")), {}),
            (2, (*one, "--store", store.replace(SECRET, f"{SECRET}?@/#")), {}),
        ):
            done = subprocess.run(
                [COMMAND, *map(str, command)],
                capture_output=True,
                text=True,
                timeout=400,
                env=inherited | variables | more,
                check=False,
            )
            told += done.stdout + done.stderr
            assert done.returncode == code, masked(told)
    made = [
        f
        for folder in (scratch, tmp_path / "copies", tmp_path / "cache")
        for f in folder.rglob("*")
    ]
    assert {"gcs_server.out", "report.json"} <= {f.name.partition("-")[2] or f.name for f in made}
    assert [f for f in made if holds(f)] == []
    assert not any(secret in told for secret in (SECRET, OTHER, THIRD))


def holds(path: Path) -> bool:
    """Whether a file has one of the secrets in it."""
    content = path.read_bytes() if path.is_file() else b""
    return any(secret.encode() in content for secret in (SECRET, OTHER, THIRD))
