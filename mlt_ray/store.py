"""The store: a folder that holds the truth of every result, and what is needed to resume.

    corpora/<fingerprint>.json   utterances and folds' raw material
    features/<kind>-<digest>/    cached features
    encoders/<digest>/           pre-trained encoders, for workers that see only the store
    runs/<digest>/               predictions, curve, weights, fitted inputs; report.json last
    checkpoints/<digest>.pt      state of an unfinished run
    studies/<study>.json         rows as last planned
    searches/<search>.json       configurations as proposed; Optuna's own state is in optuna.db

A run is finished when its report.json exists; it is written last, once, and never changed.
"""

import contextlib
import csv
import dataclasses
import io
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mlt_ray.errors import UserError
from mlt_ray.labels import CLASSES

PARTS = ("dev", "test")


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One line of the learning curve; scores are shares in 0–1, losses mean cross entropies."""

    epoch: int
    train_loss: float
    dev_loss: float
    dev_wa: float
    dev_ua: float
    ended_ms: int  # Unix time; the same value reaches MLflow, so that a replay adds nothing


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Predictions for one part: ids, (N,) labels and (N, 4) class probabilities."""

    utterances: tuple[str, ...]
    labels: np.ndarray
    probabilities: np.ndarray


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """What a finished run leaves: scores of both parts, the chosen epoch and its circumstances.

    `scores` maps part → {wa, ua, macro_f1, confusion}; `spec` is the RunSpec's values.
    """

    digest: str
    spec: dict[str, Any]
    fold: int
    seed: int
    scores: dict[str, dict[str, Any]]
    best_epoch: int
    curve: tuple[Epoch, ...]
    part_sizes: dict[str, int]
    num_parameters: int
    started_ms: int
    ended_ms: int
    computed_s: float
    environment: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "RunReport":
        """The report that `dataclasses.asdict` and JSON made `values` of."""
        curve = tuple(Epoch(**e) for e in values["curve"])
        return cls(**{**values, "curve": curve})


class Store:
    """Reads and writes one store; every file appears whole or not at all."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).resolve()
        if self.root.exists() and not self.root.is_dir():
            raise UserError(f"{self.root}: expected a folder for the store, got a file")

    @property
    def location(self) -> str:
        """What names the store to another process."""
        return str(self.root)

    def features(self, kind: str, digest: str) -> Path:
        """Folder of one kind of cached features."""
        return self.root / "features" / f"{kind}-{digest}"

    def encoder(self, digest: str) -> Path:
        """Folder of a pre-trained encoder."""
        return self.root / "encoders" / digest

    def run_dir(self, digest: str) -> Path:
        """Folder of a finished run."""
        return self.root / "runs" / digest

    def checkpoint(self, digest: str) -> Path:
        """File with the state of an unfinished run."""
        return self.root / "checkpoints" / f"{digest}.pt"

    def corpus(self, fingerprint: str) -> Path:
        """File with the utterances of a corpus, for workers that have no access to it."""
        return self.root / "corpora" / f"{fingerprint}.json"

    def study(self, name: str) -> Path:
        """File with a study's rows and runs as last planned."""
        return self.root / "studies" / f"{name}.json"

    def studies(self) -> list[str]:
        """Names of the studies that were planned in this store."""
        return sorted(p.stem for p in (self.root / "studies").glob("*.json"))

    def search(self, name: str) -> Path:
        """File with the configurations that a search has proposed."""
        return self.root / "searches" / f"{name}.json"

    def searches(self) -> list[str]:
        """Names of the searches that were begun in this store."""
        return sorted(p.stem for p in (self.root / "searches").glob("*.json"))

    def read_json(self, path: Path) -> Any:
        """The values in a file of the store, or None where there is no such file."""
        return json.loads(path.read_text()) if path.exists() else None

    def is_done(self, digest: str) -> bool:
        """Whether the run is finished."""
        return (self.run_dir(digest) / "report.json").exists()

    def report(self, digest: str) -> RunReport | None:
        """The run's report, or None where it is not finished; `UserError` if it is damaged."""
        path = self.run_dir(digest) / "report.json"
        try:
            values = self.read_json(path)
            return None if values is None else RunReport.from_dict(values)
        except (ValueError, TypeError, KeyError) as error:
            remedy = "delete the folder to compute the run again"
            raise UserError(f"{path}: expected a run report, got {error!r}; {remedy}") from error

    def write_run(
        self,
        report: RunReport,
        predictions: Mapping[str, Predictions],
        weights: bytes,
        inputs: Mapping[str, Any],
        weights_file: str = "weights.pt",
    ) -> None:
        """Write a finished run, report.json last. A run that is already finished stays as it is.

        `inputs` is what the fold fitted on its training part (normalisation, vocabularies);
        `weights_file` is what the weights are called, since not all are torch's.
        """
        if self.is_done(report.digest):
            return
        folder = self.run_dir(report.digest)
        write_bytes(folder / weights_file, weights)
        write_json(folder / "inputs.json", inputs)
        write_bytes(folder / "predictions.csv", predictions_csv(predictions).encode())
        write_bytes(folder / "curve.csv", curve_csv(report.curve).encode())
        write_json(folder / "report.json", dataclasses.asdict(report))
        self.checkpoint(report.digest).unlink(missing_ok=True)


def predictions_csv(predictions: Mapping[str, Predictions]) -> str:
    """One line an utterance: part, id, true class, predicted class, a probability a class."""
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    writer.writerow(["part", "utterance", "emotion", "predicted", *CLASSES])
    for part, found in predictions.items():
        for name, label, row in zip(
            found.utterances, found.labels, found.probabilities, strict=True
        ):
            values = [f"{p:.6f}" for p in row]
            writer.writerow([part, name, CLASSES[label], CLASSES[int(row.argmax())], *values])
    return output.getvalue()


def curve_csv(curve: tuple[Epoch, ...]) -> str:
    """The learning curve, one line an epoch."""
    names = [f.name for f in dataclasses.fields(Epoch)]
    rows = [",".join(str(getattr(e, n)) for n in names) for e in curve]
    return "\n".join([",".join(names), *rows]) + "\n"


def write_json(path: Path, values: Any) -> None:
    """Write JSON atomically, making the folder; keys keep their order, floats every digit."""
    write_bytes(path, (json.dumps(values, indent=1) + "\n").encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically, making its folder."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary sibling of `path` that takes its place, on disk, when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
