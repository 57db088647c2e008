"""A study whose store is a bucket: computed on one machine, found on another."""

import json
import re
import subprocess

import pytest

from mlt_ray.storage.remote import Remote
from tests.crashes.journal import wait_until
from tests.crashes.scene import kill_session
from tests.end_to_end.conftest import COMMAND, STUDY, environment
from tests.storage.test_store_on_s3 import server as server

pytestmark = pytest.mark.slow


SPACE = (
    STUDY.partition("rows:")[0]
    .replace("seeds: [1, 2]", "seeds: [1]")
    .replace("    system: multilevel\n", "    system: multilevel\n    inputs: audio\n")
    + """
space:
  model.feed_forward: {int: [8, 64]}
  training.learning_rate: {log: [1e-4, 1e-2]}
search: {trials: 6, folds: [1, 2], pruner: none, best: 1}
"""
)


def machine(cache):
    """The environment of a machine with a mirror of its own."""
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    return environment() | keys | {"MLT_RAY_CACHE": str(cache)}


def on_machine(cache, *arguments):
    """Run the command with a mirror of its own, as another machine has it."""
    return subprocess.run(
        [COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=400,
        env=machine(cache),
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


def configurations(store):
    """The configurations of the search with their values, states and scores."""
    return json.loads(Remote(store).read("reports/mini/search.json"))["configurations"]


def finished(store):
    """Names of the reports of all finished runs, with the times of their writing."""
    files = Remote(store).files("runs")
    return {name: f.written_s for name, f in files.items() if name.endswith("report.json")}


@pytest.mark.timeout(1200)  # five commands in a row take a busy machine a while
def test_a_search_that_is_killed_thrice_ends_like_an_undisturbed_one(server, corpus, tmp_path):
    """The third call is on another machine, the fourth on the first again."""
    space = tmp_path / "mini.yaml"
    space.write_text(SPACE)
    whole, cut = (
        f"s3://bucket/{name}?endpoint_override={server}&scheme=http" for name in ("whole", "cut")
    )

    def arguments(store):
        return ("search", space, "--corpus", corpus, "--store", store, "--concurrency", "1")

    done = on_machine(tmp_path / "one", *arguments(whole))
    assert done.returncode == 0, done.stderr + done.stdout
    untouched = {}
    for cells, name in ((3, "one"), (6, "one"), (9, "other")):
        with (tmp_path / f"{cells}.log").open("w") as log:
            process = subprocess.Popen(
                [COMMAND, *map(str, arguments(cut))],
                stdout=log,
                stderr=log,
                env=machine(tmp_path / name),
                start_new_session=True,
            )
            try:
                wait_until(
                    lambda cells=cells, process=process: (
                        process.poll() is not None or len(finished(cut)) >= cells
                    ),
                    f"{cells} cells",
                    every_s=0.2,
                )
                assert process.poll() is None, (tmp_path / f"{cells}.log").read_text()
            finally:
                kill_session(process)
        untouched |= finished(cut)
    again = on_machine(tmp_path / "one", *arguments(cut))
    assert again.returncode == 0, again.stderr + again.stdout
    [known] = re.findall(r"(\d+) known already", again.stdout)
    assert int(known) >= 4
    assert configurations(cut) == configurations(whole)
    assert {name: finished(cut)[name] for name in untouched} == untouched
    assert set(finished(cut)) == set(finished(whole))
    assert len([name for name in Remote(cut).files("trials") if name.endswith(".db")]) == 1
