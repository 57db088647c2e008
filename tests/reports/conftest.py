"""Reports of finished runs, made of nothing but their scores."""

from collections.abc import Callable

import pytest

from mlt_ray.storage.report import RunReport

Report = Callable[..., RunReport]


@pytest.fixture
def report() -> Report:
    """A run's report from its fold, seed, WA, UA and confusion."""

    def make(
        fold: int,
        seed: int,
        wa: float = 0.5,
        ua: float = 0.5,
        confusion: list[list[int]] | None = None,
        digest: str = "0123456789abcdef",
    ) -> RunReport:
        counts = confusion or [[1 if i == j else 0 for j in range(4)] for i in range(4)]
        # Scores of dev differ from any of test: taking them instead would be seen.
        dev = {"wa": 0.99, "ua": 0.98, "confusion": [[97] * 4] * 4}
        return RunReport(
            digest=digest,
            spec={},
            fold=fold,
            seed=seed,
            scores={"dev": dev, "test": {"wa": wa, "ua": ua, "confusion": counts}},
            best_epoch=1,
            curve=(),
            part_sizes={},
            num_parameters=1,
            started_ms=1,
            ended_ms=2,
            computed_s=1.0,
        )

    return make
