"""A study's results as a notebook sees them: frames, and the tables that are made from them."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from mlt_ray.reports.collect import Table, table_of
from mlt_ray.reports.frames import (
    RunOfRow,
    curves_frame,
    finished_runs,
    predictions_frame,
    runs_frame,
)
from mlt_ray.reports.tables import as_markdown
from mlt_ray.storage.record import StudyRecord
from mlt_ray.storage.store import Store

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, kw_only=True, repr=False)
class Results:
    """The finished runs of one or more studies, as they were when the store was read.

    `runs`: a row a run. Its columns are ``study, row, fold, seed, digest, best_epoch``; ``dev_wa,
    dev_ua, dev_macro_f1, test_wa, test_ua, test_macro_f1`` (shares in 0–1, at `best_epoch`);
    ``dev_confusion, test_confusion`` (counts, true by predicted classes, in the order of
    ``classes``); ``num_folds, num_train, num_dev, num_test`` (the last three count utterances),
    ``num_parameters, computed_s``; ``details``, what a run says of itself besides its scores, such
    as its weights of a speech encoder's layers. Runs that are planned but not finished are not
    there: the tables say how many there are of how many.

    `records`: what the `store` notes of each study. `finished`: the reports of the runs.

    `tables`: the table of each study, made from `runs`. A notebook shows them for the results.

    Columns of these frames may be added, but are never renamed or given another meaning; so it is
    with `mlt_ray.reports.frames.RUN_COLUMNS`, which has their types.
    """

    runs: "DataFrame"
    tables: tuple[Table, ...]
    records: tuple[StudyRecord, ...]
    finished: tuple[RunOfRow, ...]
    store: Store

    @cached_property
    def curves(self) -> "DataFrame":
        """A row an epoch: ``study, row, fold, seed``, then the fields of `Epoch`.

        These are ``epoch, train_loss, dev_loss, dev_wa, dev_ua, dev_macro_f1, ended_ms``.
        `dev_macro_f1` is NaN for runs of before it was computed.
        """
        return curves_frame(self.finished)

    @cached_property
    def predictions(self) -> "DataFrame":
        """A row for each utterance of dev and test of each run; read when first asked for.

        Columns: ``study, row, fold, seed, part`` (dev or test), ``utterance, emotion`` (its true
        class), ``predicted``, and ``p_NAME``, the probability of each class, NaN for runs that do
        not have that class. `UserError` if a run's file is missing or damaged.
        """
        return predictions_frame(self.finished, self.store)

    def __repr__(self) -> str:
        return as_markdown(self.tables)

    def _repr_markdown_(self) -> str:
        return repr(self)


def results_of(records: Iterable[StudyRecord], store: Store) -> Results:
    """The results of studies, with the runs of their records that the store has now."""
    records = list({record.study: record for record in records}.values())
    finished = finished_runs(records, store)
    runs = runs_frame(finished)
    tables = (table_of(record, runs[runs["study"] == record.study], store) for record in records)
    return Results(
        runs=runs,
        tables=tuple(tables),
        records=tuple(records),
        finished=finished,
        store=store,
    )
