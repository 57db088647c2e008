"""Speakers whose names differ in their writing alone, such as 1 and 01."""

import re
import unicodedata
from collections import defaultdict

from mlt_ray.corpus.texts import natural_key
from mlt_ray.corpus.utterance import Corpus


def alike_speakers(corpus: Corpus) -> tuple[tuple[str, ...], ...]:
    """Groups of two or more speakers of a corpus who may be one; empty if there are none.

    Their names differ only in upper and lower case, zeros before a number, spaces, or in how
    Unicode writes a character. To folds they are as many speakers as there are names, who may stand
    in train and in test. Names and groups are in natural order.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    names = sorted({u.speaker for u in corpus.utterances})
    for name in sorted(names, key=natural_key):
        groups[_plain(name)].append(name)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def _plain(name: str) -> str:
    """The name as people hear it."""
    folded = "".join(unicodedata.normalize("NFKC", name).casefold().split())
    return re.sub(r"(?<!\d)0+(?=\d)", "", folded)


def alike_text(corpus: Corpus) -> str:
    """A line that names the speakers who may be one; empty if there are none."""
    named = "; ".join(" and ".join(group) for group in alike_speakers(corpus))
    return f"speakers whose names are alike count as different ones: {named}" if named else ""
