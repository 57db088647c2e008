"""Speakers whose names differ in their writing alone, such as 1 and 01; sessions, dialogs too."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

from mlt_ray.corpus.texts import natural_key
from mlt_ray.corpus.utterance import Corpus


def alike_speakers(corpus: Corpus) -> tuple[tuple[str, ...], ...]:
    """Groups of two or more speakers of a corpus who may be one (`alike_names`).

    To folds they are as many speakers as there are names, who may stand in train and in test.
    """
    return alike_names(u.speaker for u in corpus.utterances)


def alike_names(names: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Groups of two or more names that may mean one thing; empty if there are none.

    They differ only in upper and lower case, zeros before a number, spaces, ``-``, ``_``, ``.``,
    or in how Unicode writes a character. Names and groups are in natural order.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for name in sorted(sorted(set(names)), key=natural_key):
        groups[_plain(name)].append(name)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def _plain(name: str) -> str:
    """The name as people hear it."""
    joined = re.sub(r"[\s._-]+", "-", unicodedata.normalize("NFKC", name).casefold())
    # Between two numbers it stays: 1-1 is not 11.
    joined = re.sub(r"(?<!\d)-|-(?!\d)", "", joined)
    return re.sub(r"(?<!\d)0+(?=\d)", "", joined)


def alike_text(corpus: Corpus) -> str:
    """A line that names the speakers who may be one; empty if there are none."""
    return alike_line("speakers", (u.speaker for u in corpus.utterances))


def alike_line(noun: str, names: Iterable[str]) -> str:
    """A line that names those of `names` that are alike; empty if there are none."""
    named = "; ".join(" and ".join(group) for group in alike_names(names))
    return f"{noun} whose names are alike count as different ones: {named}" if named else ""
