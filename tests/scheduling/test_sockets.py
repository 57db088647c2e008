"""Ray's sockets get a short folder where `TMPDIR` is too long or cannot be written."""

from pathlib import Path

import pytest

from mlt_ray.errors import UserError
from mlt_ray.scheduling import sockets
from mlt_ray.scheduling.sockets import LONGEST, folder_for_ray


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
