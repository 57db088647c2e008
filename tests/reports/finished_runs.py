"""Makes up reports of finished runs with given scores."""

from dataclasses import replace

from mlt_ray.storage.report import RunReport
from tests.storage.finished_run import DIGEST, REPORT


def report(
    fold: int,
    seed: int,
    wa: float = 0.5,
    ua: float = 0.5,
    confusion: list[list[int]] | None = None,
    digest: str = DIGEST,
) -> RunReport:
    """A run's report with these test scores."""
    counts = confusion or [[1 if i == j else 0 for j in range(4)] for i in range(4)]
    # Different from all test scores, so that a table that takes dev scores is found out.
    dev = {"wa": 0.99, "ua": 0.98, "confusion": [[97] * 4] * 4}
    scores = {"dev": dev, "test": {"wa": wa, "ua": ua, "confusion": counts}}
    return replace(REPORT, digest=digest, fold=fold, seed=seed, scores=scores)
