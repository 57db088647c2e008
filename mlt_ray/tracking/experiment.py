"""Writes one study or search as an experiment of MLflow."""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mlt_ray.reports.page.cells import slug
from mlt_ray.storage.files import file_sha256
from mlt_ray.storage.lease import alone
from mlt_ray.storage.record import RowRecord, RunRecord, StudyRecord
from mlt_ray.storage.report import Epoch, RunReport
from mlt_ray.storage.store import Store
from mlt_ray.tracking import bulk
from mlt_ray.tracking.beneath import Beneath, Lacking, together
from mlt_ray.tracking.content import Content, kept, row_digest
from mlt_ray.tracking.entry import Addition, Entry, PlainWriter, Written
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
from mlt_ray.tracking.metrics import curve_points

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AT_ONCE = 8
"""Requests to a server that are under way at once while many runs are written."""

Given = TypeVar("Given")


class Experiment:
    """The MLflow experiment of a study or search: a parent run per row, a child run per run."""

    def __init__(self, client: Any, store: Store, record: StudyRecord, uri: str) -> None:
        self.client = client
        self.store = store
        self.study = record.study
        self.rows: dict[str, RowRecord] = {}
        self._digests: dict[str, str] = {}
        self._rows_of_run: dict[str, list[tuple[RowRecord, RunRecord]]] = {}
        for row in record.rows:
            self.add(row)
        self.experiment = experiment_id(client, store, record, uri)
        self._content = Content(store, record)
        self._plain = PlainWriter(client, self.experiment, self._content.dataset)
        self._can_bulk = bulk.can_bulk(client, self.experiment)
        self._at_once = AT_ONCE if uri.startswith("http") else 1
        self._known: dict[str, Beneath] = {}
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
        for group in together(left, done):
            asked = [(row, [run for run in row.runs if run.digest in done]) for row in group]
            with self._alone():
                self._write_rows(asked, is_due=False)

    def _list_rows(self) -> None:
        """Look up which rows MLflow has, and what stands beneath them as their tags say."""
        bereft = bereft_parents(self.client, self.experiment)
        for run in runs_with(self.client, self.experiment, {KIND: "row"}):
            known = self._known.setdefault(run.data.tags[ROW_DIGEST], Beneath.of(run))
            if run.info.run_id in bereft:
                known.has_runs = ""

    def _has_all(self, row: RowRecord, done: set[str]) -> bool:
        """Whether MLflow has all of a row: its finished runs, and their mean."""
        finished = [run.digest for run in row.runs if run.digest in done]
        known = self._known.get(self._digests[row.name])
        if known is None:
            return not finished
        has_all = known.has_all(row, finished)
        if has_all:
            known.finished |= set(finished)
        return has_all

    def write_curve(self, digest: str, epochs: Sequence[Epoch]) -> None:
        """Write epochs of a run's learning curve."""
        for row, run in self._rows_of_run.get(digest, ()):
            child = self._child(row, run, epochs[0].ended_ms)
            self._plain.add(child, Addition(metrics=curve_points(epochs)))

    def write_runs(self, digests: Sequence[str]) -> None:
        """Write finished runs, then the means of the rows that they belong to."""
        asked: dict[str, tuple[RowRecord, list[RunRecord]]] = {}
        for digest in digests:
            for row, run in self._rows_of_run.get(digest, ()):
                asked.setdefault(row.name, (row, []))[1].append(run)
        if asked:
            with self._alone():
                self._write_rows(list(asked.values()), is_due=True)

    def _write_rows(
        self, asked: Sequence[tuple[RowRecord, Sequence[RunRecord]]], *, is_due: bool
    ) -> None:
        """Write what MLflow lacks of these finished runs, and then the means of their rows.

        `is_due`: the means in any case, not only if they are of other runs than before.
        """
        found = []
        for row, runs in asked:
            known = self._look_up(row, [run.digest for run in runs])
            left = [run for run in runs if known is None or run.digest not in known.finished]
            found.append((row, known, left))
        full = self._full_reports({run.digest for _, _, left in found for run in left})
        lacking = [
            Lacking(
                row=row,
                runs=left,
                reports=self._finished_reports(row),
                known=known,
                is_due=is_due,
            )
            for row, known, left in found
        ]
        if self._can_bulk:
            lacking = self._write_together(lacking, full)
        self._write_one_by_one(lacking, full)
        self._write_means([one for one in lacking if one.is_mean_due])

    def _full_reports(self, digests: set[str]) -> dict[str, RunReport]:
        """The whole reports of runs, by digest."""
        found = {report.digest: report for report in self.store.reports(digests)}
        for digest in digests:
            if digest not in found:
                raise RuntimeError(f"run {digest} ended without a report")
            self._reports[digest] = kept(found[digest])
        return found

    def _finished_reports(self, row: RowRecord) -> list[RunReport]:
        """Reports of a row's finished runs; each is read once, since a report never changes."""
        digests = [run.digest for run in row.runs]
        for report in self.store.reports(d for d in digests if d not in self._reports):
            self._reports[report.digest] = kept(report)
        return [self._reports[d] for d in digests if d in self._reports]

    def _look_up(self, row: RowRecord, digests: Sequence[str]) -> Beneath | None:
        """What MLflow has of a row: of its runs at least these. None if it has not the row."""
        known = self._find_row(row)
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

    def _find_row(self, row: RowRecord) -> Beneath | None:
        """What is known of a row's run; None if MLflow has not the row."""
        digest = self._digests[row.name]
        if digest not in self._known:
            # Another driver of the study may have created it.
            tags = {KIND: "row", ROW_DIGEST: digest}
            for run in runs_with(self.client, self.experiment, tags):
                self._known.setdefault(digest, Beneath.of(run))
        return self._known.get(digest)

    def _write_together(
        self, lacking: Sequence[Lacking], full: Mapping[str, RunReport]
    ) -> list[Lacking]:
        """Write all rows and runs that are new in one transaction; returns what is left to do."""
        if not any(one.new for one in lacking):
            return list(lacking)
        left, written = [], []
        with bulk.writing(self.client, self.experiment, self._content.dataset) as writer:
            for one in lacking:
                known, new = one.known, one.new
                if known is None and new:
                    known = self._add_row(one, full[new[0].digest].started_ms, writer)
                else:
                    left.append(one)
                for run in new:
                    assert known is not None
                    entry = self._content.run(one.row, run, known.run.run_id, full[run.digest])
                    written.append((one.digest, known, run.digest, writer.add(entry)))
        for row, known, digest, child in written:
            self._known[row] = known
            known.note(digest, child)
        return left

    def _add_row(self, one: Lacking, start_ms: int, writer: bulk.BulkWriter) -> Beneath:
        """Take a new row's run, with its mean, for the transaction."""
        # Another driver may have finished runs that it has not written yet.
        has_all = {run.digest for run in one.runs}.issuperset(one.finished)
        mean = self._content.mean(one.row, one.reports, has_all=has_all)
        run = writer.add(self._content.row(one.row, start_ms).with_addition(mean))
        known = Beneath(run=run, listed_in=self._hold)
        known.note_mean(one.row, one.finished, mean)
        return known

    def _write_one_by_one(self, lacking: Sequence[Lacking], full: Mapping[str, RunReport]) -> None:
        """Write what is left by MLflow's client: several requests at once to a server."""

        def write_row(one: Lacking) -> None:
            one.known = self._create_row(one.row, full[one.runs[0].digest].started_ms)

        def write_run(given: tuple[Beneath, RowRecord, RunRecord]) -> None:
            known, row, run = given
            entry = self._content.run(row, run, known.run.run_id, full[run.digest])
            child = known.children.get(run.digest)
            known.note(
                run.digest,
                self._plain.write(entry) if child is None else self._plain.complete(child, entry),
            )

        self._each(write_row, [one for one in lacking if one.runs and one.known is None])
        left = [
            (one.known, one.row, run)
            for one in lacking
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
        # The first alone: a server that knows the dataset not yet would make it several times.
        action(given[0])
        with ThreadPoolExecutor(min(self._at_once, len(given))) as pool:
            under_way = [pool.submit(action, one) for one in given[1:]]
            try:
                for ended in under_way:
                    ended.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _write_means(self, lacking: Sequence[Lacking]) -> None:
        """Write the means of rows whose runs are written."""
        # Drawn here: matplotlib's settings are those of the whole process.
        drawn = [
            (one, one.known, self._mean_of(one, one.known))
            for one in lacking
            if one.known is not None
        ]

        def write(given: tuple[Lacking, Beneath, Addition]) -> None:
            one, known, mean = given
            if known.is_bare:
                self._plain.complete(known.run, self._content.row(one.row, None))
            self._plain.add(known.run, mean)

        self._each(write, drawn)
        for one, known, mean in drawn:
            known.note_mean(one.row, one.finished, mean)

    def _mean_of(self, one: Lacking, known: Beneath) -> Addition:
        has_all = known.finished.issuperset(one.finished)
        return self._content.mean(one.row, one.reports, has_all=has_all)

    def write_failure(self, digest: str, reason: str) -> None:
        """Mark a run as failed, and tag it with the reason."""
        for row, run in self._rows_of_run.get(digest, ()):
            child = self._child(row, run, None)
            tags = {"mlt_ray.failure": reason}
            self._plain.add(child, Addition(tags=tags, end_ms=_now_ms()), status="FAILED")

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
        self._plain.add(run, Addition(files=files))
        self._plain.add(run, Addition(tags={"mlt_ray.page": sha256}, end_ms=_now_ms()))

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
        run = self._parent(self.rows[name], None).run
        self._plain.add(run, Addition(tags=named, end_ms=_now_ms()))

    def _parent(self, row: RowRecord, start_ms: int | None) -> Beneath:
        """The row's run, which is created if there is none."""
        if self._digests[row.name] not in self._known:
            with self._alone():
                if self._find_row(row) is None:
                    self._create_row(row, start_ms)
        return self._known[self._digests[row.name]]

    def _create_row(self, row: RowRecord, start_ms: int | None) -> Beneath:
        run = self._plain.create(self._content.row(row, start_ms))
        known = Beneath(run=run, listed_in=self._hold)
        self._known[self._digests[row.name]] = known
        return known

    def _child(self, row: RowRecord, run: RunRecord, start_ms: int | None) -> Written:
        """A run beneath its row's, which is created if there is none."""
        known = self._parent(row, start_ms)
        if run.digest not in known.children:
            with self._alone():
                self._look_up(row, [run.digest])
                if run.digest not in known.children:
                    entry = self._content.open_run(row, run, known.run.run_id, start_ms)
                    known.note(run.digest, self._plain.create(entry))
        return known.children[run.digest]


def _now_ms() -> int:
    return round(1000 * time.time())
