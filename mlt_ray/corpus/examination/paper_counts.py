"""How many utterances of IEMOCAP the paper has, and where a corpus has others (section 4.1)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from mlt_ray.corpus.utterance import Corpus
from mlt_ray.labels import FOUR

PAPER_COUNTS: Final[Mapping[str, tuple[int, ...]]] = {
    "1": (229, 278, 384, 194),
    "2": (137, 327, 362, 197),
    "3": (240, 286, 320, 305),
    "4": (327, 303, 258, 143),
    "5": (170, 442, 384, 245),
}
"""Session → utterances per class of `FOUR`. The sums are the paper's, 5531 in all."""


def has_paper_counts(corpus: Corpus) -> bool:
    """Whether a corpus counts as many utterances of each session and class as the paper."""
    found = Counter((u.session, u.emotion) for u in corpus.utterances)
    expected = {
        (session, emotion): number
        for session, counts in PAPER_COUNTS.items()
        for emotion, number in zip(FOUR, counts, strict=True)
    }
    return found == expected


class Difference(NamedTuple):
    """A session and class for which the corpus and the paper have different counts."""

    session: str
    emotion: str
    found: int
    expected: int


def are_comparable(classes: Sequence[str], counts: Mapping[str, Sequence[int]]) -> bool:
    """True if the classes are the paper's and the sessions have IEMOCAP's names."""
    return tuple(classes) == FOUR and set(counts) == set(PAPER_COUNTS)


def differences(
    classes: Sequence[str], counts: Mapping[str, Sequence[int]]
) -> tuple[Difference, ...]:
    """Where the counts by session are not the paper's; none if they are not `are_comparable`."""
    if not are_comparable(classes, counts):
        return ()
    return tuple(
        Difference(session, emotion, found, expected)
        for session, paper in PAPER_COUNTS.items()
        for emotion, found, expected in zip(FOUR, counts[session], paper, strict=True)
        if found != expected
    )
