"""What a notebook calls: a study from its rows to frames, as the verb ``run`` computes it."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from mlt_ray.corpus.readers.elsewhere import Elsewhere
from mlt_ray.errors import RunsFailed, UserError
from mlt_ray.parsing import parse
from mlt_ray.planning.profile import Profile, load_profile
from mlt_ray.planning.resources import Resources
from mlt_ray.planning.workspace import Places
from mlt_ray.reports.collect import find_record
from mlt_ray.reports.results import Results, results_of
from mlt_ray.storage.names import plain
from mlt_ray.storage.store import Store
from mlt_ray.studies.files import check_own_name
from mlt_ray.studies.labels import parse_labels
from mlt_ray.studies.study import Study, load_study, parse_study
from mlt_ray.workflows.evaluate import (
    Evaluated,
    EvaluationRequest,
    evaluate_rows,
    show_evaluated,
)
from mlt_ray.workflows.report import show_results
from mlt_ray.workflows.run import Request, run_studies

WIDTH = 100
"""Characters of a line in a notebook, which does not say how wide it is."""

AnyStudy = str | Path | Mapping[str, Any]
"""A study: a shipped one's name, the path of a YAML file, or a file's values and a ``name``."""


def run(
    study: AnyStudy | Sequence[AnyStudy],
    corpus: str | Path,
    store: str | Path = "runs",
    *,
    rows: str | Sequence[str] = (),
    folds: Iterable[int] = (),
    seeds: Iterable[int] = (),
    changes: Mapping[str, Any] | None = None,
    audio: str | Path | None = None,
    texts: str | Path | None = None,
    glove: str | Path | None = None,
    encoder: str | None = None,
    speech_encoder: str | None = None,
    unread_texts: bool = False,
    tracking_uri: str | None = None,
    address: str | None = None,
    profile: str | Path | None = None,
    resources: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> Results:
    """Compute what a store lacks of one or more studies, as ``mlt-ray run`` does.

    `rows`, `folds` and `seeds` narrow what is computed; empty means all. `changes` are what
    ``--set`` is given, such as ``{"training.max_epochs": 20}``; `resources` are keys of
    `mlt_ray.planning.resources.Resources`, such as ``{"concurrency": 2}``, and replace those of the
    `profile`. The other arguments are the command's options of the same name. `progress` says
    whether to print what the command prints.

    Finished runs are never computed again. An interrupted call raises `KeyboardInterrupt` after the
    epochs under way; the same call goes on from there. Raises `UserError` for input that cannot be
    used, and `RunsFailed` if a run has failed, once the others have ended: `results` has those.
    """
    request = Request(
        studies=_load(study),
        places=Places(
            corpus=Path(corpus),
            store=Store(store),
            elsewhere=Elsewhere(audio=_path(audio), texts=_path(texts)),
            glove=_path(glove),
            encoder=encoder,
            speech_encoder=speech_encoder,
            unread_texts=unread_texts,
            **_machines(profile, resources or {}, address=address, tracking_uri=tracking_uri),
        ),
        rows=[rows] if isinstance(rows, str) else list(rows),
        folds=_numbers("folds", folds),
        seeds=_numbers("seeds", seeds),
    )
    if changes:
        overrides = [f"{key}={_json(value, key)}" for key, value in changes.items()]
        request = replace(request, studies=_load(study, overrides, request.asked_rows))
    console = _console(progress)
    outcome = run_studies(request, console)
    found = results_of(outcome.records, request.places.store)
    show_results(found, request.places.store, None, console, outcome.failures, outcome.tracker)
    if outcome.failures:
        raise RunsFailed(outcome.failures)
    return found


def results(store: str | Path, study: str | Path | Sequence[str | Path]) -> Results:
    """The results of one or more studies, by name or path, as far as the store has them.

    Raises `UserError` for a study that was never run in this store.
    """
    names = [study] if isinstance(study, str | Path) else study
    looking = Store(store).looking()
    return results_of([find_record(str(name), looking) for name in names], looking)


def evaluate(
    rows: str | Sequence[str],
    corpus: str | Path,
    store: str | Path = "runs",
    *,
    labels: str | Sequence[str] | Mapping[str, Any] | None = None,
    audio: str | Path | None = None,
    texts: str | Path | None = None,
    leave_out_heard: bool = False,
    unread_texts: bool = False,
    glove: str | Path | None = None,
    model_file: str | Path | None = None,
    progress: bool = True,
) -> Evaluated:
    """Test trained rows, as ``STUDY/ROW``, on another corpus, as ``mlt-ray evaluate`` does.

    `labels` are what a study's key ``labels`` is given: a named set, a list of classes, or classes
    with the names that count as them. The other arguments are the command's options of the same
    name. What the store has is not computed again. Raises `UserError` for input that cannot be
    used, such as recordings that runs of a row were trained on.
    """
    request = EvaluationRequest(
        rows=[rows] if isinstance(rows, str) else list(rows),
        corpus=Path(corpus),
        store=Store(store),
        elsewhere=Elsewhere(audio=_path(audio), texts=_path(texts)),
        labels=None
        if labels is None
        else parse_labels(json.loads(_json(labels, "labels")), "labels"),
        leaves_out_heard=leave_out_heard,
        unread_texts=unread_texts,
        glove=_path(glove),
        model_file=_path(model_file),
    )
    console = _console(progress)
    found = evaluate_rows(request, console)
    show_evaluated(found, request.store, None, console)
    return found


def _console(progress: bool) -> Console:
    """Where to print what the command prints; nowhere unless `progress`."""
    is_terminal = sys.stdout.isatty()
    # Plain lines in a notebook: rich's widgets need a package of their own, and Jupyter asks rich
    # for a terminal's colours and moves of the cursor, which a cell would keep.
    return Console(
        quiet=not progress,
        force_jupyter=False,
        force_terminal=is_terminal,
        width=None if is_terminal else WIDTH,
    )


def _load(
    study: AnyStudy | Sequence[AnyStudy],
    overrides: Sequence[str] = (),
    rows: frozenset[str] | None = None,
) -> list[Study]:
    studies = [study] if isinstance(study, str | Path | Mapping) else study
    return [_load_one(one, overrides, rows) for one in studies]


def _load_one(study: AnyStudy, overrides: Sequence[str], rows: frozenset[str] | None) -> Study:
    if not isinstance(study, Mapping):
        return load_study(str(study), overrides, rows)
    # Tuples and ranges of keys become what a YAML file has.
    values = json.loads(_json(dict(study), "study"))
    name = values.pop("name", None)
    if not isinstance(name, str):
        raise UserError(f"study: expected a name beside its rows, got {name!r}; add name: my_study")
    check_own_name(plain(name, "study"), "study")
    return parse_study(name, values, overrides, rows)


def _numbers(name: str, given: Any) -> list[int]:
    if isinstance(given, str | int) or not all(type(number) is int for number in given):
        raise UserError(f"{name}: expected whole numbers such as [1, 2], got {given!r}")
    return list(given)


def _json(value: Any, where: str) -> str:
    """A value as JSON, which is YAML too; `UserError` for one that YAML has no form for."""
    try:
        return json.dumps(value)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: expected values as YAML has them, got: {error}") from error


def _path(given: str | Path | None) -> Path | None:
    return Path(given) if given else None


def _machines(
    profile: str | Path | None, resources: Mapping[str, Any], **given: str | None
) -> dict[str, Any]:
    """Address, tracking URI and resources: as given, else as the profile says."""
    where = load_profile(str(profile)) if profile else Profile()
    found: dict[str, Any] = {k: v or getattr(where, k) for k, v in given.items()}
    values = {**asdict(where.resources), **resources}
    return {**found, "resources": parse(Resources, values, "resources")}
