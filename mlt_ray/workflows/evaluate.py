"""Trained rows on another corpus: what the store lacks is computed, then the tables are made."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console

from mlt_ray.corpus.fold_notes import BY_SPEAKER
from mlt_ray.corpus.readers.elsewhere import HERE, Elsewhere
from mlt_ray.corpus.readers.read import read_corpus
from mlt_ray.corpus.utterance import Corpus
from mlt_ray.display.bars import Bars
from mlt_ray.display.lines import say
from mlt_ray.display.waiting import waiting
from mlt_ray.documents import parse_yaml
from mlt_ray.errors import UserError
from mlt_ray.features.fitted import check_speakers
from mlt_ray.labels import Labels
from mlt_ray.libraries import installed, require, versions
from mlt_ray.parsing import unknown_key
from mlt_ray.planning.cross_corpus import Chosen, choose, chosen_text, shared_texts
from mlt_ray.planning.workspace import check_texts, check_usable
from mlt_ray.reports.collect import find_record
from mlt_ray.reports.cross_corpus.cells import legend
from mlt_ray.reports.cross_corpus.files import write_files
from mlt_ray.reports.cross_corpus.scores import Answers, CrossCorpus, cross_corpus
from mlt_ray.reports.cross_corpus.tables import as_markdown, as_terminal
from mlt_ray.reports.frames import RunOfRow, finished_runs
from mlt_ray.reports.statistics import counted_runs
from mlt_ray.spec import RunSpec, digest_of
from mlt_ray.storage.evaluation import Asked, read_evaluation, write_evaluation
from mlt_ray.storage.lease import PATIENCE_S, alone
from mlt_ray.storage.record import RowRecord, StudyRecord
from mlt_ray.storage.store import Store
from mlt_ray.studies.labels import parse_labels
from mlt_ray.studies.study import Row

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, kw_only=True)
class EvaluationRequest:
    """Which rows, as ``STUDY/ROW``, a user wants to see on which other corpus.

    `labels` say what of the corpus counts (None: what the rows' classes are or spell).
    `leaves_out_heard`: recordings that runs were trained on are left out, and are no error.
    `unread_texts`: rows that read words are evaluated although they cannot read most texts. `glove`
    and `model_file` are those of `mlt_ray.inference.trained.open_trained`.
    """

    rows: Sequence[str]
    corpus: Path
    store: Store
    elsewhere: Elsewhere = HERE
    labels: Labels | None = None
    leaves_out_heard: bool = False
    unread_texts: bool = False
    glove: Path | None = None
    model_file: Path | None = None


@dataclass(frozen=True, kw_only=True, repr=False)
class Evaluated:
    """Rows on another corpus: `tables` of scores, and frames of what each run said.

    A notebook shows the tables for it. `digest` names what was asked for.
    """

    tables: CrossCorpus
    answers: tuple[Answers, ...]
    digest: str

    @cached_property
    def runs(self) -> "DataFrame":
        """A row a run: ``study, row, fold, seed, digest, wa, ua, macro_f1, confusion, classes``.

        Scores are those on the other corpus; ``num_utterances`` are tested.
        """
        from pandas import concat

        return concat([a.scores for a in self.answers], ignore_index=True)

    @cached_property
    def predictions(self) -> "DataFrame":
        """A row for each utterance of each run, then of each ensemble, whose ``run`` says so.

        Columns: ``study, row, run`` (its digest), ``fold, seed`` (0 of an ensemble), ``utterance,
        emotion`` (its true class), ``predicted``, and ``p_NAME``, the probability of each class,
        NaN for rows that do not have that class.
        """
        from pandas import concat

        found = [frame for a in self.answers for frame in (a.predictions, a.ensemble)]
        return concat(found, ignore_index=True)

    def __repr__(self) -> str:
        return as_markdown(self.tables)

    def _repr_markdown_(self) -> str:
        return repr(self)


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    """A row with its finished runs, and what of the other corpus counts for it."""

    name: str
    row: RowRecord
    runs: tuple[RunOfRow, ...]
    planned: int
    own: str
    chosen: Chosen
    notes: tuple[str, ...]


def read_labels(text: str | None) -> Labels | None:
    """What the option ``--labels`` says: a named set, or a YAML list or mapping as studies have."""
    return None if text is None else parse_labels(parse_yaml(text, "--labels"), "--labels")


def evaluate_rows(request: EvaluationRequest, console: Console) -> Evaluated:
    """Test every finished run of the rows on all utterances of a corpus that count.

    What the store has of it is not computed again. Raises `UserError` before anything is computed
    for rows without finished runs, and for a corpus that cannot be used or was trained on.
    """
    store = request.store
    store.check_writable()
    found = [_finished(name, store) for name in dict.fromkeys(request.rows)]
    with waiting(console, "reading the corpus"):
        other = read_corpus(request.corpus, elsewhere=request.elsewhere)
    candidates = [_candidate(name, record, other, request) for name, record in found]
    _tell(candidates, console)
    answers = tuple(_answers(candidates, request, console))
    notes = dict.fromkeys(note for candidate in candidates for note in candidate.notes)
    with waiting(console, "drawing groups of utterances"):
        tables = cross_corpus(answers, tuple(notes))
    asked = [[a.name, a.corpus.fingerprint, *a.corpus.classes] for a in answers]
    return Evaluated(tables=tables, answers=answers, digest=digest_of(asked))


def _finished(name: str, store: Store) -> tuple[str, StudyRecord]:
    """The record of a study with the named row alone."""
    if Path(name).is_dir():
        raise UserError(
            f"{name}: expected STUDY/ROW of a store, got a folder; an exported model predicts, and "
            "is evaluated where its runs are"
        )
    study, slash, row = name.partition("/")
    if not slash:
        raise UserError(f"{name}: expected STUDY/ROW, got no slash; name a row of a study")
    record = find_record(study, store)
    rows = {one.name: one for one in record.rows}
    if row not in rows:
        raise unknown_key(study, row, list(rows), "row")
    return name, replace(record, rows=(rows[row],))


def _candidate(
    name: str, record: StudyRecord, other: Corpus, request: EvaluationRequest
) -> _Candidate:
    store, [row] = request.store, record.rows
    runs = finished_runs([record], store)
    if not runs:
        raise UserError(f"{name}: expected finished runs in {store}, found none; run it first")
    values = store.read_json(store.corpus(row.spec["corpus"]))
    own = Corpus.from_dict(values) if values else None
    done = {run.report.digest for run in runs}
    trained = replace(row, name=name, runs=tuple(run for run in row.runs if run.digest in done))
    chosen = choose(trained, other, own, request.labels, leaves_out_heard=request.leaves_out_heard)
    check_usable(chosen.corpus, request.corpus)
    return _Candidate(
        name=name,
        row=row,
        runs=runs,
        planned=len(counted_runs(row, done)),
        own=record.corpus,
        chosen=chosen,
        notes=tuple(_notes(name, row, chosen, own, record.corpus)),
    )


def _notes(
    name: str, row: RowRecord, chosen: Chosen, own: Corpus | None, trained_on: str
) -> Iterator[str]:
    """What a reader of the row's scores must know, a sentence each."""
    if own is None:
        yield (
            f"{name}: the store lacks the corpus of its runs, so whether they have heard these "
            "recordings is not known."
        )
    if chosen.heard:
        yield f"{name}: {chosen.heard} recordings are left out, since runs were trained on them."
    if row.spec["features"].get("standardise") == "speaker":
        yield f"{name}: on {chosen.corpus.name} as on {trained_on}, {BY_SPEAKER}."
    if shared := shared_texts(row, chosen, own):
        yield (
            f"{name}: {shared} of {len(chosen.corpus)} utterances have a text that {trained_on} "
            "has, too."
        )


def _tell(candidates: Sequence[_Candidate], console: Console) -> None:
    """Say what counts of the corpus, and what is worth knowing about it, each once."""
    lines: dict[str, list[str]] = {}
    for candidate in candidates:
        lines.setdefault(f"corpus: {chosen_text(candidate.chosen)}", []).append(candidate.name)
    for line, names in lines.items():
        of = f" ({', '.join(names)})" if len(lines) > 1 else ""
        say(console, line + of)
    problems = dict.fromkeys(str(p) for c in candidates for p in c.chosen.corpus.problems)
    for problem in problems:
        say(console, f"note: {problem}")


def _answers(
    candidates: Sequence[_Candidate], request: EvaluationRequest, console: Console
) -> Iterator[Answers]:
    """What the runs say; what the store does not have of it is computed and stored."""
    store = request.store
    asked = {c.name: _asked(c) for c in candidates}
    kept = {
        name: {digest: read_evaluation(store, one) for digest, one in of_row.items()}
        for name, of_row in asked.items()
    }
    left = [c for c in candidates if any(found is None for found in kept[c.name].values())]
    number = sum(found is None for of_row in kept.values() for found in of_row.values())
    total = sum(len(of_row) for of_row in kept.values())
    console.print(f"runs: {total} asked for, {total - number} in the store, {number} to compute")
    if left and store.mirror is None and not os.access(store.root, os.W_OK):
        raise UserError(
            f"{store}: expected a store that may be written, since {number} runs are to be "
            "computed, got one that may not; change its permissions, or copy it"
        )
    for candidate in left:
        _check_before(candidate, request.unread_texts)
    for candidate in candidates:
        of_row = kept[candidate.name]
        missing = {d: one for d, one in asked[candidate.name].items() if of_row[d] is None}
        found = {d: shares for d, shares in of_row.items() if shares is not None}
        if missing:
            found |= _computed(candidate, missing, request, console)
        yield Answers(
            name=candidate.name,
            runs=candidate.runs,
            planned=candidate.planned,
            own=candidate.own,
            corpus=candidate.chosen.corpus,
            probabilities=np.stack([found[run.report.digest] for run in candidate.runs]),
        )


def _asked(candidate: _Candidate) -> dict[str, Asked]:
    """What names the answers of each run of a row, by the run's digest."""
    corpus = candidate.chosen.corpus
    utterances, libraries = tuple(u.id for u in corpus.utterances), _libraries(candidate)
    return {
        run.report.digest: Asked(
            run=run.report.digest,
            corpus=corpus.name,
            fingerprint=corpus.fingerprint,
            libraries=libraries,
            classes=corpus.classes,
            utterances=utterances,
        )
        for run in candidate.runs
    }


def _libraries(candidate: _Candidate) -> str:
    """What computes the row's features, with the versions that are installed here."""
    named: str = candidate.row.spec["features"]["libraries"]
    return installed(versions(named))


def _check_before(candidate: _Candidate, unread_texts: bool) -> None:
    """`_check_inputs`, but for a model of one's own, which is not known before it is opened."""
    # Not at the top: torch takes a second to import.
    from mlt_ray.inference.trained import read_spec

    values = candidate.runs[0].report.spec
    if not values["model"].get("source"):
        _check_inputs(candidate, read_spec(values, f"row {candidate.name}"), unread_texts)


def _check_inputs(candidate: _Candidate, spec: RunSpec, unread_texts: bool) -> None:
    """`UserError` without texts, speakers or libraries that the row's runs read."""
    require(versions(spec.features.libraries), f"row {candidate.name}")
    row = Row(
        name=candidate.name,
        published=None,
        labels=candidate.chosen.labels,
        folds=spec.folds,
        features=spec.features,
        model=spec.model,
        training=spec.training,
    )
    corpus = candidate.chosen.corpus
    check_texts(corpus, [row], unread_texts)
    if spec.features.standardise == "speaker":
        try:
            check_speakers(corpus.utterances)
        except UserError as error:
            reason = str(error).rpartition(";")[0]
            raise UserError(
                f"row {candidate.name} on corpus {corpus.name}: {reason}; name a row with "
                "features.standardise: train"
            ) from error


def _computed(
    candidate: _Candidate,
    missing: Mapping[str, Asked],
    request: EvaluationRequest,
    console: Console,
) -> dict[str, np.ndarray]:
    """The (N, K) probabilities of the missing runs, by digest, which are now in the store."""
    from mlt_ray.inference.evaluation import cached_features, fill_cache, probabilities_on
    from mlt_ray.inference.predictor import Predictor
    from mlt_ray.inference.trained import open_trained

    corpus, store = candidate.chosen.corpus, request.store
    with waiting(console, f"opening {candidate.name}"):
        model = open_trained(
            candidate.name, store, glove=request.glove, model_file=request.model_file
        )
    _check_inputs(candidate, model.spec, request.unread_texts)
    libraries = _libraries(candidate)
    if libraries != model.spec.features.libraries:
        say(
            console,
            f"note: {candidate.name}: features are computed with {libraries}; the runs were "
            f"trained on those of {model.spec.features.libraries}",
        )
    spec = replace(model.spec, features=replace(model.spec.features, libraries=libraries))
    model = replace(model, runs=tuple(run for run in model.runs if run.digest in missing))
    with Bars(console) as bars:
        fill_cache(corpus, spec, model.tools, store, bars.show)
        computed = ", ".join(f"{total} {what}" for what, total in bars.totals.items())
        what = f"{candidate.name}, {len(missing)} {'run' if len(missing) == 1 else 'runs'}"
        shares = probabilities_on(
            corpus,
            Predictor(model),
            cached_features(corpus, spec, store),
            lambda done, total: bars.show(what, done, total),
        )
    console.print(f"features: {computed or 'cached'}", highlight=False, soft_wrap=True)
    return {
        run.digest: write_evaluation(store, missing[run.digest], of_run)
        for run, of_run in zip(model.runs, shares, strict=True)
    }


def show_evaluated(evaluated: Evaluated, store: Store, out: Path | None, console: Console) -> None:
    """Print the tables, and write them with all predictions below the store, or into `out`."""
    found = evaluated.tables
    for table in as_terminal(found):
        console.print(table)
    for line in legend(found):
        say(console, line, style="dim")
    studies = "-".join(dict.fromkeys(row.name.partition("/")[0] for row in found.rows))
    name = f"evaluate-{studies}-on-{found.corpus}-{evaluated.digest[:8]}"
    folder = out or store.report_dir(name)
    with alone(store, f"reports-{name}", patience_s=PATIENCE_S) if out is None else nullcontext():
        files = write_files(found, evaluated.predictions, folder)
        if out is None:
            store.push(folder)
    names = ", ".join(file.name for file in files)
    say(console, f"written: {names} in {folder}")
