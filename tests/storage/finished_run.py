"""Report, predictions and files of a finished run, made up for tests of stores and reports."""

import numpy as np

from mlt_ray.storage.report import Epoch, Predictions, RunReport

DIGEST = "0123456789abcdef"
EPOCHS = tuple(
    Epoch(epoch=n, train_loss=1 / n, dev_loss=2 / n, dev_wa=0.3, dev_ua=0.1 + 0.2, ended_ms=17 * n)
    for n in (1, 2, 3)
)
REPORT = RunReport(
    digest=DIGEST,
    spec={"corpus": "c0ffee", "model": {"system": "multilevel"}},
    fold=2,
    seed=3,
    scores={"dev": {"wa": 0.5}, "test": {"wa": 0.1 + 0.2}},
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
        labels=np.array([2, 0]),
        probabilities=np.array([[0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1]]),
    ),
    "test": Predictions(
        utterances=("c",), labels=np.array([1]), probabilities=np.array([[0.0, 1.0, 0.0, 0.0]])
    ),
}
RUN_FILES = {"weights.pt", "inputs.json", "predictions.csv", "curve.csv", "report.json"}
"""Names of the files that `Store.write_run` writes."""
