"""Intervals of pooled scores by resampling groups of test utterances, and paired differences.

Utterances of one dialog or speaker resemble each other, so whole groups are drawn, with
replacement, as often as there are groups. Shapes: G groups, K classes, R repeats.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from mlt_ray.corpus.utterance import Utterance

if TYPE_CHECKING:
    from pandas import DataFrame

NUM_DRAWS: Final = 2000
LEVEL: Final = 0.95
"""Share of the draws that an interval holds."""

FEW_GROUPS: Final = 20
"""With fewer groups, intervals by resampling are known to be too narrow (*assumed* bound)."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """The middle `LEVEL` of the draws of a score or a difference of scores."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many test utterances of each group and class there are, and how many were right.

    Both are (G, K) over all runs of a row; `groups` has the G names.
    """

    groups: tuple[str, ...]
    classes: tuple[str, ...]
    support: Floats
    hits: Floats

    @classmethod
    def of(cls, predictions: "DataFrame", group_of: Mapping[str, str]) -> "Counts":
        """Counts of a row's test predictions (`Results.predictions`); `group_of` by utterance.

        An utterance without a group is one of its own.
        """
        from pandas import factorize

        # Names are looked up once each: there are millions of predictions.
        numbers, names = factorize(predictions["utterance"])
        own, groups = factorize(np.array([group_of.get(n, n) for n in names], object), sort=True)
        columns, classes = factorize(predictions["emotion"], sort=True)
        shape = len(groups), len(classes)
        places = own[numbers] * shape[1] + columns
        right = (predictions["emotion"] == predictions["predicted"]).to_numpy(float)
        count = shape[0] * shape[1]
        return cls(
            groups=tuple(map(str, groups)),
            classes=tuple(map(str, classes)),
            support=np.bincount(places, minlength=count).reshape(shape).astype(float),
            hits=np.bincount(places, right, count).reshape(shape).astype(float),
        )


def pooled_wa(support: Floats, hits: Floats) -> Floats:
    """(…, K) counts → (…) share of utterances that are right."""
    return hits.sum(axis=-1) / support.sum(axis=-1)


def pooled_ua(support: Floats, hits: Floats) -> Floats:
    """(…, K) counts → (…) mean over the classes that have utterances of the share that is right."""
    has = support > 0
    recall = np.divide(hits, support, out=np.zeros_like(hits), where=has)
    return recall.sum(axis=-1) / has.sum(axis=-1)


POOLED: Final[Mapping[str, Callable[[Floats, Floats], Floats]]] = {"wa": pooled_wa, "ua": pooled_ua}


def interval(score: str, *rows: Counts) -> Interval | None:
    """Interval of the pooled score of a row, or of the first row's minus the second's.

    Two rows must have predictions for the same utterances. None for a single group, of which there
    is nothing else to draw.
    """
    from scipy.stats import bootstrap

    first, *others = rows
    if any(other.groups != first.groups for other in others):
        raise ValueError("rows to compare have other test utterances")

    if len(first.groups) < 2:
        return None

    def statistic(drawn: NDArray[np.int64], axis: int = -1) -> Floats:
        # `axis` is the last one: a draw is a list of groups.
        found = [POOLED[score](r.support[drawn].sum(-2), r.hits[drawn].sum(-2)) for r in rows]
        return found[0] if len(found) == 1 else found[0] - found[1]

    result = bootstrap(
        (np.arange(len(first.groups)),),
        statistic,
        n_resamples=NUM_DRAWS,
        batch=100,
        vectorized=True,
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    low, high = result.confidence_interval
    return Interval(low=float(low), high=float(high))


def groups_of(utterances: Sequence[Utterance]) -> tuple[str, dict[str, str]]:
    """What the groups are, ``dialog`` or ``speaker``, and the group of each utterance by its id.

    ``utterance`` where nothing is known of them.
    """
    if not utterances:
        return "utterance", {}
    if all(u.dialog for u in utterances):
        return "dialog", {u.id: str(u.dialog) for u in utterances}
    return "speaker", {u.id: u.speaker for u in utterances}
