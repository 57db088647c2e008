"""What a corpus is: utterances, a fingerprint of their content, and what is wrong with them."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mlt_ray.labels import CLASSES


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """One recorded sentence; the digests are those of the files' bytes (None: no alignment)."""

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
        """Index of the emotion in `CLASSES`."""
        return CLASSES.index(self.emotion)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something wrong with a corpus: where, and why. A `fatal` one would break a run."""

    where: str
    reason: str
    fatal: bool = True

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Utterances sorted by id, and the problems met while reading them.

    `left_out` counts labels that the four classes leave out (IEMOCAP's ``fru``, ``xxx``, …).
    """

    name: str
    utterances: tuple[Utterance, ...]
    problems: tuple[Problem, ...] = ()
    left_out: dict[str, int] = field(default_factory=dict)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits over everything that can change a number, independent of the location."""
        digest = hashlib.sha256()
        for u in self.utterances:
            row = [u.id, u.audio_sha256, u.text, u.emotion, u.speaker, u.session, u.dialog]
            digest.update(json.dumps([*row, u.alignment_sha256]).encode())
        return digest.hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.utterances)

    def as_dict(self) -> dict[str, Any]:
        """Name and utterances as plain values, for JSON; problems stay behind."""
        rows = [dataclasses.asdict(u) for u in self.utterances]
        for row in rows:
            row["audio"] = str(row["audio"])
            row["alignment"] = str(row["alignment"]) if row["alignment"] else None
        return {"name": self.name, "utterances": rows}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Corpus":
        """The corpus that `as_dict` described."""
        utterances = []
        for row in values["utterances"]:
            alignment = Path(row["alignment"]) if row["alignment"] else None
            utterances.append(
                Utterance(**{**row, "audio": Path(row["audio"]), "alignment": alignment})
            )
        return cls(name=values["name"], utterances=tuple(utterances))
