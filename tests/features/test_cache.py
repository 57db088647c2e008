"""The cache returns what was written, and leaves out segments that cannot be read."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from mlt_ray.errors import UserError
from mlt_ray.features.cache import Cache, compute_missing


def arrays(*rows: int, seed: int = 0, width: int = 5) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    drawn = [rng.normal(size=(n, width)).astype(np.float32) for n in rows]
    return {f"{seed}-{n}": array for n, array in enumerate(drawn)}


def assert_holds(cache: Cache, expected: dict[str, np.ndarray]) -> None:
    for key, array in expected.items():
        assert key in cache
        assert cache.rows(key) == len(array)
        assert cache[key].dtype == array.dtype
        np.testing.assert_array_equal(cache[key], array)


def test_arrays_of_several_segments_are_read_back(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "frames")
    first, second = arrays(3, 7, 1), arrays(2, 11, seed=1)
    cache.add(first)
    cache.add(second)
    assert_holds(cache, first | second)
    assert len(cache) == 5


def test_a_cache_that_is_opened_again_holds_the_same(tmp_path: Path) -> None:
    # The first segment is mapped; the second is so small that it is read.
    stored = arrays(311, 7, 103), arrays(2, seed=1)
    for segment in stored:
        Cache(tmp_path).add(segment)
    assert_holds(Cache(tmp_path), stored[0] | stored[1])


def test_large_segments_are_mapped_rather_than_read(tmp_path: Path) -> None:
    Cache(tmp_path).add(arrays(1009))
    array = Cache(tmp_path)["0-0"]
    assert isinstance(array, np.memmap)
    assert not array.flags.writeable


def test_missing_keys_come_once_and_in_order(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.add({"b": np.zeros((2, 3))})
    assert cache.missing(["c", "b", "a", "c", "b", "a"]) == ["c", "a"]


def test_an_array_without_rows_is_known(tmp_path: Path) -> None:
    mixed = {"none": np.empty((0, 3), np.float32), "one": np.ones((1, 3), np.float32)}
    only_empty = {"nothing": np.empty((0, 3), np.float32)}
    cache = Cache(tmp_path)
    cache.add(mixed)
    cache.add(only_empty)
    for opened in (cache, Cache(tmp_path)):
        assert_holds(opened, mixed | only_empty)
        assert opened["nothing"].shape == (0, 3)


def test_adding_nothing_writes_nothing(tmp_path: Path) -> None:
    Cache(tmp_path / "frames").add({})
    assert not (tmp_path / "frames").exists()


def test_what_two_writers_add_at_once_is_all_there(tmp_path: Path) -> None:
    one, other = Cache(tmp_path), Cache(tmp_path)
    first, second, shared = arrays(3, 5), arrays(7, 2, seed=1), arrays(13, seed=2)
    one.add(first | shared)
    other.add(second | shared)
    assert_holds(Cache(tmp_path), first | second | shared)
    assert len(Cache(tmp_path)) == 5


@pytest.mark.parametrize(
    ("rows", "left"),
    [*((11, n) for n in (0, 1, 60, 200, 347)), *((307, n) for n in (0, 60, 1000, 3000, 6267))],
)
def test_a_segment_that_was_cut_short_is_computed_again(
    tmp_path: Path, rows: int, left: int
) -> None:
    whole, cut = arrays(3), arrays(rows, seed=1)
    Cache(tmp_path).add(whole)
    before = set(tmp_path.glob("*.npy"))
    Cache(tmp_path).add(cut)
    (path,) = set(tmp_path.glob("*.npy")) - before
    content = path.read_bytes()
    assert left < len(content)
    path.write_bytes(content[:left])
    opened = Cache(tmp_path)
    assert_holds(opened, whole)
    assert opened.missing([*whole, *cut]) == list(cut)
    opened.add(cut)
    assert_holds(Cache(tmp_path), whole | cut)


def test_a_segment_whose_array_is_gone_is_computed_again(tmp_path: Path) -> None:
    Cache(tmp_path).add(arrays(3))
    next(tmp_path.glob("*.npy")).unlink()
    assert Cache(tmp_path).missing(["0-0"]) == ["0-0"]


def test_an_array_whose_index_was_never_written_does_not_count(tmp_path: Path) -> None:
    Cache(tmp_path).add(arrays(3))
    next(tmp_path.glob("*.json")).unlink()
    assert len(Cache(tmp_path)) == 0


def test_a_damaged_index_is_left_out(tmp_path: Path) -> None:
    Cache(tmp_path).add({"a": np.zeros((3, 2), np.float32)})
    [index] = tmp_path.glob("*.json")
    index.write_text("{")
    assert "a" not in Cache(tmp_path)


@pytest.mark.parametrize("suffix", [".npy", ".json"])
def test_a_segment_that_another_process_is_still_copying_is_not_removed(
    tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stored, other = arrays(307), arrays(5, seed=1)
    Cache(tmp_path).add(stored)
    [path] = tmp_path.glob(f"*{suffix}")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    opened = Cache(tmp_path)
    assert opened.missing([*stored, *other]) == [*stored, *other]
    assert capsys.readouterr().err == ""
    opened.add(stored)
    opened.add(other)
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{tmp_path}: segments that cannot be read: {path.stem} (")
    assert line.endswith("; what is missing is computed again")
    assert path.read_bytes() == content[: len(content) // 2]
    again = Cache(tmp_path)
    assert_holds(again, stored | other)
    assert again.missing([*stored, *other]) == []
    path.write_bytes(content)  # the copy is complete
    assert_holds(Cache(tmp_path), stored | other)
    assert capsys.readouterr().err == ""


def test_what_is_missing_is_stored_in_segments_and_the_last_may_be_shorter() -> None:
    added: list[Mapping[str, np.ndarray]] = []
    told: list[tuple[str, int, int]] = []
    expected = {letter: np.full((2, 3), n) for n, letter in enumerate("abcdefg")}
    num_computed = compute_missing(
        "letters",
        list(expected),
        lambda: iter(expected.values()),
        added.append,
        lambda *call: told.append(call),
        segment=3,
    )
    assert num_computed == 7
    assert [list(segment) for segment in added] == [["a", "b", "c"], ["d", "e", "f"], ["g"]]
    for key, array in expected.items():
        assert next(segment[key] for segment in added if key in segment) is array
    assert told == [("letters", done, 7) for done in range(8)]


def test_large_arrays_are_stored_by_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlt_ray.features.cache.SEGMENT_BYTES", 5 * 24)
    arrays = {
        letter: np.ones((rows, 3))
        for letter, rows in zip("abcdef", (2, 2, 3, 7, 1, 1), strict=True)
    }
    added: list[Mapping[str, np.ndarray]] = []
    compute_missing(
        "letters", list(arrays), lambda: iter(arrays.values()), added.append, lambda *_: None
    )
    assert [list(segment) for segment in added] == [["a", "b", "c"], ["d"], ["e", "f"]]


def test_where_nothing_is_missing_nothing_is_loaded_and_nothing_told() -> None:
    def fail(*_: object) -> Iterator[np.ndarray]:
        raise AssertionError("called")

    assert compute_missing("letters", [], fail, fail, fail) == 0  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), UserError("f cannot be read")])
def test_what_was_computed_before_an_interruption_is_stored(
    tmp_path: Path, error: BaseException
) -> None:
    def interrupted() -> Iterator[np.ndarray]:
        yield from np.ones((5, 2, 3))
        raise error

    cache = Cache(tmp_path)
    keys = list("abcdefg")
    with pytest.raises(type(error)):
        compute_missing("letters", keys, interrupted, cache.add, lambda *_: None, segment=2)
    assert Cache(tmp_path).missing(keys) == ["f", "g"]


def test_what_takes_long_is_stored_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlt_ray.features.cache.SEGMENT_S", 0.2)
    pauses_s = {"a": 0.0, "b": 0.25, "c": 0.0, "d": 0.0}

    def slow() -> Iterator[np.ndarray]:
        for pause_s in pauses_s.values():
            time.sleep(pause_s)
            yield np.ones((1, 3))

    added: list[Mapping[str, np.ndarray]] = []
    compute_missing("letters", list(pauses_s), slow, added.append, lambda *_: None)
    assert [list(segment) for segment in added] == [["a", "b"], ["c", "d"]]


def test_too_few_arrays_are_an_error(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with pytest.raises(ValueError, match="shorter"):
        compute_missing("one", ["a", "b"], lambda: iter([np.ones(3)]), cache.add, lambda *_: None)
    assert len(cache) == 0
