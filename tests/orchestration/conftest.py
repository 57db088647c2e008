"""A store with made-up runs, and a stand-in for Tune that gives out cells one after the other."""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import optuna
import pytest

from mlt_ray.planning.source import End, Outcome, Source
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


@dataclasses.dataclass
class FakeTune:
    """Gives out what a source has, trains it at once, and notes what was trained.

    `dev_ua` is what a run reaches; None makes it fail.
    """

    store: Store
    dev_ua: Callable[[Run], float | None]
    test_ua: Callable[[Run], float] = lambda run: 0.5
    trained: list[str] = dataclasses.field(default_factory=list)
    stopped: list[str] = dataclasses.field(default_factory=list)

    def drive(self, source: Source, most: int | None = None) -> None:
        """Train until the source is exhausted, or `most` runs."""
        for run in self._runs(source):
            if most is not None and len(self.trained) >= most:
                return  # as a driver that is killed: the run was given out and never ended
            value = self.dev_ua(run)
            self.trained.append(run.digest)
            if value is None:
                source.ended(run, Outcome(end=End.FAILED, reason="the loss is nan"))
                continue
            report = report_of(run, value, self.test_ua(run))
            if self._is_stopped(source, run, report):
                self.stopped.append(run.digest)
                source.ended(run, Outcome(end=End.STOPPED))
            else:
                write_report(self.store, report)
                source.ended(run, Outcome(end=End.DONE))

    @staticmethod
    def _is_stopped(source: Source, run: Run, report: RunReport) -> bool:
        return any(run in source.epochs(run, [epoch]) for epoch in report.curve[:-1])

    @staticmethod
    def _runs(source: Source) -> Iterator[Run]:
        while pack := source.next(lambda spec: 1):
            yield from pack
        assert source.exhausted


@pytest.fixture
def storage() -> optuna.storages.BaseStorage:
    """Optuna's storage; it outlives the searches of a test, as a file would."""
    return optuna.storages.InMemoryStorage()
