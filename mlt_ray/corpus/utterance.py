"""The types `Utterance`, `Spoken`, `Problem` and `Corpus`."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from mlt_ray.corpus.audio import Sound
from mlt_ray.corpus.texts import same_words_key
from mlt_ray.errors import UserError


class Spoken(Protocol):
    """What features are made of: a recording, its text, and word times if there are any."""

    @property
    def id(self) -> str: ...
    @property
    def audio(self) -> Sound: ...
    @property
    def text(self) -> str: ...
    @property
    def speaker(self) -> str: ...
    @property
    def duration_s(self) -> float: ...
    @property
    def alignment(self) -> Path | None: ...


class Heard(NamedTuple):
    """What a recording is: its rate, its channels, and a digest of their mean.

    Files of several formats may hold one sound.
    """

    sample_rate_hz: int
    num_channels: int
    sound: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Utterance:
    """One recorded sentence, its text and its emotion, by the name that its corpus has for it.

    `parts`: ``train``, ``dev`` or ``test`` in each fold that comes with the corpus, empty where it
    is in none of them; no folds come with most corpora. `alignment` is a file of Sphinx word times,
    None if there is none. `audio_sha256` and `alignment_sha256` are digests of the files' bytes.
    `heard` is what its reader has heard, and None in a corpus from the store.
    """

    id: str
    audio: Path
    text: str
    emotion: str
    speaker: str
    session: str | None = None
    dialog: str | None = None
    alignment: Path | None = None
    duration_s: float
    audio_sha256: str
    alignment_sha256: str | None = None
    parts: tuple[str, ...] = ()
    heard: Heard | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A fault in a corpus: its place and its reason. A `fatal` one would break a run.

    `emotion`: of the utterance that has the fault, if it is one of one utterance.
    """

    where: str
    reason: str
    fatal: bool = True
    emotion: str | None = None

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Utterances sorted by id, and the problems found while reading them.

    A reader gives all utterances of a corpus, without `classes`. Training sees those that count,
    each with one of the classes as its emotion (`mlt_ray.corpus.labelling.select`); `left_out`
    counts the others by their emotion. `unlisted`: recordings without a label, as paths below the
    corpus, which are no utterances.
    """

    name: str
    utterances: tuple[Utterance, ...]
    classes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    left_out: dict[str, int] = field(default_factory=dict)
    unlisted: tuple[str, ...] = ()

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of a SHA-256 over everything that can change a result; paths cannot."""
        digest = hashlib.sha256()
        for u in self.utterances:
            row = [u.id, u.audio_sha256, u.text, u.emotion, u.speaker, u.session, u.dialog]
            given = [list(u.parts)] if u.parts else []
            digest.update(json.dumps([*row, u.alignment_sha256, *given]).encode())
        return digest.hexdigest()[:16]

    @cached_property
    def text_keys(self) -> tuple[str, ...]:
        """The words of each text as one string: equal for texts with the same words."""
        return tuple(same_words_key(u.text) for u in self.utterances)

    @cached_property
    def labels(self) -> tuple[int, ...]:
        """Index in `classes` of every utterance's emotion."""
        index = {name: n for n, name in enumerate(self.classes)}
        return tuple(index[u.emotion] for u in self.utterances)

    def __hash__(self) -> int:
        return hash((self.fingerprint, self.classes))

    def __len__(self) -> int:
        return len(self.utterances)

    def as_dict(self) -> dict[str, Any]:
        """Name and utterances as plain values for JSON, without classes, problems and the rest."""
        return {"name": self.name, "utterances": [_values(u) for u in self.utterances]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Corpus":
        """The corpus from the values of `as_dict`; `UserError` for other values."""
        try:
            utterances = tuple(map(_utterance, values["utterances"]))
            if not isinstance(values["name"], str):
                raise TypeError(f"name {values['name']!r}")
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise UserError(
                f"table of a corpus in the store: expected utterances, got {error!r}; delete it "
                "from corpora: the next run on the corpus writes it again"
            ) from error
        return cls(name=values["name"], utterances=utterances)


_STORED: Final = tuple(f.name for f in dataclasses.fields(Utterance) if f.compare)
"""The fields of an utterance that belong into the store."""


def _utterance(row: Mapping[str, Any]) -> Utterance:
    """The utterance from its plain values; `TypeError` and its like for other values."""
    alignment = Path(row["alignment"]) if row["alignment"] else None
    paths = {"audio": Path(row["audio"]), "alignment": alignment}
    made = Utterance(**{**row, **paths, "parts": tuple(row.get("parts", ()))})
    for name in ("id", "text", "emotion", "speaker", "audio_sha256"):
        if not isinstance(getattr(made, name), str):
            raise TypeError(f"{name} {getattr(made, name)!r}")
    for name in ("session", "dialog", "alignment_sha256"):
        if not isinstance(getattr(made, name), str | None):
            raise TypeError(f"{name} {getattr(made, name)!r}")
    if type(made.duration_s) not in (int, float) or not 0 <= made.duration_s < math.inf:
        raise TypeError(f"duration_s {made.duration_s!r}")
    return made


def _values(utterance: Utterance) -> dict[str, Any]:
    """An utterance as plain values for JSON."""
    row = {name: getattr(utterance, name) for name in _STORED}
    row["audio"] = str(utterance.audio)
    row["alignment"] = str(utterance.alignment) if utterance.alignment else None
    return row


def unlisted_text(unlisted: Sequence[str]) -> str:
    """A line that counts recordings without a label and shows the first; empty without any."""
    if not unlisted:
        return ""
    what = "1 recording has" if len(unlisted) == 1 else f"{len(unlisted)} recordings have"
    return f"{what} no label, which leaves them out, such as {unlisted[0]}"
