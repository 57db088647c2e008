"""A finished run that no training has seen, for stores behind a URI."""

import numpy as np

from mlt_ray.storage.report import Predictions, RunReport

DIGEST = "0123456789abcdef"
REPORT = RunReport(
    digest=DIGEST,
    spec={"corpus": "c0ffee"},
    fold=2,
    seed=3,
    scores={"test": {"wa": 0.1 + 0.2}},
    best_epoch=1,
    curve=(),
    part_sizes={"train": 7},
    num_parameters=11,
    started_ms=1,
    ended_ms=2,
    computed_s=0.25,
)
PREDICTIONS = {
    "test": Predictions(
        utterances=("a",), labels=np.array([1]), probabilities=np.array([[0.0, 1.0, 0.0, 0.0]])
    )
}
