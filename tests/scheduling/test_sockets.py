"""Ray's folder of a start is removed at its end, and that of a killed command at the next start."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mlt_ray.scheduling.sockets import LATEST, MARK, dead_sessions, own_session
from mlt_ray.storage.holder import Holder


def start(folder: Path, name: str) -> Path:
    """Do as Ray does at its start."""
    made = folder / f"session_{name}"
    (made / "logs").mkdir(parents=True)
    (made / "logs" / "raylet.out").write_text("started\n")
    link = folder / LATEST
    link.unlink(missing_ok=True)
    link.symlink_to(made)
    return made


def mark(folder: Path, pid: int, started: str) -> None:
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


def test_a_session_is_removed_at_its_end_with_rays_link_to_it(tmp_path: Path) -> None:
    folder = start(tmp_path, "now")
    with own_session(folder):
        assert names(tmp_path) == {"session_now", LATEST}
    assert names(tmp_path) == set()


def test_a_session_is_removed_when_its_block_raises(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), own_session(start(tmp_path, "now")):
        raise KeyboardInterrupt
    assert names(tmp_path) == set()


def test_what_a_killed_command_left_is_removed_by_the_next_start(tmp_path: Path) -> None:
    killed, living, foreign = (start(tmp_path, name) for name in ("killed", "living", "foreign"))
    mark(killed, dead_process(), "17")
    (living / MARK).write_text(Holder.here("this process").as_json())
    assert dead_sessions(tmp_path) == [killed]
    with own_session(start(tmp_path, "now")):
        assert names(tmp_path) == {"session_now", "session_living", "session_foreign", LATEST}
    assert names(tmp_path) == {"session_living", "session_foreign"}
    assert (foreign / "logs" / "raylet.out").exists()
    assert (living / "logs" / "raylet.out").exists()


def test_a_session_of_another_machine_is_kept(tmp_path: Path) -> None:
    folder = start(tmp_path, "elsewhere")
    mark(folder, dead_process(), "17")
    values = json.loads((folder / MARK).read_text()) | {"machine": "another boot"}
    (folder / MARK).write_text(json.dumps(values))
    assert dead_sessions(tmp_path) == []
