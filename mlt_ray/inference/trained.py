"""A trained model: the runs of a row, or one run, with all that their predictions depend on."""

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mlt_ray.encoders.folder import folders_in
from mlt_ray.errors import UserError
from mlt_ray.features.extract import FeatureCache
from mlt_ray.features.fitted import FittedInputs
from mlt_ray.features.vectors import check_source, load_vectors
from mlt_ray.inference.raw import Tools
from mlt_ray.labels import FOUR
from mlt_ray.libraries import version, versions
from mlt_ray.models.own import Systems, load_systems
from mlt_ray.models.registry import SYSTEMS, parse_model
from mlt_ray.parsing import parse, unknown_key
from mlt_ray.spec import FeatureSpec, FoldSpec, Run, RunSpec, TrainingSpec
from mlt_ray.storage.record import RowRecord, RunRecord, read_record
from mlt_ray.storage.report import RunReport
from mlt_ray.storage.store import Store
from mlt_ray.training.classifiers import WEIGHTS_FILE as CLASSICAL_FILE
from mlt_ray.training.classifiers import Classical
from mlt_ray.training.weights import EARLIER_FILE, WEIGHTS_FILE, read_weights

if TYPE_CHECKING:
    from torch import Tensor

_DIGEST: Final = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """One run: what it fitted on its training part, and its weights.

    `weights` are those of a network by name, or fitted classifiers.
    """

    digest: str
    fold: int
    seed: int
    fitted: FittedInputs
    weights: "Mapping[str, Tensor] | Classical"

    def network_weights(self) -> "Mapping[str, Tensor]":
        """The weights of a network; `TypeError` for classifiers."""
        if isinstance(self.weights, Classical):
            raise TypeError(f"run {self.digest}: expected a network, got classifiers")
        return self.weights


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """The runs of a row, all of one specification, or one of them.

    `name` is ``STUDY/ROW`` or a run's digest. `vectors` are the (D,) pre-trained vectors of the
    training corpus's words that have one. `planned`: how many runs the row has, finished or not.
    """

    name: str
    spec: RunSpec
    runs: tuple[TrainedRun, ...]
    vectors: Mapping[str, np.ndarray]
    tools: Tools
    planned: int

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines on what a prediction may differ in from what training would say."""
        named = versions(self.spec.features.libraries)
        others = [
            f"{k} {version(k)} (trained with {v})" for k, v in named.items() if version(k) != v
        ]
        if not others:
            return ()
        return (f"{self.name}: features are computed by other versions: {', '.join(others)}",)

    @property
    def is_network(self) -> bool:
        """False if the runs are fitted classifiers."""
        return not isinstance(self.runs[0].weights, Classical)

    @property
    def is_by_speaker(self) -> bool:
        """True if a prediction depends on all recordings of the speaker."""
        return self.spec.features.standardise == "speaker"

    @property
    def reads_text(self) -> bool:
        """True if a prediction depends on the text."""
        model = self.spec.model
        return model.reads_words or model.text_encoder is not None

    @property
    def reads_audio(self) -> bool:
        """True if a prediction depends on the recording."""
        return self.spec.model.reads_audio

    @property
    def vector_dim(self) -> int:
        """D: values of a word vector; 1 if the training corpus has no word with one."""
        return len(next(iter(self.vectors.values()))) if self.vectors else 1

    def vectors_of(self, words: Sequence[str]) -> np.ndarray:
        """(V, D) float32 vectors of words that all have one."""
        rows = [self.vectors[word] for word in words]
        return np.array(rows, np.float32).reshape(-1, self.vector_dim)


def open_trained(
    model: str,
    store: Store,
    *,
    glove: Path | None = None,
    model_file: Path | None = None,
) -> TrainedModel:
    """The trained model of that name in a store: a row as ``STUDY/ROW``, or a run by its digest.

    Of a row, the finished runs count. `glove` is the file of word vectors that the row was trained
    with, if these are not the packaged ones, and `model_file` the file of a model of one's own.
    Raises `UserError` for a name that the store does not have, a row without finished runs, another
    file than that of training, and for damaged files.
    """
    if glove is not None:
        check_source(glove)
    name, runs = _runs_of(model, store)
    reports = store.reports(run.digest for run in runs)
    if not reports:
        raise UserError(f"{name}: expected finished runs in {store}, found none; run it first")
    spec = read_spec(reports[0].spec, f"run {reports[0].digest}", systems_of(model_file))
    tools = Tools(
        features=spec.features,
        folder_of=folders_in(store),
        open_vectors=functools.partial(load_vectors, glove),
    )
    found = tuple(_trained_run(report, spec, store) for report in reports)
    words = {word for run in found for word in run.fitted.vectors}
    return TrainedModel(
        name=name,
        spec=spec,
        runs=found,
        vectors=_vectors(words, spec.features, store, tools),
        tools=tools,
        planned=len(runs),
    )


def systems_of(model_file: Path | None) -> Systems:
    """The systems of this package, and those of the file of a model of one's own."""
    return load_systems([str(model_file)], Path(), "--model-file") if model_file else SYSTEMS


def _runs_of(model: str, store: Store) -> tuple[str, Sequence[RunRecord]]:
    """The name of a trained model, and its planned runs."""
    if _DIGEST.fullmatch(model):
        report = store.report(model)
        if report is None:
            raise UserError(f"run {model}: expected a finished run in {store}, found none")
        return model, [RunRecord(digest=model, fold=report.fold, seed=report.seed)]
    study, slash, row = model.partition("/")
    if model.startswith((".", "/", "~")) or Path(model).is_dir():
        got = "another" if Path(model).is_dir() else "none"
        raise UserError(f"{model}: expected a folder of mlt-ray export --to folder, got {got}")
    files = {n: store.search(n) for n in store.searches()}
    files |= {n: store.study(n) for n in store.studies()}
    if not files:
        raise UserError(f"{store}: expected a store with a study, found none; name another store")
    if study not in files:
        raise unknown_key(str(store), study, sorted(files), "study")
    record = read_record(store, files[study])
    rows: Mapping[str, RowRecord] = {r.name: r for r in record.rows} if record else {}
    if not slash or row not in rows:
        raise unknown_key(f"{store}, {study}", row or "(none)", list(rows), "row")
    return model, rows[row].runs


def read_spec(values: Mapping[str, Any], where: str, systems: Systems = SYSTEMS) -> RunSpec:
    """The specification whose `RunSpec.as_dict` a report holds; keys of later versions are filled.

    `UserError`, which begins with `where`, for values that this version does not know, and for a
    model of one's own that is not among `systems`.
    """
    model = dict(values["model"])
    source = model.pop("source", "")
    kind = systems.get(str(model.get("system")))
    if source != getattr(kind, "source", ""):
        raise UserError(
            f"{where}: expected the file {source or 'of this package'}, with which the model was "
            f"trained, got {getattr(kind, 'source', '') or 'none'}; give it with --model-file"
        )
    return RunSpec(
        corpus=values["corpus"],
        model=parse_model(model, f"{where}, model", systems),
        folds=parse(FoldSpec, values["folds"], f"{where}, folds"),
        features=parse(FeatureSpec, values["features"], f"{where}, features"),
        training=parse(TrainingSpec, values["training"], f"{where}, training"),
        recipe=values["recipe"],
        classes=tuple(values.get("classes", FOUR)),
    )


def _trained_run(report: RunReport, spec: RunSpec, store: Store) -> TrainedRun:
    run = Run(spec=spec, fold=report.fold, seed=report.seed)
    if run.digest != report.digest:
        raise UserError(
            f"run {report.digest}: expected a run that this version can read, got values that it "
            "reads otherwise; use the version that computed it"
        )
    path = store.run_file(report.digest, "inputs.json")
    inputs = store.read_json(path)
    with store.reading(path):
        fitted = None if inputs is None else FittedInputs.from_dict(inputs)
    if fitted is None:
        # An earlier version did not keep all of it; the store still has what it follows from.
        from mlt_ray.training.from_store import fold_data

        try:
            fitted = fold_data(run, store).all_fitted
        except KeyError as error:
            raise UserError(
                f"run {report.digest}: expected the features of its corpus in {store}, since an "
                "earlier version wrote less with a run, found they were deleted; the study run "
                "again with its corpus computes them"
            ) from error
    return TrainedRun(
        digest=report.digest,
        fold=report.fold,
        seed=report.seed,
        fitted=fitted,
        weights=_weights(report.digest, store),
    )


def _weights(digest: str, store: Store) -> "Mapping[str, Tensor] | Classical":
    readers: Mapping[str, Callable[[Path], Any]] = {
        WEIGHTS_FILE: read_weights,
        CLASSICAL_FILE: lambda path: Classical.from_bytes(path.read_bytes()),
        EARLIER_FILE: read_weights,
    }
    for name, read in readers.items():
        path = store.run_file(digest, name)
        if path.exists():
            with store.reading(path):
                weights: Mapping[str, Tensor] | Classical = read(path)
            return weights
    raise UserError(
        f"run {digest}: expected weights in {store.run_dir(digest)}, found none; delete the "
        "folder to compute the run again"
    )


def _vectors(
    words: Iterable[str], features: FeatureSpec, store: Store, tools: Tools
) -> dict[str, np.ndarray]:
    """Pre-trained vectors of words that have one, from the store's cache as far as it has them."""
    cache = FeatureCache.open(store, features).vectors
    found = {word: cache[word][0] for word in words if word in cache and cache.rows(word)}
    if missing := set(words) - found.keys():
        found |= tools.vectors.lookup(missing)
    return found
