"""Made-up reports of runs, and how they get into a store."""

import numpy as np

from mlt_ray.spec import Run
from mlt_ray.storage.report import Epoch, Predictions, RunReport
from mlt_ray.storage.store import Store

EPOCHS = 4


def report_of(run: Run, dev_ua: float, test_ua: float = 0.5, parameters: int = 7) -> RunReport:
    """A report whose learning curve rises to `dev_ua`."""
    curve = tuple(
        Epoch(
            epoch=n,
            train_loss=1.0,
            dev_loss=1.0,
            dev_wa=dev_ua * n / EPOCHS,
            dev_ua=dev_ua * n / EPOCHS,
            ended_ms=n,
        )
        for n in range(1, EPOCHS + 1)
    )
    scores = {
        part: {"wa": ua, "ua": ua, "macro_f1": ua, "confusion": np.eye(4, dtype=int).tolist()}
        for part, ua in (("dev", dev_ua), ("test", test_ua))
    }
    return RunReport(
        digest=run.digest,
        spec=run.spec.as_dict(),
        fold=run.fold,
        seed=run.seed,
        scores=scores,
        best_epoch=EPOCHS,
        curve=curve,
        part_sizes={"train": 3, "dev": 1, "test": 1},
        num_parameters=parameters,
        started_ms=0,
        ended_ms=9,
        computed_s=1.0,
    )


def write_report(store: Store, report: RunReport) -> None:
    """Put a made-up run into the store."""
    empty = Predictions(utterances=(), labels=np.zeros(0), probabilities=np.zeros((0, 4)))
    store.write_run(report, {"dev": empty, "test": empty}, b"", {})
