"""The store: a folder that holds the truth of every result, and what is needed to resume.

    corpora/<fingerprint>.json   utterances and folds' raw material
    features/<kind>-<digest>/    cached features
    encoders/<digest>/           pre-trained encoders, for workers that see only the store
    runs/<digest>/               predictions, curve, weights, fitted inputs; report.json last
    checkpoints/<digest>.pt      state of an unfinished run
    studies/<study>.json         rows as last planned
    searches/<search>.json       configurations as proposed; Optuna's own state is in optuna.db

    leases/                      who computes what now (`mlt_ray.storage.lease`)

A run is finished when its report.json exists; it is written last, once, and never changed.

A store behind a URI is mirrored by a folder of each machine that uses it
(`mlt_ray.storage.mirror`): what lacks there is fetched when it is asked for, and what is written
goes to the other side as well, in an order in which nothing there ever points to what is not there
yet. Databases such as MLflow's stay in the mirror: they are views, and are rebuilt from the store.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from mlt_ray.errors import UserError
from mlt_ray.storage.files import json_bytes, write_bytes

if TYPE_CHECKING:
    from mlt_ray.storage.mirror import Mirror
from mlt_ray.storage.report import Predictions, RunReport, curve_csv, predictions_csv


class Store:
    """Reads and writes one store: a folder, or a URI such as ``s3://bucket/prefix``.

    Every file appears whole or not at all. `root` is the folder, or this machine's mirror of the
    URI; `location` is what another process or machine makes the same store of; `str` of a store is
    its name for messages. Raises `UserError` for what cannot be a store.
    """

    def __init__(self, location: str | Path) -> None:
        self._mirror: Mirror | None = None
        text = str(location)
        if isinstance(location, Path) and is_remote(text.replace(":/", "://", 1)):
            raise UserError(f"{text}: expected a URI as text, got a path, which loses a slash")
        if is_remote(text):
            # pyarrow's file systems are loaded for those alone who use them.
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
        """Folder of a finished run; `run_file` names one file of it."""
        return self.root / "runs" / digest

    def run_file(self, digest: str, name: str) -> Path:
        """A file of a finished run, such as ``weights.pt``."""
        path = self.run_dir(digest) / name
        self.pull(path)
        return path

    def checkpoint(self, digest: str) -> Path:
        """File with the state of an unfinished run: `pull` it before, `push` it after use."""
        return self.root / "checkpoints" / f"{digest}.pt"

    def corpus(self, fingerprint: str) -> Path:
        """File with the utterances of a corpus, for workers that have no access to it."""
        return self.root / "corpora" / f"{fingerprint}.json"

    def study(self, name: str) -> Path:
        """File with a study's rows and runs as last planned."""
        return self.root / "studies" / f"{name}.json"

    def studies(self) -> list[str]:
        """Names of the studies that were planned in this store."""
        return self._names("studies")

    def pull(self, path: Path, *, fresh: bool = False) -> bool:
        """Whether a file of the store exists; fetched from behind the URI where it lacks here.

        `fresh`: fetched even if there is one here, since another machine may have changed it.
        """
        return self._mirror.pull(path, fresh=fresh) if self._mirror else path.exists()

    def push(self, path: Path) -> None:
        """Copy a file or folder of the store, which has been written here, to behind the URI."""
        if self._mirror:
            self._mirror.push(path)

    def search(self, name: str) -> Path:
        """File with the configurations that a search has proposed."""
        return self.root / "searches" / f"{name}.json"

    def searches(self) -> list[str]:
        """Names of the searches that were begun in this store."""
        return self._names("searches")

    def _names(self, folder: str) -> list[str]:
        names = {p.name for p in (self.root / folder).glob("*.json")}
        if self._mirror:
            names |= set(self._mirror.remote.files(folder))
        return sorted(name.removesuffix(".json") for name in names)

    def read_json(self, path: Path) -> Any:
        """The values in a file of the store, or None where there is no such file."""
        # Plans are the only such files that change.
        exists = self.pull(path, fresh=path.parent.name in ("studies", "searches"))
        return json.loads(path.read_text()) if exists else None

    def write_json(self, path: Path, values: Any) -> None:
        """Write a file of the store: what is here is also behind the URI."""
        content = json_bytes(values)
        if self._mirror:
            self._mirror.put(path, content)
        else:
            write_bytes(path, content)

    def is_done(self, digest: str) -> bool:
        """Whether the run is finished."""
        return self.pull(self.run_dir(digest) / "report.json")

    def finished(self, digests: Iterable[str]) -> set[str]:
        """Which of the runs are finished; for many, faster than asking for one after the other."""
        paths = {digest: self.run_dir(digest) / "report.json" for digest in digests}
        if self._mirror:
            self._mirror.pull_all(paths.values())
        return {digest for digest, path in paths.items() if path.exists()}

    def report(self, digest: str) -> RunReport | None:
        """The run's report, or None where it is not finished; `UserError` if it is damaged."""
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
        """The reports of those of the runs that are finished, in order."""
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

        `inputs` is what the fold fitted on its training part (normalisation, vocabularies);
        `weights_file` is what the weights are called, since not all are torch's.
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
    """Whether a store's location is a URI of something else than a folder of this machine."""
    scheme, colon, _ = location.partition("://")
    return bool(colon) and scheme.replace("+", "").isalnum() and scheme != "file"
