"""What commands leave is found, also where they have left their session."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mlt_ray.storage.files import write_bytes
from mlt_ray.storage.store import Store
from tests.crashes.journal import wait_until
from tests.endurance.remains import Machine, unknown_remains

LISTENS = """
import os, socket, time
if os.fork():
    os._exit(0)
os.setsid()
with socket.socket() as own:
    own.bind(("127.0.0.1", 0))
    own.listen()
    print(own.getsockname()[1], flush=True)
    time.sleep(600)
"""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "t")


def test_a_process_that_has_left_its_parent_and_its_session_is_found_with_its_port(machine):
    with machine.entered():
        process = subprocess.Popen([sys.executable, "-c", LISTENS], stdout=subprocess.PIPE)
    assert process.stdout is not None
    port = int(process.stdout.readline())
    process.wait()
    [orphan] = machine.processes()
    assert orphan != process.pid
    assert machine.listening() == [port]
    _, left = machine.wait_for_end(timeout_s=0.3)
    assert list(left) == [orphan]
    wait_until(lambda: not machine.processes(), "the end of the orphan", timeout_s=20)
    assert machine.listening() == []
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_process_that_ends_by_itself_is_waited_for(machine):
    with machine.entered():
        process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.5)"])
    wait_until(machine.processes, "its start", timeout_s=20)
    assert machine.wait_for_end()[1] == {}
    process.wait()


def test_temporary_files_are_counted_with_the_folders_of_rays_sessions(machine):
    with machine.entered():
        made = "import os, tempfile; tempfile.mkdtemp(prefix='mine-')"
        subprocess.run([sys.executable, "-c", made], check=True)
    (machine.folder / "ray" / "session_1").mkdir(parents=True)
    mine, ray = machine.files()
    assert mine.startswith("mine-")
    assert ray == "ray/session_1"


def test_only_what_no_sweep_would_remove_remains_of_a_store(tmp_path):
    write_bytes(tmp_path / "runs" / "1" / "report.json", b"{}")
    (tmp_path / "runs" / "1" / ".report.json.abcd_123").write_text("half")
    (tmp_path / ".mlflow.db.abcd_124").write_text("half")  # not where the sweep looks
    assert unknown_remains(Store(tmp_path)) == [".mlflow.db.abcd_124"]
    assert sorted(os.listdir(tmp_path / "runs" / "1")) == ["report.json"]
