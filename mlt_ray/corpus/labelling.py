"""Selects the utterances of a corpus that count, and gives them their classes."""

import dataclasses
import difflib
import functools
from collections import Counter
from typing import Final

from mlt_ray.corpus.texts import in_natural_order
from mlt_ray.corpus.utterance import Corpus, Problem
from mlt_ray.errors import UserError
from mlt_ray.labels import EMOTIONS, Labels, usual

_MISSPELT: Final = 0.8
"""Similarity (0–1, of `difflib`) from which an unknown name counts as a misspelt one."""

_SHORTEST: Final = 4
"""Names of fewer letters are codes, and taken for misspelt ones of nothing."""


@functools.lru_cache(maxsize=16)
def select(corpus: Corpus, labels: Labels) -> Corpus:
    """The utterances of a corpus, as it was read, that `labels` count, with their classes.

    The class of an utterance becomes its emotion. `left_out` counts the others by their names, and
    their problems are dropped. A name that a named set leaves out becomes a fatal `Problem` if it
    looks like a misspelt one. A corpus without classes of its own is left as it is by the set
    ``all``, but for what is no emotion.
    """
    counts = Counter(u.emotion for u in corpus.utterances)
    # Also those that could not be read, which does not matter if they do not count.
    named = counts + Counter(p.emotion for p in corpus.problems if p.emotion and p.fatal)
    classes = {name: labels.class_of(name) for name in named}
    left_out = {name: n for name, n in sorted(named.items()) if classes[name] is None}
    return dataclasses.replace(
        corpus,
        utterances=tuple(
            dataclasses.replace(u, emotion=emotion)
            for u in corpus.utterances
            if (emotion := classes[u.emotion]) is not None
        ),
        classes=tuple(name for name, _ in labels.classes)
        or in_natural_order(counts.keys() - left_out.keys()),
        problems=(
            *(p for p in corpus.problems if p.emotion is None or labels.class_of(p.emotion)),
            *_misspelt(left_out, labels),
        ),
        left_out=left_out,
    )


def absent_text(corpus: Corpus, labels: Labels) -> str:
    """Says which classes no utterance of a corpus counts as, and what it has; empty if all do."""
    selected = select(corpus, labels)
    present = {u.emotion for u in selected.utterances}
    absent = [name for name in selected.classes if name not in present]
    if not absent or not corpus.utterances:
        return ""
    names = sorted({u.emotion for u in corpus.utterances})
    near = difflib.get_close_matches(absent[0].casefold(), [*names, *EMOTIONS], 1, _MISSPELT)
    asked = f" (did you mean {near[0]}?)" if near and near[0] != absent[0] else ""
    return (
        f"labels {labels}: expected utterances of every class, found none of "
        f"{' or '.join(absent)}{asked}; the corpus has {', '.join(names)}: set labels to these"
    )


def check_labels(corpus: Corpus, labels: Labels) -> None:
    """`UserError` if `labels` make fewer than two classes of a corpus, or do not say all of it.

    A set that is no named one must count or leave out every name of the corpus.
    """
    selected = select(corpus, labels)
    if corpus.utterances and len(selected.classes) < 2:
        raise UserError(
            f"corpus {corpus.name}: labels {labels}: expected two classes or more, got "
            f"{', '.join(selected.classes) or 'none'}"
        )
    if labels.leave_out is None:
        return
    allowed = {name.casefold() for name in labels.leave_out}
    for name, count in selected.left_out.items():
        if name.strip().casefold() not in allowed:
            raise UserError(
                f"corpus {corpus.name}: labels: expected every emotion to be counted or left out, "
                f"got {name!r} ({count} utterances), which is neither; add it to a class or to "
                "leave_out, or set leave_out: rest"
            )


def _misspelt(left_out: dict[str, int], labels: Labels) -> list[Problem]:
    """Names that nobody knows but that look like a known one, if the set is a named one."""
    problems = []
    for name, count in left_out.items():
        if not labels.name or usual(name) is not None:
            continue
        near = difflib.get_close_matches(name.casefold(), EMOTIONS, n=1, cutoff=_MISSPELT)
        if near and len(near[0]) >= _SHORTEST:
            reason = (
                f"emotion {name!r} of {count} utterances is unknown; did you mean {near[0]}? "
                "correct it, or set labels to what counts"
            )
            problems.append(Problem(where="labels", reason=reason))
    return problems
