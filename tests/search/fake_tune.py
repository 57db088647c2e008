"""A stand-in for Tune: gives out the runs of a source one after the other."""

import dataclasses
from collections.abc import Callable, Iterator

from mlt_ray.planning.source import End, RunEnd, Source
from mlt_ray.spec import Run
from mlt_ray.storage.report import RunReport
from mlt_ray.storage.store import Store
from tests.stored import report_of, write_report


@dataclasses.dataclass
class FakeTune:
    """Trains the runs of a source one by one, and notes their digests.

    `dev_ua` gives the dev UA that a run reaches, None for a run that fails.
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
                return  # like a killed driver: this run was given out and never ends
            value = self.dev_ua(run)
            self.trained.append(run.digest)
            if value is None:
                source.ended(run, RunEnd(kind=End.FAILED, reason="the loss is nan"))
                continue
            report = report_of(run, value, self.test_ua(run))
            if self._is_stopped(source, run, report):
                self.stopped.append(run.digest)
                source.ended(run, RunEnd(kind=End.STOPPED))
            else:
                write_report(self.store, report)
                source.ended(run, RunEnd(kind=End.DONE))

    @staticmethod
    def _is_stopped(source: Source, run: Run, report: RunReport) -> bool:
        return any(run in source.epochs(run, [epoch]) for epoch in report.curve[:-1])

    @staticmethod
    def _runs(source: Source) -> Iterator[Run]:
        while pack := source.next(lambda spec: 1):
            yield from pack
        assert source.exhausted
