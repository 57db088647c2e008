"""Writes one study or search as an experiment of MLflow."""

import hashlib
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlt_ray.reports.frames import RunOfRow, runs_frame
from mlt_ray.reports.page.cells import slug
from mlt_ray.reports.statistics import aggregate, counted_runs
from mlt_ray.spec import decisive, digest_of
from mlt_ray.storage.files import file_sha256
from mlt_ray.storage.lease import alone
from mlt_ray.storage.record import RowRecord, RunRecord, StudyRecord
from mlt_ray.storage.report import PARTS, Epoch, RunReport
from mlt_ray.storage.store import Store
from mlt_ray.tracking.location import LEASE, artifacts
from mlt_ray.tracking.metrics import confusion_csv, curve_points, flatten, row_means, scores
from mlt_ray.tracking.presentation import experiment_tags

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class ExperimentDeleted(Exception):
    """A user has deleted the experiment in MLflow; nothing can be written to it."""


class Experiment:
    """The MLflow experiment of a study or search: a parent run per row, a child run per run."""

    def __init__(self, client: Any, store: Store, record: StudyRecord, uri: str) -> None:
        self.client = client
        self.store = store
        self.study = record.study
        self.corpus, self.fingerprint = record.corpus, record.fingerprint
        self.parts = ("dev",) if record.is_search else PARTS
        self.rows: dict[str, RowRecord] = {}
        self._rows_of_run: dict[str, list[tuple[RowRecord, RunRecord]]] = {}
        for row in record.rows:
            self.add(row)
        self.experiment = self._experiment_id(record, uri)
        found = self._search_runs("tags.`mlt_ray.kind` != ''")
        parents = {r.data.tags["mlt_ray.row_digest"]: r for r in found if is_kind(r, "row")}
        self.parents = {digest: r.info.run_id for digest, r in parents.items()}
        self._averaged = {d: _averaged(r.data.metrics) for d, r in parents.items()}
        self.children: dict[tuple[str, str], str] = {}
        self._finished_ids: set[str] = set()
        for run in found:
            if is_kind(run, "fold-seed"):
                tags, run_id = run.data.tags, run.info.run_id
                self.children[tags["mlflow.parentRunId"], tags["mlt_ray.digest"]] = run_id
                if run.info.status == "FINISHED":
                    self._finished_ids.add(run_id)
        self._reports: dict[str, RunReport] = {}
        self._rows_to_average: set[str] = set()
        self._unlogged_params: dict[str, list[Any]] = {}

    def add(self, row: RowRecord) -> None:
        """Add a row and its runs; two rows may share a run."""
        if row.name not in self.rows:
            self.rows[row.name] = row
            for run in row.runs:
                self._rows_of_run.setdefault(run.digest, []).append((row, run))

    def _experiment_id(self, record: StudyRecord, uri: str) -> str:
        """The experiment's id; it is created where there is none, and gets the tags it lacks."""
        existing = self.client.get_experiment_by_name(record.study)
        if existing is None:
            folder = artifacts(self.store) if uri.startswith("sqlite:") else None
            found = self.client.create_experiment(record.study, artifact_location=folder)
            tags: Mapping[str, str] = {}
        else:
            found, tags = existing.experiment_id, existing.tags
            if existing.lifecycle_stage == "deleted":
                raise ExperimentDeleted(
                    f"experiment {record.study} was deleted there; bring it back with mlflow "
                    f"experiments restore --experiment-id {found}"
                )
        for key, value in experiment_tags(record, found, round(1000 * time.time())).items():
            if key not in tags:
                self.client.set_experiment_tag(found, key, value)
        return found

    def _search_runs(self, query: str) -> list[Any]:
        found, token = [], None
        while True:
            page = self.client.search_runs(
                [self.experiment], filter_string=query, max_results=1000, page_token=token
            )
            found += page
            token = page.token
            if not token:
                return found

    def sync(self) -> None:
        """Write the finished runs that MLflow lacks, then the mean of each of their rows."""
        for row in list(self.rows.values()):
            done = self.store.finished(run.digest for run in row.runs)
            for run in row.runs:
                if run.digest in done and not self._is_written(row, run.digest):
                    self._write_scores(run.digest)
            # Another driver of the study may have finished runs of the row after its last mean.
            num_done = sum(run.digest in done for run in counted_runs(row, done))
            if row.name in self._rows_to_average or num_done > self._averaged.get(
                row_digest(row), 0
            ):
                self._write_mean(row)

    def _is_written(self, row: RowRecord, digest: str) -> bool:
        parent = self.parents.get(row_digest(row), "")
        return self.children.get((parent, digest)) in self._finished_ids

    def write_curve(self, digest: str, epochs: Sequence[Epoch]) -> None:
        """Write epochs of a run's learning curve."""
        for row, run in self._rows_of_run.get(digest, ()):
            self._log(self._child(row, run, epochs[0].ended_ms), curve_points(epochs))

    def write_run(self, digest: str) -> None:
        """Write a finished run, and the means of the rows that it belongs to."""
        self._write_scores(digest)
        for row, _ in self._rows_of_run.get(digest, ()):
            self._write_mean(row)

    def _write_scores(self, digest: str) -> None:
        report = self.store.report(digest)
        if report is None:
            raise RuntimeError(f"run {digest} ended without a report")
        for row, run in self._rows_of_run.get(digest, ()):
            self._rows_to_average.add(row.name)
            run_id = self._child(row, run, report.started_ms)
            self._log(run_id, curve_points(report.curve) + scores(report, self.parts))
            if "test" in self.parts:
                for name in ("report.json", "predictions.csv", "curve.csv"):
                    self.client.log_artifact(run_id, str(self.store.run_file(digest, name)))
                table = confusion_csv(report.classes, report.scores["test"]["confusion"])
                self.client.log_text(run_id, table, "confusion_matrix.csv")
            self.client.set_terminated(run_id, "FINISHED", report.ended_ms)
            self._finished_ids.add(run_id)

    def write_failure(self, digest: str, reason: str) -> None:
        """Mark a run as failed, and tag it with the reason."""
        for row, run in self._rows_of_run.get(digest, ()):
            run_id = self._child(row, run, None)
            self._log(run_id)
            self.client.set_tag(run_id, "mlt_ray.failure", reason)
            self.client.set_terminated(run_id, "FAILED")

    def _finished_reports(self, row: RowRecord) -> list[RunReport]:
        """Reports of a row's finished runs; each is read once, since a report never changes."""
        digests = [run.digest for run in row.runs]
        for report in self.store.reports(d for d in digests if d not in self._reports):
            self._reports[report.digest] = replace(report, spec=_kept(report.spec), curve=())
        return [self._reports[d] for d in digests if d in self._reports]

    def _write_mean(self, row: RowRecord) -> None:
        from mlflow.entities import Metric

        reports = self._finished_reports(row)
        counted = counted_runs(row, [report.digest for report in reports])
        digests = {run.digest for run in counted}
        done = [report for report in reports if report.digest in digests]
        runs = runs_frame(RunOfRow(study=self.study, row=row.name, report=r) for r in done)
        at_ms = max(report.ended_ms for report in done)
        result = aggregate(runs, planned=len(counted)) if "test" in self.parts else None
        values = row_means(runs, result, row.published)
        points = [Metric(k, float(v), at_ms, len(done)) for k, v in values.items()]
        gaps = result.gaps if result else ()
        run_id = self._parent(row, at_ms)
        self._log(run_id, points)
        if gaps:
            self.client.set_tag(run_id, "mlt_ray.ua_gaps", ", ".join(gaps))
        if row.changes:
            self.client.set_tag(run_id, "mlt_ray.changed", ", ".join(row.changes))
        self._rows_to_average.discard(row.name)
        self._averaged[row_digest(row)] = len(done)
        if len(done) == len(counted):
            if result is not None:
                self._draw_confusion(run_id, row.name, done)
            self.client.set_terminated(run_id, "FINISHED", at_ms)

    def _draw_confusion(self, run_id: str, name: str, done: Sequence[RunReport]) -> None:
        """Log a row's confusion matrix over all runs as a picture."""
        # Not at the top: matplotlib takes a second to import.
        from mlt_ray.reports.page.figures import as_png, confusion

        counts = np.sum([report.scores["test"]["confusion"] for report in done], axis=0)
        title = f"{name}: test, {len(done)} runs, % of each true class"
        picture = as_png(confusion(counts, done[0].classes), title)
        self._log_file(run_id, "confusion_matrix.png", picture)

    def _log_file(self, run_id: str, name: str, content: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(content)
            self.client.log_artifact(run_id, str(path))

    def write_page(self, page: Path, picture: "Figure | None") -> None:
        """Log the report page, and its figure of all rows, with a run of their own.

        A page that MLflow has already is not written again.
        """
        tags = {"mlt_ray.kind": "report"}
        sha256 = file_sha256(page)
        if self._known({**tags, "mlt_ray.page": sha256}):
            return
        with alone(self.store, LEASE):
            run_id = self._known(tags) or self._create("report", None, tags, {})
        self.client.log_artifact(run_id, str(page))
        if picture is not None:
            from mlt_ray.reports.page.figures import as_png

            self._log_file(run_id, "rows.png", as_png(picture))
        self.client.set_tag(run_id, "mlt_ray.page", sha256)
        self.client.set_terminated(run_id, "FINISHED")

    def write_model(self, name: str, folder: Path) -> str:
        """Log a saved model of MLflow's as that of a row; returns the model's id.

        A model that MLflow has already, of the same runs, is not written again. One that is not
        complete, as an interrupted call leaves it, is deleted: of those that log to one experiment,
        let one at a time call this.
        """
        from mlflow.entities import LoggedModelOutput, LoggedModelStatus

        row = self.rows[name]
        config = next(folder.glob("artifacts/*/config.json")).read_bytes()
        tags = {"mlt_ray.config": hashlib.sha256(config).hexdigest()}
        query = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
        found = list(self.client.search_logged_models([self.experiment], filter_string=query))
        for model in found:
            if model.status == LoggedModelStatus.READY:
                return str(model.model_id)
        for model in found:
            self.client.delete_logged_model(model.model_id)
        run_id = self._parent(row, None)
        made = self.client.create_logged_model(
            self.experiment, name=slug(name), source_run_id=run_id, tags=tags
        )
        self.client.log_model_artifacts(made.model_id, str(folder))
        self.client.log_outputs(run_id, [LoggedModelOutput(made.model_id, step=0)])
        self.client.finalize_logged_model(made.model_id, "READY")
        return str(made.model_id)

    def tag(self, name: str, tags: Mapping[str, str]) -> None:
        """Tag a row's parent run and mark it as finished."""
        run_id = self._parent(self.rows[name], None)
        for key, value in tags.items():
            self.client.set_tag(run_id, f"mlt_ray.{key}", value)
        self.client.set_terminated(run_id, "FINISHED")

    def _parent(self, row: RowRecord, start_ms: int | None) -> str:
        digest = row_digest(row)
        if digest not in self.parents:
            tags = {"mlt_ray.kind": "row", "mlt_ray.row_digest": digest}
            # Another driver of the study may have created it, or be about to.
            with alone(self.store, LEASE):
                known = self._known(tags)
                tags["mlt_ray.corpus"] = self.corpus
                self.parents[digest] = known or self._create(row.name, start_ms, tags, row.spec)
            self._log(self.parents[digest])
        return self.parents[digest]

    def _known(self, tags: Mapping[str, str]) -> str | None:
        """Id of the run with these tags; None if there is none."""
        found = self._search_runs(" and ".join(f"tags.`{k}` = '{v}'" for k, v in tags.items()))
        return found[0].info.run_id if found else None

    def _child(self, row: RowRecord, run: RunRecord, start_ms: int | None) -> str:
        parent = self._parent(row, start_ms)
        key = (parent, run.digest)
        if key not in self.children:
            tags = {
                "mlt_ray.kind": "fold-seed",
                "mlt_ray.digest": run.digest,
                "mlflow.parentRunId": parent,
            }
            name = f"{row.name}, {run}"
            params = {**row.spec, "fold": run.fold, "seed": run.seed}
            self.children[key] = self._known(tags) or self._create(name, start_ms, tags, params)
        return self.children[key]

    def _create(
        self, name: str, start_ms: int | None, tags: dict[str, str], params: Mapping[str, Any]
    ) -> str:
        """Create an MLflow run; returns its id."""
        from mlflow.entities import Param

        run = self.client.create_run(self.experiment, start_time=start_ms, tags=tags, run_name=name)
        run_id: str = run.info.run_id
        self.client.log_inputs(run_id, [self._dataset()])
        self._unlogged_params[run_id] = [Param(k, str(v)) for k, v in flatten(params).items()]
        return run_id

    def _dataset(self) -> Any:
        """The corpus as MLflow knows datasets: its name and fingerprint."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        source = json.dumps({"corpus": self.corpus, "fingerprint": self.fingerprint})
        corpus = Dataset(self.corpus, self.fingerprint, source_type="mlt_ray", source=source)
        return DatasetInput(corpus, [InputTag("mlflow.data.context", "cross-validation")])

    def _log(self, run_id: str, points: Sequence[Any] = ()) -> None:
        """Log points, and the parameters of a run that has just been created, in one request."""
        params = self._unlogged_params.get(run_id, ())
        if points or params:
            self.client.log_batch(run_id, metrics=points, params=params)
        self._unlogged_params.pop(run_id, None)


def _averaged(metrics: Mapping[str, float]) -> int:
    """Of how many runs a parent has the means; 0 for one that an earlier version has written."""
    return int(metrics.get("runs_done", 0)) if "num_parameters" in metrics else 0


def _kept(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What means and confusions need of a report's specification; the rest would fill memory."""
    return {key: spec[key] for key in ("classes", "folds") if key in spec}


def is_kind(run: Any, kind: str) -> bool:
    """Whether an MLflow run is ours and of this kind."""
    return run.data.tags.get("mlt_ray.kind") == kind


def row_digest(row: RowRecord) -> str:
    """Digest of a row's name and settings; a row with other settings gets another parent run."""
    return digest_of([row.name, decisive(row.spec)])
