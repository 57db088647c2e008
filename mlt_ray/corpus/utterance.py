"""The types `Utterance`, `Spoken`, `Problem` and `Corpus`."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from mlt_ray.corpus.audio import Sound


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


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """One recorded sentence, its text and its emotion, by the name that its corpus has for it.

    `parts`: ``train``, ``dev`` or ``test`` in each fold that comes with the corpus, empty where it
    is in none of them; no folds come with most corpora. `alignment` is a file of Sphinx word times,
    None if there is none. `audio_sha256` and `alignment_sha256` are digests of the files' bytes.
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
    counts the others by their emotion.
    """

    name: str
    utterances: tuple[Utterance, ...]
    classes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    left_out: dict[str, int] = field(default_factory=dict)

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
        rows = [dataclasses.asdict(u) for u in self.utterances]
        for row in rows:
            row["audio"] = str(row["audio"])
            row["alignment"] = str(row["alignment"]) if row["alignment"] else None
        return {"name": self.name, "utterances": rows}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Corpus":
        """The corpus from the values of `as_dict`."""
        utterances = []
        for row in values["utterances"]:
            alignment = Path(row["alignment"]) if row["alignment"] else None
            paths = {"audio": Path(row["audio"]), "alignment": alignment}
            utterances.append(Utterance(**{**row, **paths, "parts": tuple(row.get("parts", ()))}))
        return cls(name=values["name"], utterances=tuple(utterances))
