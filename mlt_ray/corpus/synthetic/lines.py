"""The type `Line`, an utterance to be spoken, and the reader of CSV files of lines."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from mlt_ray.corpus.readers.table import open_table
from mlt_ray.corpus.synthetic.speech import Prosody
from mlt_ray.corpus.synthetic.voices import VOICES
from mlt_ray.errors import UserError
from mlt_ray.labels import FOUR, NAMED

_COLUMNS: Final = ("session", "speaker", "emotion", "text")


@dataclass(frozen=True, kw_only=True)
class Line:
    """An utterance to be spoken: a speaker of `VOICES`, an emotion of `FOUR` and a text.

    Without a prosody, `write_corpus` draws one, mostly of the same emotion. `sound`, if given, is
    spoken instead of the text and gets no word times, such as a laugh spelt ``ha ha``. Scripted
    lines form dialogs of their own, as in IEMOCAP.
    """

    speaker: str
    emotion: str
    text: str
    prosody: Prosody | None = None
    sound: str | None = None
    scripted: bool = False

    @property
    def session(self) -> int:
        """1 to 5."""
        return int(self.speaker[4])


def read_texts(path: Path) -> list[Line]:
    """Lines of a CSV file with the columns session, speaker, emotion and text.

    Other columns are ignored. The session is 1 to 5, the emotion a class or IEMOCAP's code of one.
    A session has one or two speakers with names as ``Ses01F`` and ``Ses01M``. If one has another
    name, the speakers of that session become F and M in the order of their names. Raises
    `UserError` with file and line for anything else.
    """
    rows = list(_rows(path))
    if not rows:
        raise UserError(f"{path}: expected at least one row below the header, got none")
    names = _speakers(path, rows)
    return [
        Line(speaker=names[row.session, row.speaker], emotion=row.emotion, text=row.text)
        for row in rows
    ]


class _Row(NamedTuple):
    number: int
    session: int
    speaker: str
    emotion: str
    text: str


def _rows(path: Path) -> Iterator[_Row]:
    table = open_table(path, _COLUMNS, is_strict=True)
    for number, cells in table.rows():
        where = f"{path}:{number}"
        if len(cells) != len(table.columns):
            raise UserError(
                f"{where}: expected as many cells as the header has, got more or fewer; "
                "quote texts that hold commas"
            )
        yield _row(dict(zip(table.columns, cells, strict=True)), where, number)


def _row(cells: dict[str, str], where: str, number: int) -> _Row:
    session, speaker, emotion, text = (cells[column] for column in _COLUMNS)
    if session.strip() not in {"1", "2", "3", "4", "5"}:
        raise UserError(f"{where}: expected a session from 1 to 5, got {session!r}; number it so")
    label = NAMED["four"].class_of(emotion)
    if label is None:
        known = ", ".join(FOUR)
        raise UserError(
            f"{where}: expected an emotion out of {known}, got {emotion!r}; rename it or leave "
            "the row out"
        )
    if not speaker.strip():
        raise UserError(f"{where}: expected a speaker such as Ses0{session}F, got none; name one")
    return _Row(number, int(session), speaker.strip(), label, text)


def _speakers(path: Path, rows: Sequence[_Row]) -> dict[tuple[int, str], str]:
    """Name in `VOICES` for each session and speaker name of the file."""
    names: dict[tuple[int, str], str] = {}
    for session in sorted({row.session for row in rows}):
        found = sorted({row.speaker for row in rows if row.session == session})
        own = (f"Ses0{session}F", f"Ses0{session}M")
        for row in rows:
            if row.session == session and row.speaker in VOICES and row.speaker not in own:
                raise UserError(
                    f"{path}:{row.number}: expected a speaker of session {session}, got "
                    f"{row.speaker}; correct the session or the speaker"
                )
        if len(found) > 2:
            raise UserError(
                f"{path}: expected at most two speakers in session {session}, got {len(found)} "
                f"({', '.join(found[:3])}, …); give each pair of speakers a session of its own"
            )
        voices = found if set(found) <= set(own) else own
        names |= {(session, name): voice for name, voice in zip(found, voices, strict=False)}
    return names
