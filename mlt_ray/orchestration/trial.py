"""One run as a Tune trial: executed by a worker that has the store and nothing else."""

import functools
import time
from typing import Any

import torch
from ray import tune

from mlt_ray.corpus.folds import Fold, make_folds
from mlt_ray.corpus.utterance import Corpus
from mlt_ray.errors import RunFailed
from mlt_ray.features.batching import FoldData
from mlt_ray.features.encoders import encoder_folder
from mlt_ray.features.extract import FeatureCache
from mlt_ray.features.extras import load_extras
from mlt_ray.spec import FoldSpec, Run
from mlt_ray.store import Epoch, Store
from mlt_ray.training.checkpoint import Checkpoint
from mlt_ray.training.loop import train

REPORT_INTERVAL_S = 1.0
"""Least time between two messages to the driver: each costs the trial a round trip."""


def trial(config: dict[str, Any]) -> None:
    """Compute the run of ``config["cell"]`` and write it to the store that the cell names.

    Tells Tune the epochs as they come, and at the end ``failed``: a line, or an empty text.
    """
    cell = config["cell"]
    run, store = cell["run"], Store(cell["store"])
    messages = EpochMessages()
    failed = ""
    if not store.is_done(run.digest):
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.set_num_threads(cell["threads"])
        [finished] = train(
            [run],
            [fold_data(run, str(store.root))],
            device=device,
            checkpoints=[Checkpoint(store.checkpoint(run.digest))],
            on_epoch=messages.add,
        )
        if isinstance(finished, RunFailed):
            failed = str(finished)
        else:
            store.write_run(
                finished.report, finished.predictions, finished.weights, finished.inputs
            )
    messages.send(failed=failed)


class EpochMessages:
    """Collects epochs and passes them on to the driver, not too often."""

    def __init__(self) -> None:
        self._waiting: list[Epoch] = []
        self._sent = time.monotonic()

    def add(self, run: Run, epoch: Epoch) -> None:
        """One epoch of the run has ended."""
        self._waiting.append(epoch)
        if time.monotonic() - self._sent >= REPORT_INTERVAL_S:
            self.send()

    def send(self, **more: Any) -> None:
        """Send what has been collected."""
        tune.report({"epochs": self._waiting, **more})
        self._waiting, self._sent = [], time.monotonic()


def fold_data(run: Run, store_root: str) -> FoldData:
    """The run's fold, from the store's corpus table, feature cache and encoders."""
    corpus, folds = _folds(run.spec.corpus, run.spec.folds, store_root)
    store, fold, features = Store(store_root), folds[run.fold - 1], run.spec.features
    model = run.spec.model
    extras = load_extras(corpus, fold, model.needs, store, features)
    encoder = encoder_folder(store, model.text_encoder) if model.text_encoder else None
    return FoldData(corpus, fold, features, FeatureCache.open(store, features), extras, encoder)


@functools.lru_cache(maxsize=4)
def _folds(fingerprint: str, spec: FoldSpec, store_root: str) -> tuple[Corpus, tuple[Fold, ...]]:
    # A worker computes many runs of one corpus: it reads the table once.
    store = Store(store_root)
    corpus = Corpus.from_dict(store.read_json(store.corpus(fingerprint)))
    return corpus, make_folds(corpus, spec)
