"""Made-up reports and predictions of finished runs, and how they get into a store."""

from dataclasses import replace

import numpy as np

from mlt_ray.labels import FOUR
from mlt_ray.spec import Run
from mlt_ray.storage.report import Epoch, Predictions, RunReport
from mlt_ray.storage.store import Store

DIGEST = "0123456789abcdef"
EPOCHS = tuple(
    Epoch(
        epoch=n,
        train_loss=1 / n,
        dev_loss=2 / n,
        dev_wa=0.3,
        dev_ua=0.1 + 0.2,
        dev_macro_f1=0.7,
        ended_ms=17 * n,
    )
    for n in (1, 2, 3)
)
ONE_EACH = np.eye(4, dtype=int).tolist()
"""Confusion matrix of four utterances, one of each class, all predicted right."""

REPORT = RunReport(
    digest=DIGEST,
    spec={"corpus": "c0ffee", "model": {"system": "multilevel"}},
    fold=2,
    seed=3,
    scores={
        "dev": {"wa": 0.5, "ua": 0.4, "macro_f1": 0.3, "confusion": ONE_EACH},
        "test": {"wa": 0.1 + 0.2, "ua": 0.6, "macro_f1": 0.7, "confusion": ONE_EACH},
    },
    best_epoch=2,
    curve=EPOCHS,
    part_sizes={"train": 7, "dev": 3, "test": 2},
    num_parameters=11,
    started_ms=1,
    ended_ms=2,
    computed_s=0.25,
)
PREDICTIONS = {
    "dev": Predictions(
        utterances=("a", "b"),
        classes=FOUR,
        labels=np.array([2, 0]),
        probabilities=np.array([[0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1]]),
    ),
    "test": Predictions(
        utterances=("c",),
        classes=FOUR,
        labels=np.array([1]),
        probabilities=np.array([[0.0, 1.0, 0.0, 0.0]]),
    ),
}
RUN_FILES = {"weights.safetensors", "inputs.json", "predictions.csv", "curve.csv", "report.json"}
"""Names of the files that `Store.write_run` writes."""


def report_of(run: Run, dev_ua: float, test_ua: float = 0.5) -> RunReport:
    """A report of the run whose learning curve rises to `dev_ua` in four epochs."""
    shares = {n: dev_ua * n / 4 for n in (1, 2, 3, 4)}
    curve = tuple(
        replace(EPOCHS[0], epoch=n, dev_wa=ua, dev_ua=ua, dev_macro_f1=ua, ended_ms=n)
        for n, ua in shares.items()
    )
    scores = {
        part: {"wa": ua, "ua": ua, "macro_f1": ua, "confusion": ONE_EACH}
        for part, ua in (("dev", dev_ua), ("test", test_ua))
    }
    return replace(
        REPORT,
        digest=run.digest,
        spec=run.spec.as_dict(),
        fold=run.fold,
        seed=run.seed,
        scores=scores,
        best_epoch=4,
        curve=curve,
    )


def report_with(
    fold: int,
    seed: int,
    wa: float = 0.5,
    ua: float = 0.5,
    confusion: list[list[int]] = ONE_EACH,
    digest: str = DIGEST,
) -> RunReport:
    """A report with these test scores."""
    # Different from all test scores, so that a table that takes dev scores is found out.
    dev = {"wa": 0.99, "ua": 0.98, "macro_f1": 0.97, "confusion": [[97] * 4] * 4}
    test = {"wa": wa, "ua": ua, "macro_f1": 0.96, "confusion": confusion}
    scores = {"dev": dev, "test": test}
    return replace(REPORT, digest=digest, fold=fold, seed=seed, scores=scores)


def write_report(store: Store, report: RunReport) -> None:
    """Put a made-up run into the store."""
    store.write_run(report, PREDICTIONS, b"", {})
