"""A cache of arrays on disk, memory-mapped.

Arrays are added and never changed. They are stored in segments: ``<name>.npy`` holds the rows of
many arrays one after the other, and ``<name>.json`` says which rows belong to which key. The JSON
file is written last. A key stands for what its array was computed from, mostly as a digest, so
equal content is computed once for all corpora.

A segment that cannot be read is left out, and its arrays are computed again into another one. It is
not removed: another process may still be copying it.
"""

import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from mlt_ray.errors import UserError
from mlt_ray.parsing import parse_json
from mlt_ray.storage.files import replacing, write_json

SEGMENT = 256
"""Arrays that are computed before they are stored."""

SEGMENT_S: Final = 30.0
"""Seconds after which arrays are stored even where they are fewer: what a crash can cost at most,
and the array under way."""

SEGMENT_BYTES: Final = 2**28
"""Bytes of arrays that are stored even where they are fewer: all layers of a large encoder's states
take 20 MB a recording."""

OTHER_ENCODER: Final = (
    "take the utterance out of the corpus, or name another encoder if one computed them"
)
"""What helps against a feature of a corpus that is not finite."""

FeatureProgress = Callable[[str, int, int], None]
"""Called with what is computed, how many arrays there are now, and how many there will be."""


class Cache:
    """Arrays (rows, …) by key. All have one dtype, and one shape except for the rows.

    `on_written` is called with the path of each new file, after it was written.
    """

    def __init__(
        self, folder: Path, on_written: Callable[[Path], None] = lambda path: None
    ) -> None:
        self.folder = folder
        self._on_written = on_written
        self._segments: dict[Path, np.ndarray] = {}
        self._places: dict[str, tuple[Path, int, int]] = {}
        self._unreadable: list[str] = []
        for index in sorted(folder.glob("*.json")):
            self._open(index)

    def _open(self, index: Path) -> None:
        path = index.with_suffix(".npy")
        try:
            # A file without rows cannot be mapped, so small files are read.
            data = np.load(path, mmap_mode="r" if path.stat().st_size > 1024 else None)
            places = parse_json(index.read_text("utf-8"))
            for start, rows in places.values():
                if not type(start) is type(rows) is int:
                    raise TypeError(f"rows {start!r} and {rows!r}")
                if not 0 <= start <= start + rows <= len(data):
                    raise ValueError(f"rows {start} to {start + rows} of {len(data)}")
        except MemoryError:
            raise
        except Exception as error:  # of many types, if a header is damaged
            self._unreadable.append(f"{index.stem} ({str(error) or type(error).__name__})")
            return
        self._segments[index] = data
        self._places |= {key: (index, start, rows) for key, (start, rows) in places.items()}

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def missing(self, keys: Iterable[str]) -> list[str]:
        """The keys without an array, each once, in their order."""
        return [k for k in dict.fromkeys(keys) if k not in self._places]

    def rows(self, key: str) -> int:
        """Number of rows of the array of `key`."""
        return self._places[key][2]

    def __getitem__(self, key: str) -> np.ndarray:
        index, start, rows = self._places[key]
        return self._segments[index][start : start + rows]

    def add(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Store arrays as one segment. Without arrays, nothing is written."""
        if not arrays:
            return
        if self._unreadable:
            print(
                f"{self.folder}: segments that cannot be read: {', '.join(self._unreadable)}; "
                "what is missing is computed again",
                file=sys.stderr,
            )
            self._unreadable.clear()
        index = self.folder / f"{uuid.uuid4().hex}.json"
        data = np.ascontiguousarray(np.concatenate(list(arrays.values())))
        with replacing(index.with_suffix(".npy")) as temporary, temporary.open("wb") as file:
            # The bytes of np.save; but where the disk is full, this error says so.
            header = np.lib.format.header_data_from_array_1_0(data)
            np.lib.format.write_array_header_1_0(file, header)
            file.write(data.data)
        self._on_written(index.with_suffix(".npy"))
        places, start = {}, 0
        for key, array in arrays.items():
            places[key] = (start, len(array))
            start += len(array)
        write_json(index, places)
        self._on_written(index)
        self._open(index)


def compute_missing(
    what: str,
    keys: Sequence[str],
    compute: Callable[[], Iterator[np.ndarray]],
    add: Callable[[Mapping[str, np.ndarray]], None],
    progress: FeatureProgress,
    segment: int = SEGMENT,
    name_of: Callable[[str], str] = str,
) -> int:
    """Compute the arrays of `keys`, and store them segment by segment; returns how many.

    `compute` is called once, and only if there are keys, since it may load a model. It yields the
    arrays in the order of the keys. `add` stores the arrays of one segment; those of one that
    Ctrl-C or an error of the input cuts short, too. `progress` is called at the start and after
    every array. Raises `UserError` for an array that is not finite, with what `name_of` says of
    its key.
    """
    if not keys:
        return 0
    arrays = compute()
    progress(what, 0, len(keys))
    found: dict[str, np.ndarray] = {}
    num_bytes, began = 0, time.monotonic()
    try:
        for done, (key, array) in enumerate(zip(keys, arrays, strict=True), start=1):
            check_finite(array, f"{what} of {name_of(key)}")
            found[key] = array
            num_bytes += array.nbytes
            is_full = len(found) == segment or num_bytes >= SEGMENT_BYTES
            if is_full or done == len(keys) or time.monotonic() - began >= SEGMENT_S:
                # Taken out before: what cannot be stored is not stored once more below.
                complete, found = found, {}
                add(complete)
                num_bytes, began = 0, time.monotonic()
            progress(what, done, len(keys))
    except (KeyboardInterrupt, UserError):
        add(found)
        raise
    return len(keys)


def check_finite(array: np.ndarray, what: str, remedy: str = OTHER_ENCODER) -> None:
    """Raise `UserError`, which begins with `what`, if a value is infinite or not a number."""
    finite = np.isfinite(array)
    if not finite.all():
        raise UserError(f"{what}: expected finite values, got {array[~finite][0]}; {remedy}")
