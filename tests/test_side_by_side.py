"""Tests that go side by side: which of them share a process, and what processes share."""

from pathlib import Path

import pytest

from tests import side_by_side
from tests.shared import made_once
from tests.side_by_side import ALONE, FIRST, MEMORY, MOST, number_of_processes, rank, share

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", [*FIRST, *ALONE])
def test_what_is_named_is_there(name: str) -> None:
    assert (ROOT / name).exists()
    assert name.endswith("/") == (ROOT / name).is_dir()


def test_tests_of_a_file_share_a_process_unless_they_are_named() -> None:
    assert share("tests/test_spec.py::test_a") == share("tests/test_spec.py::TestB::test_c[d]")
    assert share(f"{ALONE[0]}::test_a[b]") != share(f"{ALONE[0]}::test_a[c]")


def test_the_longest_beginning_says_when_a_test_comes() -> None:
    assert rank(f"{FIRST[0]}::test_a") == 0
    assert rank("tests/end_to_end/test_other.py::test_a") == FIRST.index("tests/end_to_end/")
    assert rank("tests/test_spec.py::test_a") == len(FIRST)


def test_one_file_needs_one_process() -> None:
    assert number_of_processes(["tests/test_spec.py::test_a", "tests/test_spec.py::test_b"]) == 0
    assert number_of_processes([ALONE[0]]) > 0
    assert number_of_processes(["tests"]) > 0


@pytest.mark.parametrize(
    ("cpus", "memory", "processes"),
    [(2, 6 * MEMORY, 3), (2, 2 * MEMORY, 2), (1, MEMORY // 2, 1), (64, 64 * MEMORY, MOST)],
)
def test_there_are_more_processes_than_cpus_as_far_as_memory_reaches(
    cpus: int, memory: int, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(side_by_side, "usable_cpus", lambda: cpus)
    monkeypatch.setattr(side_by_side, "memory", lambda: memory)
    assert number_of_processes(["tests"]) == processes


def test_what_was_made_is_found_and_what_failed_is_made_again(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    calls = []

    def make(folder: Path) -> None:
        calls.append(folder)
        (folder / "half").touch()
        if len(calls) == 1:
            raise ValueError("it failed")

    name = f"thing of {tmp_path_factory.mktemp('once').name}"
    with pytest.raises(ValueError, match="it failed"):
        made_once(tmp_path_factory, name, make)
    made = made_once(tmp_path_factory, name, make)
    assert made_once(tmp_path_factory, name, make) == made == calls[1] != calls[0]
    assert len(calls) == 2
