"""Which numbers of layers the rows of a study differ in, and their scores as a figure."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from mlt_ray.reports.page import figures
from mlt_ray.reports.page.figures import Pooled
from mlt_ray.reports.page.settings import flattened
from mlt_ray.storage.record import RowRecord


def layer_counts_of(rows: Sequence[RowRecord], scores: Sequence[Pooled]) -> Figure | None:
    """The rows' scores by numbers of layers, if these alone are what at least three rows differ in.

    Numbers that always go together count as one. More than two are not drawn, nor are rows of which
    two have the same: None.
    """
    settings = [flattened(row.spec) for row in rows]
    keys = dict.fromkeys(key for values in settings for key in values)
    differing = [key for key in keys if len({values.get(key) for values in settings}) > 1]
    if len(rows) < 3 or not all(key.endswith("_layers") for key in differing):
        return None
    groups: dict[tuple[int, ...], list[str]] = {}
    for key in differing:
        texts = [values.get(key, "") for values in settings]
        if not all(text.isdigit() for text in texts):
            return None
        groups.setdefault(tuple(map(int, texts)), []).append(key)
    counts = list(zip(*groups, strict=True))
    if not 1 <= len(groups) <= 2 or len(set(counts)) < len(rows):
        return None
    names = [" and ".join(_spoken(key) for key in own) for own in groups.values()]
    return figures.layer_counts(counts, scores, names)


def _spoken(key: str) -> str:
    """A setting's name as words: layers of the text encoder."""
    return key.rpartition(".")[2].replace("_", " ")
