"""A content-addressed cache of arrays, memory-mapped, that only grows.

Arrays are stored by key in segments: ``<name>.npy`` holds the rows of many arrays one after the
other, ``<name>.json`` says which rows are whose and is written last. A key is the digest of what
an array was computed from, so equal content is computed once, whichever corpus asks.
"""

import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from mlt_ray.storage.files import replacing, write_json

SEGMENT = 256
"""Arrays that are computed before they are stored: what an interruption can cost at most."""

FeatureProgress = Callable[[str, int, int], None]
"""Called with what is computed, how many arrays are stored, and how many there will be."""


class Cache:
    """Arrays of (rows, …) by key; rows vary, the rest of the shape and the dtype do not.

    `written` is called with each file that has been written.
    """

    def __init__(self, folder: Path, written: Callable[[Path], None] = lambda path: None) -> None:
        self.folder = folder
        self._written = written
        self._segments: dict[Path, np.ndarray] = {}
        self._places: dict[str, tuple[Path, int, int]] = {}
        for index in sorted(folder.glob("*.json")):
            self._open(index)

    def _open(self, index: Path) -> None:
        path = index.with_suffix(".npy")
        try:
            # A file with no rows cannot be mapped.
            data = np.load(path, mmap_mode="r" if path.stat().st_size > 1024 else None)
            places = json.loads(index.read_text())
        except (FileNotFoundError, ValueError, EOFError):
            # A damaged segment: forget it, so that it is fetched or computed again.
            index.unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            return
        self._segments[index] = data
        self._places |= {key: (index, start, rows) for key, (start, rows) in places.items()}

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def missing(self, keys: Iterable[str]) -> list[str]:
        """The keys that are not here, each once, in order."""
        return [k for k in dict.fromkeys(keys) if k not in self._places]

    def rows(self, key: str) -> int:
        """How many rows the array of `key` has."""
        return self._places[key][2]

    def __getitem__(self, key: str) -> np.ndarray:
        index, start, rows = self._places[key]
        return self._segments[index][start : start + rows]

    def add(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Store one segment; arrays of one dtype, and of one shape but for their rows."""
        if not arrays:
            return
        index = self.folder / f"{uuid.uuid4().hex}.json"
        data = np.ascontiguousarray(np.concatenate(list(arrays.values())))
        with replacing(index.with_suffix(".npy")) as temporary, temporary.open("wb") as file:
            # As np.save does, whose error does not say that the disk is full.
            header = np.lib.format.header_data_from_array_1_0(data)
            np.lib.format.write_array_header_1_0(file, header)
            file.write(data.data)
        self._written(index.with_suffix(".npy"))
        places, start = {}, 0
        for key, array in arrays.items():
            places[key] = (start, len(array))
            start += len(array)
        write_json(index, places)
        self._written(index)
        self._open(index)


def compute_missing(
    what: str,
    keys: Sequence[str],
    compute: Callable[[], Iterator[np.ndarray]],
    add: Callable[[Mapping[str, np.ndarray]], None],
    progress: FeatureProgress,
    segment: int = SEGMENT,
) -> int:
    """Compute the arrays of `keys`, and store them segment by segment; returns how many.

    `compute` is called once, and only if there are keys, since it may load a model. It yields the
    arrays in the order of the keys. `add` stores the arrays of one segment. `progress` is called
    at the start and after every segment.
    """
    if not keys:
        return 0
    arrays = compute()
    progress(what, 0, len(keys))
    for start in range(0, len(keys), segment):
        chunk = keys[start : start + segment]
        add(dict(zip(chunk, islice(arrays, len(chunk)), strict=True)))
        progress(what, start + len(chunk), len(keys))
    return len(keys)
