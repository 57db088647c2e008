"""Reads the IEMOCAP release: ten speakers, five sessions, eleven codes of emotions."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from mlt_ray.corpus.readers.unlisted import unlisted
from mlt_ray.corpus.recordings import Progress, read_recordings
from mlt_ray.corpus.texts import decode, lines_of
from mlt_ray.corpus.utterance import Corpus, Problem, Utterance
from mlt_ray.errors import UserError

CODES: Final = ("ang", "hap", "exc", "neu", "sad", "fru", "sur", "fea", "dis", "oth", "xxx")
"""IEMOCAP's codes of emotions; ``xxx`` where the raters did not agree."""

_SESSIONS: Final = tuple(f"Session{number}" for number in range(1, 6))
_UNNAMED: Final = "XX"
"""In the names of turns that IEMOCAP has not numbered, and never uses."""

_LABEL = re.compile(r"\[[^\]]*\]\s+(\S+)\s+(\S+)")
_TRANSCRIPT = re.compile(r"(Ses\S+)\s+\[[^\]]*\]\s*:(.*)")
_ID = re.compile(r"(?P<dialog>Ses0(?P<session>[1-5])[FM]_\w+)_(?P<letter>[FM])\d+")


@dataclass(frozen=True)
class _Sources:
    """Contents of the text files by utterance id; two values for one id are a conflict."""

    root: Path
    labels: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    texts: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    sessions: dict[str, Path] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    guessed: list[tuple[str, str]] = field(default_factory=list)
    """Files that are read as Windows-1252, each with what was guessed."""


def read_iemocap(root: Path, progress: Progress | None = None) -> Corpus:
    """All utterances of a folder that holds ``Session1`` to ``Session5``; emotions are `CODES`.

    `root` may also be one of the sessions, or the folder above the one that holds them. An
    utterance that cannot be used becomes a fatal `Problem` and is left out. A note counts
    transcripts without a label.
    Raises `UserError` if there is no session.
    """
    top = find_iemocap(root)
    if top is None:
        raise UserError(f"{root}: expected Session1 to Session5 with dialog/EmoEvaluation in them")
    sources = _Sources(top)
    sessions = [top / name for name in _SESSIONS if (top / name).is_dir()]
    for session in sessions:
        _read_session(session, sources)
    drafts = []
    for name in sorted(sources.labels):
        result = _draft(name, sources)
        if isinstance(result, Utterance):
            drafts.append(result)
        else:
            sources.problems.append(result)
    if sources.guessed:
        [(first, guess), *more] = sources.guessed
        where = f"{first} and {len(more)} more files" if more else first
        sources.problems.append(Problem(where=where, reason=guess, fatal=False))
    sources.problems.extend(_without_label(sources))
    utterances, unusable = read_recordings(drafts, progress)
    return Corpus(
        name=root.resolve().name,
        utterances=tuple(utterances),
        problems=(*sources.problems, *unusable),
        unlisted=_unlisted(sources, sessions),
    )


def _without_label(sources: _Sources) -> Iterator[Problem]:
    """A note that counts the transcripts that no label line names, if there are any."""
    if alone := sorted(n for n in sources.texts if n not in sources.labels and _UNNAMED not in n):
        reason = f"{len(alone)} are of no utterance with a label, such as that of {alone[0]}"
        yield Problem(where="transcripts", reason=reason, fatal=False)


def _unlisted(sources: _Sources, sessions: Sequence[Path]) -> tuple[str, ...]:
    """Recordings that no label line names, as paths below the sessions' folder."""
    wavs = [session / "sentences" / "wav" for session in sessions]
    folders = [p for wav in wavs if wav.is_dir() for p in sorted(wav.iterdir()) if p.is_dir()]
    named = (
        sources.sessions[name] / "sentences" / "wav" / name.rpartition("_")[0] / f"{name}.wav"
        for name in sources.labels
    )
    found = unlisted(sources.root, named, [*wavs, *folders])
    return tuple(path for path in found if _UNNAMED not in path.rpartition("/")[2])


def find_iemocap(path: Path) -> Path | None:
    """The folder that holds the sessions: `path`, its parent, or its only such subfolder.

    ``None`` if there is none. Raises `UserError` if several subfolders hold sessions.
    """
    if not path.is_dir():
        return None
    if has_sessions(path):
        return path
    if path.resolve().name in _SESSIONS and has_sessions(path.resolve().parent):
        return path.resolve().parent
    below = [p for p in sorted(path.iterdir()) if p.is_dir() and has_sessions(p)]
    if len(below) > 1:
        names = ", ".join(p.name for p in below)
        raise UserError(f"{path}: expected one IEMOCAP, got {names}; name one of them")
    return below[0] if below else None


def has_sessions(path: Path) -> bool:
    """True if `path` itself holds the sessions."""
    return any((path / name / "dialog" / "EmoEvaluation").is_dir() for name in _SESSIONS)


def dialog_kind(dialog: str | None) -> Literal["impro", "script"] | None:
    """``impro`` or ``script`` for a dialog of IEMOCAP (improvised or scripted), else ``None``."""
    if dialog is None:
        return None
    return "impro" if "_impro" in dialog else "script" if "_script" in dialog else None


def _read_session(session: Path, sources: _Sources) -> None:
    evaluations = session / "dialog" / "EmoEvaluation"
    transcriptions = session / "dialog" / "transcriptions"
    for folder in (evaluations, transcriptions):
        if not folder.is_dir():
            where = folder.relative_to(sources.root).as_posix()
            sources.problems.append(Problem(where=where, reason="folder is missing"))
    for file, line in _lines(evaluations, sources):
        # Other lines are the header and the labels of single raters.
        if line.startswith("["):
            _read_label(line, file, session, sources)
    for _, line in _lines(transcriptions, sources):
        match = _TRANSCRIPT.match(line)
        if match:
            sources.texts[match[1]].add(match[2].strip())


def _lines(folder: Path, sources: _Sources) -> Iterator[tuple[Path, str]]:
    """Each line of the folder's ``.txt`` files, sorted by file, without macOS's ``._`` files."""
    for file in sorted(folder.glob("*.txt")):
        if file.is_file() and not file.name.startswith("."):
            content, where = decode(file.read_bytes()), file.relative_to(sources.root).as_posix()
            if not content.is_sure:
                sources.problems.append(Problem(where=where, reason=content.guess))
            elif content.guess:
                sources.guessed.append((where, content.guess))
            for line in lines_of(content.text):
                yield file, line


def _read_label(line: str, file: Path, session: Path, sources: _Sources) -> None:
    where = file.relative_to(sources.root).as_posix()
    match = _LABEL.match(line)
    if match is None:
        reason = f"expected [start - end], utterance and label, got {line[:60]!r}"
        sources.problems.append(Problem(where=where, reason=reason))
    elif _UNNAMED not in match[1]:
        sources.labels[match[1]].add(match[2])
        sources.sessions.setdefault(match[1], session)
        sources.origins.setdefault(match[1], where)


def _draft(name: str, sources: _Sources) -> Utterance | Problem:
    """The utterance without what its audio tells, or why it cannot be used."""
    where = f"{name} ({sources.origins[name]})"
    codes, texts = sorted(sources.labels[name]), sorted(sources.texts.get(name, ()))
    if unknown := [code for code in codes if code not in CODES]:
        known = ", ".join(CODES)
        return Problem(where=where, reason=f"unknown label {unknown[0]!r}; known: {known}")
    if len(codes) > 1:
        return Problem(where=where, reason=f"has two labels: {', '.join(codes)}")
    [emotion] = codes
    match = _ID.fullmatch(name)
    if match is None:
        reason = "expected an id such as Ses01F_impro01_M003"
        return Problem(where=where, reason=reason, emotion=emotion)
    if len(texts) != 1:
        reason = "has no transcript" if not texts else f"has {len(texts)} different transcripts"
        return Problem(where=where, reason=reason, emotion=emotion)
    sentences = sources.sessions[name] / "sentences"
    alignment = sentences / "ForcedAlignment" / match["dialog"] / f"{name}.wdseg"
    return Utterance(
        id=name,
        audio=sentences / "wav" / match["dialog"] / f"{name}.wav",
        text=texts[0],
        emotion=emotion,
        # The letter after the session's number names the wearer of the markers, not the speaker.
        speaker=f"Ses0{match['session']}{match['letter']}",
        session=match["session"],
        dialog=match["dialog"],
        alignment=alignment if alignment.is_file() else None,
        duration_s=0.0,
        audio_sha256="",
    )
