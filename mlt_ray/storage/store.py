"""The store: a folder with all results, and with what is needed to resume after a crash.

    corpora/<fingerprint>.json   utterances of a corpus, from which folds are made
    features/<kind>-<digest>/    cached features
    encoders/<digest>/           pre-trained encoders, for workers that see only the store
    runs/<digest>/               predictions, curve, weights, fitted inputs; report.json last
    checkpoints/<digest>.pt      state of an unfinished run
    studies/<study>.json         rows as last planned
    searches/<search>.json       configurations as proposed; Optuna's own state is in optuna.db,
                                 behind a URI in trials/<search>-<digest>/, a file a trial

    leases/                      which process computes a run now (`mlt_ray.storage.lease`)

A run is finished when its report.json exists; it is written last, once, and never changed.

For a store behind a URI, each machine has a local mirror (`mlt_ray.storage.mirror`). A file is
downloaded when it is asked for, and a written file is uploaded as well. Files are uploaded in such
an order that no index or report is there before the files that it describes. Databases such as
MLflow's stay in the mirror: they can be rebuilt from the store.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from mlt_ray.errors import UserError
from mlt_ray.storage.files import json_bytes, write_bytes
from mlt_ray.storage.report import Predictions, RunReport, curve_csv, predictions_csv

if TYPE_CHECKING:
    from mlt_ray.storage.mirror import Mirror


class Store:
    """Reads and writes one store: a folder, or a URI such as ``s3://bucket/prefix``.

    Every file is complete or does not appear. `root` is the folder, or this machine's mirror of the
    URI. `Store(location)` opens the same store in another process or on another machine. `str` of
    a store is its name for messages. Raises `UserError` if the location cannot be a store.
    """

    def __init__(self, location: str | Path) -> None:
        self._mirror: Mirror | None = None
        text = str(location)
        if isinstance(location, Path) and is_remote(text.replace(":/", "://", 1)):
            raise UserError(f"{text}: expected a URI as text, got a path, which loses a slash")
        if is_remote(text):
            # Imported here, since only stores behind a URI need pyarrow.
            from mlt_ray.storage.mirror import open_mirror

            self._mirror = open_mirror(text)
            self.root = self._mirror.root
            self.location = text
        else:
            self.root = Path(unquote(text[7:]) if text.startswith("file://") else text).resolve()
            self.location = str(self.root)
        if self.root.exists() and not self.root.is_dir():
            raise UserError(f"{self.root}: expected a folder for the store, got a file")

    def __str__(self) -> str:
        return self._mirror.remote.name if self._mirror else self.location

    @property
    def mirror(self) -> "Mirror | None":
        """The mirror of a store behind a URI; None for a folder."""
        return self._mirror

    def features(self, kind: str, digest: str) -> Path:
        """Folder of one kind of cached features."""
        return self._shared(self.root / "features" / f"{kind}-{digest}")

    def encoder(self, digest: str) -> Path:
        """Folder of a pre-trained encoder."""
        return self._shared(self.root / "encoders" / digest)

    def _shared(self, folder: Path) -> Path:
        if self._mirror:
            self._mirror.share(folder)
        return folder

    def run_dir(self, digest: str) -> Path:
        """Folder of a finished run. Use `run_file` to read a file of it: it downloads the file."""
        return self.root / "runs" / digest

    def run_file(self, digest: str, name: str) -> Path:
        """A file of a finished run, such as ``weights.pt``."""
        path = self.run_dir(digest) / name
        self.pull(path)
        return path

    def checkpoint(self, digest: str) -> Path:
        """File with the state of an unfinished run. `pull` before reading, `push` after writing."""
        return self.root / "checkpoints" / f"{digest}.pt"

    def corpus(self, fingerprint: str) -> Path:
        """File with the utterances of a corpus, for workers that cannot read the corpus."""
        return self.root / "corpora" / f"{fingerprint}.json"

    def study(self, name: str) -> Path:
        """File with a study's rows and runs as last planned."""
        return self.root / "studies" / f"{name}.json"

    def studies(self) -> list[str]:
        """Names of the studies that were planned in this store."""
        return self._names("studies")

    def pull(self, path: Path, *, fresh: bool = False) -> bool:
        """Whether a file of the store exists; it is downloaded if there is no local copy.

        If `fresh`, it is downloaded in any case, since another machine may have changed it.
        """
        return self._mirror.pull(path, fresh=fresh) if self._mirror else path.exists()

    def push(self, path: Path) -> None:
        """Upload a local file or folder of the store; does nothing if the store is a folder."""
        if self._mirror:
            self._mirror.push(path)

    def search(self, name: str) -> Path:
        """File with the configurations that a search has proposed."""
        return self.root / "searches" / f"{name}.json"

    def searches(self) -> list[str]:
        """Names of the searches that were started in this store."""
        return self._names("searches")

    def _names(self, folder: str) -> list[str]:
        names = {p.name for p in (self.root / folder).glob("*.json")}
        if self._mirror:
            names |= set(self._mirror.remote.files(folder))
        return sorted(name.removesuffix(".json") for name in names)

    def read_json(self, path: Path) -> Any:
        """The values in a JSON file of the store; None if it does not exist."""
        # Only files of studies and searches ever change.
        exists = self.pull(path, fresh=path.parent.name in ("studies", "searches"))
        return json.loads(path.read_text()) if exists else None

    def write_json(self, path: Path, values: Any) -> None:
        """Write a JSON file of the store, also behind the URI."""
        content = json_bytes(values)
        if self._mirror:
            self._mirror.put(path, content)
        else:
            write_bytes(path, content)

    def is_done(self, digest: str) -> bool:
        """Whether the run is finished."""
        return self.pull(self.run_dir(digest) / "report.json")

    def finished(self, digests: Iterable[str]) -> set[str]:
        """The finished ones among the runs; faster than asking `is_done` for each."""
        paths = {digest: self.run_dir(digest) / "report.json" for digest in digests}
        if self._mirror:
            self._mirror.pull_all(paths.values())
        return {digest for digest, path in paths.items() if path.exists()}

    def report(self, digest: str) -> RunReport | None:
        """The run's report; None if it is not finished, `UserError` if the file is damaged."""
        path = self.run_dir(digest) / "report.json"
        try:
            values = self.read_json(path)
            return None if values is None else RunReport.from_dict(values)
        except (ValueError, TypeError, KeyError) as error:
            remedy = "delete the folder to compute the run again"
            if self._mirror:
                remedy = f"delete the folder, here and in {self}, to compute the run again"
            raise UserError(f"{path}: expected a run report, got {error!r}; {remedy}") from error

    def reports(self, digests: Iterable[str]) -> list[RunReport]:
        """Reports of the finished ones among the runs, in the given order."""
        digests = list(digests)
        done = self.finished(digests)
        found = (self.report(digest) for digest in digests if digest in done)
        return [report for report in found if report is not None]

    def write_run(
        self,
        report: RunReport,
        predictions: Mapping[str, Predictions],
        weights: bytes,
        inputs: Mapping[str, Any],
        weights_file: str = "weights.pt",
    ) -> None:
        """Write a finished run, report.json last. A run that is already finished stays as it is.

        `inputs`: what was fitted on the fold's training part, such as normalisation and vocabulary.
        `weights_file`: name of the weights' file, which differs for models that are not torch's.
        """
        if self.is_done(report.digest):
            return
        folder = self.run_dir(report.digest)
        write_bytes(folder / weights_file, weights)
        write_bytes(folder / "inputs.json", json_bytes(inputs))
        write_bytes(folder / "predictions.csv", predictions_csv(predictions).encode())
        write_bytes(folder / "curve.csv", curve_csv(report.curve).encode())
        self.push(folder)
        self.write_json(folder / "report.json", dataclasses.asdict(report))
        checkpoint = self.checkpoint(report.digest)
        if self._mirror:
            self._mirror.remove(checkpoint)
        else:
            checkpoint.unlink(missing_ok=True)


def is_remote(location: str) -> bool:
    """Whether a store's location is a URI, other than ``file://``."""
    scheme, colon, _ = location.partition("://")
    return bool(colon) and scheme.replace("+", "").isalnum() and scheme != "file"
