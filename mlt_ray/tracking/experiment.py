"""Writes one study or search as an experiment of MLflow."""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

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
from mlt_ray.tracking import bulk
from mlt_ray.tracking.entry import Entry, PlainWriter, Written
from mlt_ray.tracking.listing import (
    DIGEST,
    KIND,
    PARENT,
    ROW_DIGEST,
    bereft_parents,
    experiment_id,
    runs_with,
)
from mlt_ray.tracking.location import LEASE
from mlt_ray.tracking.metrics import confusion_csv, curve_points, row_means, scores

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AT_ONCE = 8
"""Requests to a server that are under way at once while many runs are written."""

TOGETHER = 100
"""Runs of whole rows, at least, that are written together; other drivers wait meanwhile."""

HAS_RUNS = "mlt_ray.has_runs"
"""Tag of a row's run: a digest of the finished runs that stand beneath it. What it names need not
be looked up again."""

Given = TypeVar("Given")


@dataclass(kw_only=True)
class _Beneath:
    """A row's run in MLflow, and what is known of the runs beneath it.

    `averaged`: of how many runs it has the means. `has_runs`: its tag. `is_bare`: it lacks even its
    parameters. `children` are runs beneath it, by digest; `finished` are digests of those that are
    complete. `listed_in`: when all that it has were looked up (`Experiment._hold`).
    """

    run: Written
    averaged: int = 0
    has_runs: str = ""
    is_bare: bool = False
    children: dict[str, Written] = field(default_factory=dict)
    finished: set[str] = field(default_factory=set)
    listed_in: int = 0

    def note(self, digest: str, child: Written) -> None:
        """Note a run that stands beneath it."""
        self.children[digest] = child
        if child.is_finished:
            self.finished.add(digest)


@dataclass(kw_only=True)
class _Wanted:
    """Finished runs of a row that MLflow lacks, all reports of the row, and what MLflow has of it.

    `is_due`: the mean is to be written in any case. `is_written`: nothing is left.
    """

    row: RowRecord
    digest: str
    runs: Sequence[RunRecord]
    reports: Sequence[RunReport]
    known: _Beneath | None
    is_due: bool
    is_written: bool = False

    @property
    def finished(self) -> list[str]:
        """Digests of the row's finished runs."""
        return [report.digest for report in self.reports]

    @property
    def is_mean_due(self) -> bool:
        """Whether another mean is to be written: of other runs than the last one."""
        if self.is_written or not self.reports:
            return False
        known = self.known
        if self.is_due or self.runs or known is None:
            return True
        is_averaged = known.averaged >= len(counted_runs(self.row, self.finished))
        return not is_averaged or known.has_runs != _digest_of(self.finished)


class Experiment:
    """The MLflow experiment of a study or search: a parent run per row, a child run per run."""

    def __init__(self, client: Any, store: Store, record: StudyRecord, uri: str) -> None:
        self.client = client
        self.store = store
        self.study = record.study
        self.corpus, self.fingerprint = record.corpus, record.fingerprint
        self.parts = ("dev",) if record.is_search else PARTS
        self.rows: dict[str, RowRecord] = {}
        self._digests: dict[str, str] = {}
        self._rows_of_run: dict[str, list[tuple[RowRecord, RunRecord]]] = {}
        for row in record.rows:
            self.add(row)
        self.experiment = experiment_id(client, store, record, uri)
        self._dataset = _dataset(record)
        self._plain = PlainWriter(client, self.experiment, self._dataset)
        self._can_bulk = bulk.can_bulk(client)
        self._at_once = AT_ONCE if uri.startswith("http") else 1
        self._known: dict[str, _Beneath] = {}
        self._reports: dict[str, RunReport] = {}
        self._is_alone = False
        self._hold = 0

    def add(self, row: RowRecord) -> None:
        """Add a row and its runs; two rows may share a run."""
        if row.name not in self.rows:
            self.rows[row.name] = row
            self._digests[row.name] = row_digest(row)
            for run in row.runs:
                self._rows_of_run.setdefault(run.digest, []).append((row, run))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let no other process create runs for this store meanwhile."""
        if self._is_alone:
            yield
            return
        with alone(self.store, LEASE):
            # What another driver may create afterwards must be looked up again.
            self._hold += 1
            self._is_alone = True
            try:
                yield
            finally:
                self._is_alone = False

    def sync(self) -> None:
        """Write the finished runs that MLflow lacks, then the mean of each of their rows."""
        rows = list(self.rows.values())
        done = self.store.finished({run.digest for row in rows for run in row.runs})
        self._list_rows()
        left = [row for row in rows if not self._has_all(row, done)]
        for group in _together(left, done):
            with self._alone():
                self._write_rows(
                    [(row, [run for run in row.runs if run.digest in done]) for row in group],
                    is_due=False,
                )

    def _list_rows(self) -> None:
        """Look up which rows MLflow has, and what stands beneath them as their tags say."""
        bereft = bereft_parents(self.client, self.experiment)
        for run in runs_with(self.client, self.experiment, {KIND: "row"}):
            digest = run.data.tags[ROW_DIGEST]
            if digest not in self._known:
                self._known[digest] = _beneath(run)
            if run.info.run_id in bereft:
                self._known[digest].has_runs = ""

    def _has_all(self, row: RowRecord, done: set[str]) -> bool:
        """Whether MLflow has all of a row: its finished runs, and their mean."""
        finished = [run.digest for run in row.runs if run.digest in done]
        known = self._known.get(self._digests[row.name])
        if known is None:
            return not finished
        is_averaged = known.averaged >= len(counted_runs(row, finished))
        if not is_averaged or known.has_runs != _digest_of(finished):
            return False
        known.finished |= set(finished)
        return True

    def write_curve(self, digest: str, epochs: Sequence[Epoch]) -> None:
        """Write epochs of a run's learning curve."""
        for row, run in self._rows_of_run.get(digest, ()):
            child = self._child(row, run, epochs[0].ended_ms)
            self._plain.add(child, metrics=curve_points(epochs))

    def write_run(self, digest: str) -> None:
        """Write a finished run, and the means of the rows that it belongs to."""
        self.write_runs([digest])

    def write_runs(self, digests: Sequence[str]) -> None:
        """Write finished runs, then the means of the rows that they belong to."""
        wanted: dict[str, tuple[RowRecord, list[RunRecord]]] = {}
        for digest in digests:
            for row, run in self._rows_of_run.get(digest, ()):
                wanted.setdefault(row.name, (row, []))[1].append(run)
        if wanted:
            with self._alone():
                self._write_rows(list(wanted.values()), is_due=True)

    def _write_rows(
        self, asked: Sequence[tuple[RowRecord, Sequence[RunRecord]]], *, is_due: bool
    ) -> None:
        """Write what MLflow lacks of these finished runs, and then the means of their rows.

        `is_due`: the means in any case, not only if they are of more runs than before.
        """
        lacking = []
        for row, runs in asked:
            known = self._look_up(row, [run.digest for run in runs])
            left = [run for run in runs if known is None or run.digest not in known.finished]
            lacking.append((row, known, left))
        full = self._full_reports({run.digest for _, _, left in lacking for run in left})
        wanted = [
            _Wanted(
                row=row,
                digest=self._digests[row.name],
                runs=left,
                reports=self._finished_reports(row),
                known=known,
                is_due=is_due,
            )
            for row, known, left in lacking
        ]
        if self._can_bulk:
            self._write_together(wanted, full)
        self._write_one_by_one(wanted, full)
        self._write_means([one for one in wanted if one.is_mean_due])

    def _full_reports(self, digests: set[str]) -> dict[str, RunReport]:
        """The whole reports of runs, by digest; they are kept without their curves."""
        found = {report.digest: report for report in self.store.reports(digests)}
        for digest in digests:
            if digest not in found:
                raise RuntimeError(f"run {digest} ended without a report")
            self._keep(found[digest])
        return found

    def _look_up(self, row: RowRecord, digests: Sequence[str]) -> _Beneath | None:
        """What MLflow has of a row: of its runs at least these. None if it has not the row."""
        known = self._find_parent(row)
        if known is None or known.listed_in == self._hold:
            return known
        left = [digest for digest in digests if digest not in known.finished]
        tags = {KIND: "fold-seed", PARENT: known.run.run_id}
        if len(left) == 1:
            tags[DIGEST] = left[0]
        elif left:
            known.listed_in = self._hold
        for run in runs_with(self.client, self.experiment, tags) if left else ():
            known.note(run.data.tags[DIGEST], Written.of(run))
        return known

    def _find_parent(self, row: RowRecord) -> _Beneath | None:
        digest = self._digests[row.name]
        if digest not in self._known:
            # Another driver of the study may have created it.
            tags = {KIND: "row", ROW_DIGEST: digest}
            for run in runs_with(self.client, self.experiment, tags):
                self._known.setdefault(digest, _beneath(run))
        return self._known.get(digest)

    def _write_together(self, wanted: Sequence[_Wanted], full: Mapping[str, RunReport]) -> None:
        """Write all rows and runs that are new in one transaction."""
        new = {
            one.digest: [
                r for r in one.runs if one.known is None or r.digest not in one.known.children
            ]
            for one in wanted
        }
        if not any(new.values()):
            return
        written = []
        with bulk.writing(self.client, self.experiment, self._dataset) as writer:
            for one in wanted:
                known = one.known
                if known is None and one.runs:
                    known = self._new_row(one, full, writer.add)
                    one.is_written = True
                for run in new[one.digest]:
                    assert known is not None
                    entry = self._run_entry(one.row, run, known.run.run_id, full[run.digest])
                    written.append((one, known, run.digest, writer.add(entry)))
        for one, known, digest, child in written:
            known.note(digest, child)
            one.known = self._known[one.digest] = known

    def _new_row(
        self, one: _Wanted, full: Mapping[str, RunReport], add: Callable[[Entry], Written]
    ) -> _Beneath:
        """Write the run of a row with its mean, and tag it as if it had its runs."""
        mean = self._mean_of(one, has_all=True)
        entry = self._row_entry(one.row, full[one.runs[0].digest].started_ms)
        run = add(replace(entry, **{**mean, "tags": {**entry.tags, **mean["tags"]}}))
        return _Beneath(
            run=run,
            averaged=len(counted_runs(one.row, one.finished)),
            has_runs=mean["tags"][HAS_RUNS],
            listed_in=self._hold,
        )

    def _write_one_by_one(self, wanted: Sequence[_Wanted], full: Mapping[str, RunReport]) -> None:
        """Write what is left by MLflow's client: several requests at once to a server."""

        def write_row(one: _Wanted) -> None:
            one.known = self._create_row(one.row, full[one.runs[0].digest].started_ms)

        def write_run(given: tuple[_Beneath, RowRecord, RunRecord]) -> None:
            known, row, run = given
            entry = self._run_entry(row, run, known.run.run_id, full[run.digest])
            child = known.children.get(run.digest)
            known.note(
                run.digest,
                self._plain.write(entry) if child is None else self._plain.complete(child, entry),
            )

        self._each(write_row, [one for one in wanted if one.runs and one.known is None])
        left = [
            (one.known, one.row, run)
            for one in wanted
            if one.known is not None
            for run in one.runs
            if run.digest not in one.known.finished
        ]
        self._each(write_run, left)

    def _each(self, action: Callable[[Given], None], given: Sequence[Given]) -> None:
        """Call the action for each; several at once if a server answers."""
        if self._at_once == 1 or len(given) < 2:
            for one in given:
                action(one)
            return
        with ThreadPoolExecutor(min(self._at_once, len(given))) as pool:
            under_way = [pool.submit(action, one) for one in given]
            try:
                for ended in under_way:
                    ended.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _write_means(self, wanted: Sequence[_Wanted]) -> None:
        # Drawn here: matplotlib's settings are those of the whole process.
        drawn = [
            (one, one.known, self._mean_of(one, one.known.finished.issuperset(one.finished)))
            for one in wanted
            if one.known is not None
        ]

        def write(given: tuple[_Wanted, _Beneath, dict[str, Any]]) -> None:
            one, known, mean = given
            if known.is_bare:
                self._plain.complete(known.run, self._row_entry(one.row, None))
            self._plain.add(known.run, **mean)

        self._each(write, drawn)
        for one, known, mean in drawn:
            known.is_bare = False
            known.averaged = len(counted_runs(one.row, one.finished))
            known.has_runs = mean["tags"].get(HAS_RUNS, known.has_runs)

    def _mean_of(self, one: _Wanted, has_all: bool) -> dict[str, Any]:
        """What is added to a row's run: means, tags, and once it is complete a picture.

        `has_all`: all of its finished runs stand beneath it.
        """
        from mlflow.entities import Metric

        row = one.row
        counted = {run.digest for run in counted_runs(row, one.finished)}
        done = [report for report in one.reports if report.digest in counted]
        runs = runs_frame(RunOfRow(study=self.study, row=row.name, report=r) for r in done)
        at_ms = max(report.ended_ms for report in done)
        result = aggregate(runs, planned=len(counted)) if "test" in self.parts else None
        means = row_means(runs, result, row.published)
        tags: dict[str, str] = {}
        if result is not None and result.gaps:
            tags["mlt_ray.ua_gaps"] = ", ".join(result.gaps)
        if row.changes:
            tags["mlt_ray.changed"] = ", ".join(row.changes)
        if has_all:
            tags[HAS_RUNS] = _digest_of(one.finished)
        is_complete = len(done) == len(counted)
        files: dict[str, Path | bytes] = {}
        if is_complete and result is not None:
            files["confusion_matrix.png"] = _picture(row.name, done)
        return {
            "metrics": [Metric(k, float(v), at_ms, len(done)) for k, v in means.items()],
            "tags": tags,
            "files": files,
            "end_ms": at_ms if is_complete else None,
        }

    def _row_entry(self, row: RowRecord, start_ms: int | None) -> Entry:
        """The run of a row, without its means."""
        digest = self._digests[row.name]
        tags = {KIND: "row", ROW_DIGEST: digest, "mlt_ray.corpus": self.corpus}
        return Entry(name=row.name, start_ms=start_ms, tags=tags, params=row.spec)

    def _run_entry(
        self,
        row: RowRecord,
        run: RunRecord,
        parent: str,
        report: RunReport | None,
        start_ms: int | None = None,
    ) -> Entry:
        """The run of a run beneath its row's; without a report, one that is not finished."""
        entry = Entry(
            name=f"{row.name}, {run}",
            start_ms=start_ms,
            tags={KIND: "fold-seed", DIGEST: run.digest, PARENT: parent},
            params={**row.spec, "fold": run.fold, "seed": run.seed},
        )
        if report is None:
            return entry
        files: dict[str, Path | bytes] = {}
        if "test" in self.parts:
            names = ("report.json", "predictions.csv", "curve.csv")
            files = {name: self.store.run_file(run.digest, name) for name in names}
            table = confusion_csv(report.classes, report.scores["test"]["confusion"])
            files["confusion_matrix.csv"] = table.encode()
        return replace(
            entry,
            start_ms=report.started_ms,
            end_ms=report.ended_ms,
            metrics=curve_points(report.curve) + scores(report, self.parts),
            files=files,
        )

    def write_failure(self, digest: str, reason: str) -> None:
        """Mark a run as failed, and tag it with the reason."""
        for row, run in self._rows_of_run.get(digest, ()):
            child = self._child(row, run, None)
            tags = {"mlt_ray.failure": reason}
            self._plain.add(child, tags=tags, end_ms=_now_ms(), status="FAILED")

    def _finished_reports(self, row: RowRecord) -> list[RunReport]:
        """Reports of a row's finished runs; each is read once, since a report never changes."""
        digests = [run.digest for run in row.runs]
        for report in self.store.reports(d for d in digests if d not in self._reports):
            self._keep(report)
        return [self._reports[d] for d in digests if d in self._reports]

    def _keep(self, report: RunReport) -> None:
        self._reports[report.digest] = replace(report, spec=_kept(report.spec), curve=())

    def write_page(self, page: Path, picture: "Figure | None") -> None:
        """Log the report page, and its figure of all rows, with a run of their own.

        A page that MLflow has already is not written again.
        """
        tags = {KIND: "report"}
        sha256 = file_sha256(page)
        found = runs_with(self.client, self.experiment, tags)
        if any(run.data.tags.get("mlt_ray.page") == sha256 for run in found):
            return
        with self._alone():
            found = found or runs_with(self.client, self.experiment, tags)
            entry = Entry(name="report", start_ms=None, tags=tags, params={})
            run = Written.of(found[0]) if found else self._plain.create(entry)
        files: dict[str, Path | bytes] = {page.name: page}
        if picture is not None:
            from mlt_ray.reports.page.figures import as_png

            files["rows.png"] = as_png(picture)
        self._plain.add(run, files=files)
        self._plain.add(run, tags={"mlt_ray.page": sha256}, end_ms=_now_ms())

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
        run_id = self._parent(row, None).run.run_id
        made = self.client.create_logged_model(
            self.experiment, name=slug(name), source_run_id=run_id, tags=tags
        )
        self.client.log_model_artifacts(made.model_id, str(folder))
        self.client.log_outputs(run_id, [LoggedModelOutput(made.model_id, step=0)])
        self.client.finalize_logged_model(made.model_id, "READY")
        return str(made.model_id)

    def tag(self, name: str, tags: Mapping[str, str]) -> None:
        """Tag a row's parent run and mark it as finished."""
        named = {f"mlt_ray.{key}": value for key, value in tags.items()}
        self._plain.add(self._parent(self.rows[name], None).run, tags=named, end_ms=_now_ms())

    def _parent(self, row: RowRecord, start_ms: int | None) -> _Beneath:
        """The row's run, which is created if there is none."""
        digest = self._digests[row.name]
        if digest not in self._known:
            with self._alone():
                if self._find_parent(row) is None:
                    self._create_row(row, start_ms)
        return self._known[digest]

    def _create_row(self, row: RowRecord, start_ms: int | None) -> _Beneath:
        run = self._plain.create(self._row_entry(row, start_ms))
        known = _Beneath(run=run, listed_in=self._hold)
        self._known[self._digests[row.name]] = known
        return known

    def _child(self, row: RowRecord, run: RunRecord, start_ms: int | None) -> Written:
        """A run beneath its row's, which is created if there is none."""
        known = self._parent(row, start_ms)
        if run.digest not in known.children:
            with self._alone():
                self._look_up(row, [run.digest])
                if run.digest not in known.children:
                    entry = self._run_entry(row, run, known.run.run_id, None, start_ms)
                    known.note(run.digest, self._plain.create(entry))
        return known.children[run.digest]


def _dataset(record: StudyRecord) -> Any:
    """The corpus as MLflow knows datasets: its name and fingerprint."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = json.dumps({"corpus": record.corpus, "fingerprint": record.fingerprint})
    corpus = Dataset(record.corpus, record.fingerprint, source_type="mlt_ray", source=source)
    return DatasetInput(corpus, [InputTag("mlflow.data.context", "cross-validation")])


def _beneath(run: Any) -> _Beneath:
    """What is known of a row's run as MLflow's client returns it."""
    return _Beneath(
        run=Written.of(run),
        averaged=_averaged(run.data.metrics),
        is_bare=not run.data.params,
        has_runs=run.data.tags.get(HAS_RUNS, ""),
    )


def _averaged(metrics: Mapping[str, float]) -> int:
    """Of how many runs a parent has the means; 0 for one that an earlier version has written."""
    return int(metrics.get("runs_done", 0)) if "num_parameters" in metrics else 0


def _digest_of(digests: Iterable[str]) -> str:
    """Names a set of runs."""
    return digest_of(sorted(digests))


def _together(rows: Iterable[RowRecord], done: set[str]) -> Iterator[list[RowRecord]]:
    """Groups of whole rows with about `TOGETHER` finished runs."""
    group: list[RowRecord] = []
    count = 0
    for row in rows:
        group.append(row)
        count += sum(run.digest in done for run in row.runs)
        if count >= TOGETHER:
            yield group
            group, count = [], 0
    if group:
        yield group


def _picture(name: str, done: Sequence[RunReport]) -> bytes:
    """A row's confusion matrix over all runs, as a PNG."""
    # Not at the top: matplotlib takes a second to import.
    from mlt_ray.reports.page.figures import as_png, confusion

    counts = np.sum([report.scores["test"]["confusion"] for report in done], axis=0)
    title = f"{name}: test, {len(done)} runs, % of each true class"
    return as_png(confusion(counts, done[0].classes), title)


def _kept(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What means and confusions need of a report's specification; the rest would fill memory."""
    return {key: spec[key] for key in ("classes", "folds") if key in spec}


def _now_ms() -> int:
    return round(1000 * time.time())


def row_digest(row: RowRecord) -> str:
    """Digest of a row's name and settings; a row with other settings gets another parent run."""
    return digest_of([row.name, decisive(row.spec)])
