"""The types `Utterance`, `Problem` and `Corpus`."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mlt_ray.labels import FOUR


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """One recorded sentence, its text and its emotion (one of `FOUR`).

    `alignment` is a file of Sphinx word times, ``None`` if there is none. `audio_sha256` and
    `alignment_sha256` are digests of the files' bytes.
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

    @property
    def label(self) -> int:
        """Index of the emotion in `FOUR`."""
        return FOUR.index(self.emotion)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A fault in a corpus: its place and its reason. A `fatal` one would break a run."""

    where: str
    reason: str
    fatal: bool = True

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Utterances sorted by id, and the problems found while reading them.

    `left_out` counts the utterances with a label outside the four classes, by label (IEMOCAP's
    ``fru``, ``xxx``, …).
    """

    name: str
    utterances: tuple[Utterance, ...]
    problems: tuple[Problem, ...] = ()
    left_out: dict[str, int] = field(default_factory=dict)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of a SHA-256 over everything that can change a result; paths cannot."""
        digest = hashlib.sha256()
        for u in self.utterances:
            row = [u.id, u.audio_sha256, u.text, u.emotion, u.speaker, u.session, u.dialog]
            digest.update(json.dumps([*row, u.alignment_sha256]).encode())
        return digest.hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.utterances)

    def as_dict(self) -> dict[str, Any]:
        """Name and utterances as plain values for JSON, without `problems` and `left_out`."""
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
            utterances.append(
                Utterance(**{**row, "audio": Path(row["audio"]), "alignment": alignment})
            )
        return cls(name=values["name"], utterances=tuple(utterances))
