"""Emotions: how corpora spell them, and the sets of classes that the field counts.

A corpus keeps its own names of emotions. `Labels` say which of them count, and as which class.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

FOUR: Final = ("angry", "happy", "neutral", "sad")
"""The paper's four classes (section 4.1)."""

_SPELLINGS: Final = {
    "angry": "anger ang",
    "happy": "happiness hap joy joyful",
    "neutral": "neutrality neu",
    "sad": "sadness",
    "excited": "excitement exc",
    "frustrated": "frustration fru",
    "surprised": "surprise sur pleasant_surprise pleasant_surprised ps",
    "fearful": "fear fea afraid",
    "disgusted": "disgust dis",
    "calm": "calmness",
    "bored": "boredom bor",
    "contemptuous": "contempt",
    "other": "others oth",
    "no agreement": "no_agreement xxx unknown",
}

EMOTIONS: Final[Mapping[str, str]] = {
    spelling: emotion
    for emotion, spellings in _SPELLINGS.items()
    for spelling in (emotion, *spellings.split())
}
"""The usual emotion of each well-known spelling: English words, and IEMOCAP's codes.

No initials: Emo-DB's A is fear."""

NO_EMOTION: Final = "no agreement"
"""What raters did not agree on, or nobody knows, is no emotion: not even ``all`` counts it."""


def usual(name: str) -> str | None:
    """The usual emotion that a corpus's name spells, in any case; None if it is no such name."""
    return EMOTIONS.get(name.strip().casefold().replace(" ", "_").replace("-", "_"))


@dataclass(frozen=True)
class Labels:
    """Which emotions of a corpus count, and as which class.

    `name`: of a named set, or empty. `classes`: each class with the names that count as it; none
    means that every emotion of the corpus is a class of its own. Other names are left out; unless
    the set is a named one, they must be among `leave_out` (None: any may be).
    """

    name: str
    classes: tuple[tuple[str, tuple[str, ...]], ...]
    leave_out: tuple[str, ...] | None = None

    def __str__(self) -> str:
        return self.name or ", ".join(name for name, _ in self.classes)

    def class_of(self, name: str) -> str | None:
        """The class that a corpus's name of an emotion counts as; None if it is left out.

        Names are compared in any case. One that is not listed counts as the class that lists the
        same emotion in another well-known spelling (`usual`).
        """
        if not self.classes:
            return None if usual(name) == NO_EMOTION else name
        spelt = name.strip().casefold()
        for cls, listed in self.classes:
            if spelt in map(str.casefold, listed):
                return cls
        if spelt in map(str.casefold, self.leave_out or ()):
            return None
        emotion = usual(name)
        same = [cls for cls, listed in self.classes if emotion and emotion in map(usual, listed)]
        return same[0] if same else None


def _named(name: str, classes: Mapping[str, str]) -> Labels:
    """A set whose classes have the emotions in a text, by their usual names."""
    return Labels(name, tuple((k, tuple(v.split())) for k, v in sorted(classes.items())))


_FOUR: Final = {"angry": "angry", "happy": "happy excited", "neutral": "neutral", "sad": "sad"}

NAMED: Final[Mapping[str, Labels]] = {
    "four": _named("four", _FOUR),
    "five": _named("five", {**_FOUR, "frustrated": "frustrated"}),
    "six": _named(
        "six", {**_FOUR, "happy": "happy", "excited": "excited", "frustrated": "frustrated"}
    ),
    "all": Labels("all", ()),
}
"""The named sets. On IEMOCAP, ``five`` and ``six`` are those of the field: four and frustrated, and
the same with excited as a class of its own."""
