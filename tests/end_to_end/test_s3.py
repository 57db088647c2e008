"""A study whose store is a bucket: computed on one machine, found on another."""

import re
import subprocess

import pytest

from tests.end_to_end.conftest import COMMAND, environment
from tests.storage.test_store_on_s3 import server as server

pytestmark = pytest.mark.slow


def on_machine(cache, *arguments):
    """Run the command with a mirror of its own, as another machine has it."""
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    return subprocess.run(
        [COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=400,
        env=environment() | keys | {"MLT_RAY_CACHE": str(cache)},
        check=False,
    )


def test_a_bucket_holds_what_another_machine_needs(server, corpus, study, tmp_path):
    store = f"s3://bucket/study?endpoint_override={server}&scheme=http"
    few = ("--rows", "audio only", "--seeds", "1", "--folds", "1-2")
    arguments = ("run", study, "--corpus", corpus, "--store", store, *few)
    done = on_machine(tmp_path / "one", *arguments)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "0 in the store, 2 to compute" in done.stdout
    again = on_machine(tmp_path / "other", *arguments)
    assert again.returncode == 0, again.stderr + again.stdout
    assert "2 in the store, 0 to compute" in again.stdout
    assert "features" not in again.stdout
    rows = [re.findall(r"audio only .*2/10", printed.stdout) for printed in (done, again)]
    assert rows[0] == rows[1] != []
    report = on_machine(tmp_path / "third", "report", "small", "--store", store)
    assert report.returncode == 0, report.stderr
    assert re.findall(r"audio only .*2/10", report.stdout) == rows[0]
