"""Ray's sockets get a short folder where `TMPDIR` is too long or cannot be written.

Ray's folder of a start is removed at its end, and that of a killed command at the next start.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlt_ray.errors import UserError
from mlt_ray.scheduling import sockets
from mlt_ray.scheduling.sockets import (
    LATEST,
    LONGEST,
    MARK,
    dead_sessions,
    folder_for_ray,
    mark,
    own_sessions,
)
from mlt_ray.storage.holder import Holder


@pytest.fixture(autouse=True)
def _(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """A folder whose path is too long."""
    folder = tmp_path / ("x" * 110)
    folder.mkdir()
    return folder


def test_a_short_folder_that_may_be_written_is_left_to_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMPDIR", raising=False)
    with folder_for_ray() as folder:
        assert folder is None


def test_a_longer_path_than_a_socket_may_have_is_replaced_and_removed(
    deep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(deep))
    with folder_for_ray() as folder:
        assert folder is not None
        assert len(folder) <= LONGEST + len("/ray")
        (Path(folder) / "session_latest").write_text("a log")
    assert not Path(folder).exists()


@pytest.mark.parametrize("tmpdir", ["/nonexistent/folder", "/proc", "/dev/null"])
def test_a_folder_that_cannot_be_written_is_replaced(
    tmpdir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", tmpdir)
    with folder_for_ray() as folder:
        assert folder is not None


def test_the_longest_path_is_left_to_ray_and_one_byte_more_is_not() -> None:
    longest = "/" + "x" * (LONGEST - 1)
    assert "No such file" in sockets.fault(longest)
    assert "for Ray's sockets, got" in sockets.fault(longest + "x")


def test_what_cannot_be_mended_is_told_in_one_line(
    deep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(deep))
    monkeypatch.setattr(sockets, "ELSEWHERE", (str(deep / "absent"),))
    with pytest.raises(UserError, match=r"^TMPDIR=.*: expected a.*; set TMPDIR to such"):
        folder_for_ray().__enter__()
    monkeypatch.setenv("RAY_TMPDIR", str(deep))
    with pytest.raises(UserError, match=r"^RAY_TMPDIR=.*: expected a.*; unset it"):
        folder_for_ray().__enter__()


def start(folder: Path, name: str) -> Path:
    """Do as Ray does at its start."""
    made = folder / f"session_{name}"
    (made / "logs").mkdir(parents=True)
    (made / "logs" / "raylet.out").write_text("started\n")
    link = folder / LATEST
    link.unlink(missing_ok=True)
    link.symlink_to(made)
    return made


def mark_as(folder: Path, pid: int, started: str) -> None:
    """Mark a session's folder as that of another process."""
    values = json.loads(Holder.here("other").as_json()) | {"pid": pid, "started": started}
    (folder / MARK).write_text(json.dumps(values))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def dead_process() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


OWN = str(os.getpid())


def test_a_session_is_removed_at_its_end_with_rays_link_to_it(tmp_path: Path) -> None:
    start(tmp_path, f"before_{OWN}")
    with own_sessions(tmp_path):
        mark(start(tmp_path, f"now_{OWN}"))
        assert names(tmp_path) == {f"session_before_{OWN}", f"session_now_{OWN}", LATEST}
    assert names(tmp_path) == {f"session_before_{OWN}"}


def test_a_start_that_was_interrupted_leaves_no_session(tmp_path: Path) -> None:
    def be_interrupted() -> None:
        with own_sessions(tmp_path):
            start(tmp_path, f"now_{OWN}")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        be_interrupted()
    assert names(tmp_path) == set()


def test_what_a_killed_command_left_is_removed_by_the_next_start(tmp_path: Path) -> None:
    killed, living, foreign = (start(tmp_path, name) for name in ("killed", "living", "foreign"))
    mark_as(killed, dead_process(), "17")
    (living / MARK).write_text(Holder.here("this process").as_json())
    assert dead_sessions(tmp_path) == [killed]
    mark(start(tmp_path, "now"))
    assert names(tmp_path) == {"session_now", "session_living", "session_foreign", LATEST}
    assert (foreign / "logs" / "raylet.out").exists()
    assert (living / "logs" / "raylet.out").exists()


def test_a_session_of_another_machine_is_kept(tmp_path: Path) -> None:
    folder = start(tmp_path, "elsewhere")
    mark_as(folder, dead_process(), "17")
    values = json.loads((folder / MARK).read_text()) | {"machine": "another boot"}
    (folder / MARK).write_text(json.dumps(values))
    assert dead_sessions(tmp_path) == []
