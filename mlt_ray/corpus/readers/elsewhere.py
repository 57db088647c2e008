"""What of a corpus lies outside its folder: recordings, and texts."""

import functools
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePath, PurePosixPath
from typing import Final

from mlt_ray.corpus.readers.unlisted import SOUND
from mlt_ray.corpus.utterance import Problem, Utterance
from mlt_ray.errors import UserError

_FILM: Final = (".mp4", ".m4a", ".avi", ".mov", ".mkv")
"""Endings of files that hold sound but cannot be read; most are films."""


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """Where recordings lie, and a CSV file of keys and texts; None: in the corpus's own folder."""

    audio: Path | None = None
    texts: Path | None = None


HERE: Final = Elsewhere()
"""Recordings and texts lie in the corpus's own folder."""


class Recordings:
    """The recordings below a folder, which are found by the end of their path, or by name.

    `root` is the folder. Their endings do not count: a corpus names ``a.wav`` and has ``a.flac``.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise UserError(f"{root}: expected a folder of recordings, found none; see --audio")
        self.root = root
        self._by_name: dict[str, list[PurePosixPath]] = {}
        for path in sorted(root.rglob("*")):
            if path.suffix.lower() in (*SOUND, *_FILM) and not path.name.startswith("."):
                found = PurePosixPath(path.relative_to(root).as_posix())
                self._by_name.setdefault(found.stem.lower(), []).append(found)

    def find(
        self, wanted: PurePath, is_right: Callable[[Path], bool] = lambda path: True
    ) -> tuple[Path, ...]:
        """Of the files that are right, those whose path ends most like the `wanted` one."""
        named = self._by_name.get(wanted.stem.lower(), [])
        right = [path for path in named if is_right(self.root / path)]
        # A film is taken only where there is no sound.
        found = [path for path in right if path.suffix.lower() in SOUND] or right
        best = max((_common_end(path, wanted) for path in found), default=0)
        return tuple(self.root / path for path in found if _common_end(path, wanted) == best)

    def find_all(
        self, drafts: Iterable[Utterance], is_right: Callable[[Utterance, Path], bool]
    ) -> list[tuple[Utterance, list[Path]]]:
        """Each draft with the files that may be its recording: what `find` has.

        A file whose path ends more like that of another draft is that one's.
        """
        found = [(d, self.find(d.audio, functools.partial(is_right, d))) for d in drafts]
        nearest: dict[Path, int] = {}
        for draft, files in found:
            for path in files:
                nearest[path] = max(nearest.get(path, 0), self._nearness(path, draft))
        return [(d, [p for p in files if self._nearness(p, d) == nearest[p]]) for d, files in found]

    def _nearness(self, path: Path, draft: Utterance) -> int:
        return _common_end(path.relative_to(self.root), draft.audio)


def _common_end(one: PurePath, other: PurePath) -> int:
    """How many folders above the file the two paths have in common, from below."""
    pairs = zip(reversed(one.parent.parts), reversed(other.parent.parts), strict=False)
    count = 0
    for first, second in pairs:
        if first.lower() != second.lower():
            break
        count += 1
    return count


def locate(
    drafts: Iterable[Utterance],
    root: Path,
    is_right: Callable[[Utterance, Path], bool] = lambda draft, path: True,
    hint: str = "",
) -> tuple[list[Utterance], list[Problem]]:
    """The drafts whose recordings are found below `root`, and what is wrong with the others.

    A draft's `audio` is the path that its corpus names; it is replaced by the file that is found,
    one of those that are `is_right`. Recordings that are not there are counted in notes, by
    emotion. Raises `UserError` if none is there, or if there are films only; `hint` says then what
    is peculiar to the corpus's recordings.
    """
    candidates = Recordings(root).find_all(drafts, is_right)
    found, films, problems = [], [], []
    missing = Counter[str]()
    for draft, files in candidates:
        films += [path for path in files[:1] if path.suffix.lower() in _FILM]
        if not files or files[0].suffix.lower() in _FILM:
            missing[draft.emotion] += 1
        elif len(files) > 1:
            reason = f"has several recordings: {files[0]}, {files[1]}; remove one"
            problems.append(Problem(where=draft.id, reason=reason, emotion=draft.emotion))
        else:
            found.append(replace(draft, audio=files[0]))
    if candidates and not found and not problems:
        raise _nothing_found(root, candidates[0][0].audio, films, hint)
    whole = Counter(draft.emotion for draft, _ in candidates)
    return found, [*problems, *_missing_notes(root, missing, whole, films)]


def _nothing_found(root: Path, wanted: PurePath, films: list[Path], hint: str) -> UserError:
    if not films:
        return UserError(
            f"{root}: expected recordings such as {wanted.as_posix()}, found none below it; "
            f"{hint}say where they are by --audio FOLDER"
        )
    ending = films[0].suffix
    return UserError(
        f"{films[0]}: expected sound such as .wav or .flac, got {ending}; extract it once: "
        f"find {shlex.quote(str(root))} -name '*{ending}' -exec sh -c 'ffmpeg -nostdin -i \"$0\" "
        f'-ac 1 -ar 16000 "${{0%{ending}}}.wav"\' {{}} \\;'
    )


def _missing_notes(
    root: Path, missing: Mapping[str, int], whole: Mapping[str, int], films: list[Path]
) -> list[Problem]:
    """What is not there: of which emotions nothing, and of which others a part.

    A note on a part has its emotion, since it concerns only who counts that.
    """
    if not missing:
        return []
    note = f"{sum(missing.values())} of {sum(whole.values())} are not below {root}"
    gone = [f"{name} ({n})" for name, n in sorted(missing.items()) if n == whole[name]]
    if gone:
        note += f"; nothing is there of {', '.join(gone)}"
    if films:
        note += f"; {len(films)} are there without sound beside them, such as {films[0].name}"
    return [
        Problem(where="recordings", reason=note, fatal=False),
        *(
            Problem(
                where="recordings",
                reason=f"{name} lacks {n} of {whole[name]}, so scores are not those of the whole "
                "corpus",
                fatal=False,
                emotion=name,
            )
            for name, n in sorted(missing.items())
            if n < whole[name]
        ),
    ]
