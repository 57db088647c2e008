"""The four emotion classes of the paper (section 4.1), and IEMOCAP's codes for them."""

from typing import Final, NamedTuple

FOUR: Final = ("angry", "happy", "neutral", "sad")
"""The paper's four classes; a label is an index into this tuple."""

IEMOCAP_CODES: Final = {
    "ang": "angry",
    "hap": "happy",
    "exc": "happy",
    "neu": "neutral",
    "sad": "sad",
    "fru": None,
    "sur": None,
    "fea": None,
    "dis": None,
    "oth": None,
    "xxx": None,
}
"""IEMOCAP's code of an emotion → class; None if utterances with that code are left out."""

EMOTION_NAMES: Final = {**IEMOCAP_CODES, **{name: name for name in FOUR}}
"""Class of each emotion name that users may write: IEMOCAP's codes and the classes themselves."""


class ClassCounts(NamedTuple):
    """Number of utterances per class, in the order of `FOUR`."""

    angry: int
    happy: int
    neutral: int
    sad: int


PAPER_COUNTS: Final = {
    1: ClassCounts(229, 278, 384, 194),
    2: ClassCounts(137, 327, 362, 197),
    3: ClassCounts(240, 286, 320, 305),
    4: ClassCounts(327, 303, 258, 143),
    5: ClassCounts(170, 442, 384, 245),
}
"""IEMOCAP's session → utterances per class. The sums are the paper's, 5531 in all."""
