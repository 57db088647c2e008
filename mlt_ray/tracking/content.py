"""What MLflow shows of rows and their runs, made of the store's records and reports."""

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mlt_ray.reports.frames import RunOfRow, runs_frame
from mlt_ray.reports.statistics import aggregate, counted_runs
from mlt_ray.spec import decisive, digest_of
from mlt_ray.storage.record import RowRecord, RunRecord, StudyRecord
from mlt_ray.storage.report import PARTS, RunReport
from mlt_ray.storage.store import Store
from mlt_ray.tracking.entry import Addition, Entry
from mlt_ray.tracking.listing import DIGEST, HAS_RUNS, KIND, PARENT, ROW_DIGEST
from mlt_ray.tracking.metrics import confusion_csv, curve_points, row_means, scores

FILES = ("report.json", "predictions.csv", "curve.csv")
"""Files of a run in the store that MLflow gets."""


class Content:
    """The entries of a study or search. Of a search they show dev scores alone."""

    def __init__(self, store: Store, record: StudyRecord) -> None:
        self._store = store
        self._study, self._corpus = record.study, record.corpus
        self._parts = ("dev",) if record.is_search else PARTS
        self.dataset = _dataset(record)

    def row(self, row: RowRecord, start_ms: int | None) -> Entry:
        """The run of a row, without its means."""
        tags = {KIND: "row", ROW_DIGEST: row_digest(row), "mlt_ray.corpus": self._corpus}
        return Entry(name=row.name, start_ms=start_ms, tags=tags, params=row.spec)

    def open_run(self, row: RowRecord, run: RunRecord, parent: str, start_ms: int | None) -> Entry:
        """A run beneath its row's, which is not finished."""
        return Entry(
            name=f"{row.name}, {run}",
            start_ms=start_ms,
            tags={KIND: "fold-seed", DIGEST: run.digest, PARENT: parent},
            params={**row.spec, "fold": run.fold, "seed": run.seed},
        )

    def run(self, row: RowRecord, run: RunRecord, parent: str, report: RunReport) -> Entry:
        """A finished run beneath its row's."""
        files: dict[str, Path | bytes] = {}
        if "test" in self._parts:
            files = {name: self._store.run_file(run.digest, name) for name in FILES}
            table = confusion_csv(report.classes, report.scores["test"]["confusion"])
            files["confusion_matrix.csv"] = table.encode()
        return replace(
            self.open_run(row, run, parent, report.started_ms),
            end_ms=report.ended_ms,
            metrics=curve_points(report.curve) + scores(report, self._parts),
            files=files,
        )

    def mean(self, row: RowRecord, reports: Sequence[RunReport], *, has_all: bool) -> Addition:
        """What is added to a row's run: means, tags, and once it is complete a picture.

        `reports` are those of its finished runs; `has_all`: all of these stand beneath it.
        """
        from mlflow.entities import Metric

        finished = [report.digest for report in reports]
        counted = {run.digest for run in counted_runs(row, finished)}
        done = [report for report in reports if report.digest in counted]
        runs = runs_frame(RunOfRow(study=self._study, row=row.name, report=r) for r in done)
        at_ms = max(report.ended_ms for report in done)
        result = aggregate(runs, planned=len(counted)) if "test" in self._parts else None
        means = row_means(runs, result, row.published)
        tags: dict[str, str] = {}
        if result is not None and result.gaps:
            tags["mlt_ray.ua_gaps"] = ", ".join(result.gaps)
        if row.changes:
            tags["mlt_ray.changed"] = ", ".join(row.changes)
        if has_all:
            tags[HAS_RUNS] = runs_digest(finished)
        is_complete = len(done) == len(counted)
        files: dict[str, Path | bytes] = {}
        if is_complete and result is not None:
            files["confusion_matrix.png"] = _picture(row.name, done)
        return Addition(
            metrics=[Metric(k, float(v), at_ms, len(done)) for k, v in means.items()],
            tags=tags,
            files=files,
            end_ms=at_ms if is_complete else None,
        )


def row_digest(row: RowRecord) -> str:
    """Digest of a row's name and settings; a row with other settings gets another parent run."""
    return digest_of([row.name, decisive(row.spec)])


def runs_digest(digests: Collection[str]) -> str:
    """Names a set of runs, as the tag `HAS_RUNS` does."""
    return digest_of(sorted(digests))


def num_counted(row: RowRecord, finished: Collection[str]) -> int:
    """How many of a row's finished runs count in its mean."""
    done = set(finished)
    return sum(run.digest in done for run in counted_runs(row, done))


def kept(report: RunReport) -> RunReport:
    """What means and confusions need of a report; the rest would fill memory."""
    spec: dict[str, Any] = {
        key: report.spec[key] for key in ("classes", "folds") if key in report.spec
    }
    return replace(report, spec=spec, curve=())


def _dataset(record: StudyRecord) -> Any:
    """The corpus as MLflow knows datasets: its name and fingerprint."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = json.dumps({"corpus": record.corpus, "fingerprint": record.fingerprint})
    corpus = Dataset(record.corpus, record.fingerprint, source_type="mlt_ray", source=source)
    return DatasetInput(corpus, [InputTag("mlflow.data.context", "cross-validation")])


def _picture(name: str, done: Sequence[RunReport]) -> bytes:
    """A row's confusion matrix over all runs, as a PNG."""
    # Not at the top: matplotlib takes a second to import.
    from mlt_ray.reports.page.figures import as_png, confusion

    counts = np.sum([report.scores["test"]["confusion"] for report in done], axis=0)
    title = f"{name}: test, {len(done)} runs, % of each true class"
    return as_png(confusion(counts, done[0].classes), title)
