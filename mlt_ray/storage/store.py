"""The store: a folder with all results, and with what is needed to resume after a crash.

    corpora/<fingerprint>.json   utterances of a corpus, from which folds are made
    features/<kind>-<digest>/    cached features
    encoders/<digest>/           pre-trained encoders, for workers that see only the store
    models/<digest>.py           files of users' own models; kept for people, never run
    runs/<digest>/               predictions, curve, weights, fitted inputs; report.json last
    evaluations/<digest>.json    what a run says of another corpus (`mlt_ray.storage.evaluation`)
    checkpoints/<digest>.pt      state of an unfinished run
    studies/<study>.json         rows as last planned
    searches/<search>.json       configurations as proposed; Optuna's own state is in optuna.db,
                                 behind a URI in trials/<search>-<digest>/, a file a trial

    leases/                      which process computes a run now (`mlt_ray.storage.lease`)

A run is finished when its report.json exists; it is written last, once, and never changed. In a
folder the run's folder appears as a whole, by a rename; a report behind a URI has checksums of the
run's other files, which tell files of two writers apart.

For a store behind a URI, each machine has a local mirror (`mlt_ray.storage.mirror`). A file is
downloaded when it is asked for, and a written file is uploaded as well. Files are uploaded in such
an order that no index or report is there before the files that it describes. The files behind the
URI say what is finished: what only a mirror has is uploaded again, or does not count. Databases
such as MLflow's stay in the mirror: they can be rebuilt from the store.
"""

import contextlib
import copy
import dataclasses
import hashlib
import math
import os
import sys
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from mlt_ray.errors import StoreUnreachable, UserError
from mlt_ray.parsing import parse_json
from mlt_ray.storage.files import (
    beside,
    check_writable,
    json_bytes,
    local_files,
    put_in_place,
    write_bytes,
)
from mlt_ray.storage.format import with_format, without_format
from mlt_ray.storage.names import plain
from mlt_ray.storage.outage import nothing
from mlt_ray.storage.report import Predictions, RunReport, curve_csv, predictions_csv

if TYPE_CHECKING:
    from mlt_ray.storage.mirror import Mirror

REPORT = "report.json"

CHECKSUMS = "files"
"""Key of a report behind a URI: SHA-256 of the run's other files, by name."""

RUN_FILES = frozenset({REPORT, "inputs.json", "predictions.csv", "curve.csv"})
"""Names of the files of a finished run, but for its weights."""

FOLDERS: Final = (
    "checkpoints", "corpora", "encoders", "evaluations", "features", "leases", "models", "reports",
    "runs", "searches", "studies",
)  # fmt: skip
"""The folders of a store in which only this package writes."""

PAGE = "report.html"
"""Name of a report's page, in the folder of its tables (`Store.report_dir`)."""


class Store:
    """Reads and writes one store: a folder, or a URI such as ``s3://bucket/prefix``.

    Every file is complete or does not appear. `root` is the folder, or this machine's mirror of the
    URI. `Store(location)` opens the same store in another process or on another machine. `str` of
    a store is its name for messages. Raises `UserError` if the location cannot be a store.

    A store behind a URI that does not answer is waited for (`mlt_ray.storage.outage`). Only opening
    it fails at once, except for a `patient` caller, such as a worker whose driver has opened it.
    """

    def __init__(self, location: str | Path, *, patient: bool = False) -> None:
        self._mirror: Mirror | None = None
        self._told: set[str] = set()
        self._only_looks = False
        text = str(location)
        if isinstance(location, Path) and is_remote(text.replace(":/", "://", 1)):
            raise UserError(f"{text}: expected a URI as text, got a path, which loses a slash")
        if is_remote(text):
            # Imported here, since only stores behind a URI need pyarrow.
            from mlt_ray.storage.mirror import open_mirror

            self._mirror = open_mirror(text, patient=patient)
            self.root = self._mirror.root
            self.location = text
        else:
            path = unquote(text[7:]) if text.startswith("file://") else text
            if not path:
                raise UserError("--store: expected a folder or a URI, got an empty text")
            self.root = Path(os.path.realpath(path))
            self.location = str(self.root)
        if self.root.is_symlink():
            raise UserError(f"{self.root}: expected a folder for the store, got a link to itself")
        if self.root.exists() and not self.root.is_dir():
            raise UserError(f"{self.root}: expected a folder for the store, got a file")
        for name in FOLDERS:
            if (part := self.root / name).exists() and not part.is_dir():
                raise UserError(f"{part}: expected a folder, got a file; delete or rename it")

    def __str__(self) -> str:
        return self._mirror.remote.name if self._mirror else self.location

    def check_writable(self) -> None:
        """`UserError` if nothing can be written into the store's folder, or the mirror's."""
        check_writable(self.root, f"--store {self}")

    @property
    def mirror(self) -> "Mirror | None":
        """The mirror of a store behind a URI; None for a folder."""
        return self._mirror

    def features(self, kind: str, digest: str) -> Path:
        """Folder of one kind of cached features."""
        return self._shared(self._path("features", f"{kind}-{digest}"))

    def encoder(self, digest: str) -> Path:
        """Folder of a pre-trained encoder."""
        return self._shared(self._path("encoders", digest))

    def _path(self, folder: str, name: str) -> Path:
        """The path of a name in a folder of the store; `UserError` if the name would leave it."""
        return self.root / folder / plain(name, f"{self}, {folder}")

    def _shared(self, folder: Path) -> Path:
        if self._mirror:
            self._mirror.share(folder)
        return folder

    def run_dir(self, digest: str) -> Path:
        """Folder of a finished run. Use `run_file` to read a file of it: it downloads the file."""
        return self._path("runs", digest)

    def run_file(self, digest: str, name: str) -> Path:
        """A file of a finished run, such as ``weights.safetensors``.

        Raises `UserError` if it is not the file that was written with the run's report.
        """
        path = self.run_dir(digest) / plain(name, self.run_dir(digest))
        self.pull(path)
        expected = self._checksums(digest).get(name) if self._mirror else None
        if expected and path.exists() and checksum(path.read_bytes()) != expected:
            raise UserError(
                f"{path}: expected the file that was written with the run's report, got another, "
                f"since two processes have written it; {self._recompute}"
            )
        return path

    def _checksums(self, digest: str) -> Mapping[str, str]:
        """The checksums in the report of a run behind a URI; empty if there are none."""
        report = self.run_dir(digest) / REPORT
        found: Mapping[str, str] = {}
        if self.pull(report):
            found = self.read_json(report).get(CHECKSUMS, {})
        return found

    def checkpoint(self, digest: str) -> Path:
        """File with the state of an unfinished run. `pull` before reading, `push` after writing."""
        return self._path("checkpoints", f"{digest}.pt")

    def corpus(self, fingerprint: str) -> Path:
        """File with the utterances of a corpus, for workers that cannot read the corpus."""
        return self._path("corpora", f"{fingerprint}.json")

    def model(self, digest: str) -> Path:
        """File with the copy of a model's file."""
        return self._path("models", f"{digest}.py")

    def evaluation(self, digest: str) -> Path:
        """File with what a run says of the utterances of another corpus."""
        return self._path("evaluations", f"{digest}.json")

    def study(self, name: str) -> Path:
        """File with a study's rows and runs as last planned."""
        return self._path("studies", f"{name}.json")

    def report_dir(self, name: str) -> Path:
        """Folder for the tables of studies, or of a search, of that name."""
        return self._path("reports", name)

    def studies(self) -> list[str]:
        """Names of the studies that were planned in this store."""
        return self._names("studies")

    def at_once(self) -> "Store":
        """The same store, which raises `StoreSilent` where this one waits for an answer."""
        made = copy.copy(self)
        made._mirror = self._mirror and self._mirror.at_once()
        return made

    def looking(self) -> "Store":
        """The same store, which uploads nothing that only this machine has, but counts it."""
        made = copy.copy(self)
        made._only_looks = True
        return made

    def pull(self, path: Path, *, keep_newer: bool = False) -> bool:
        """Whether a file of the store exists; its local copy becomes the same.

        If `keep_newer`, a local file stays that is newer than the one behind the URI, or the only
        one, such as a checkpoint that was written while the store did not answer.
        """
        return self._mirror.pull(path, keep_newer=keep_newer) if self._mirror else path.exists()

    def keep(self, path: Path) -> bool:
        """Whether a file of the store exists; one that only this machine has is uploaded."""
        if self.pull(path):
            return True
        if not path.exists():
            return False
        if self._only_looks:
            return True
        self.push(path)
        self._tell(
            f"{self.mirror and self.mirror.name(path)} is uploaded again, which only "
            f"{self.root} had"
        )
        return True

    def _tell(self, line: str) -> None:
        print(f"{self}: {line}", file=sys.stderr)

    def push(self, path: Path) -> None:
        """Upload a local file or folder of the store; does nothing if the store is a folder."""
        if self._mirror:
            self._mirror.push(path)

    def search(self, name: str) -> Path:
        """File with the configurations that a search has proposed."""
        return self._path("searches", f"{name}.json")

    def searches(self) -> list[str]:
        """Names of the searches that were started in this store."""
        return self._names("searches")

    def _names(self, folder: str) -> list[str]:
        names = {p.name for p in (self.root / folder).glob("*.json")}
        if self._mirror:
            names |= self._mirror.files(folder)
        # An object store may hold any key there, such as studies/../x.json.
        return sorted(name.removesuffix(".json") for name in names if "/" not in name)

    def read_json(self, path: Path) -> Any:
        """The values in a JSON file of the store; None if it does not exist.

        `UserError` for a file that is damaged.
        """
        if not self.keep(path):
            return None
        with self.reading(path):
            return parse_json(path.read_text("utf-8"))

    @contextlib.contextmanager
    def reading(self, path: Path) -> Iterator[None]:
        """Raises a `UserError` that names a file if the block cannot make sense of its content."""
        try:
            yield
        except (ValueError, TypeError, LookupError, AttributeError, zipfile.BadZipFile) as error:
            remedy = "delete the file: whatever asks for it again writes it anew"
            if path.parent.parent == self.root / "runs":
                remedy = self._recompute
            elif path.parent == self.root / "evaluations":
                remedy = "delete the file to compute it again"
            raise UserError(
                f"{path}: expected a file of a store, got {error!r}; {remedy}"
            ) from error

    def write_json(self, path: Path, values: Any) -> None:
        """Write a JSON file of the store, also behind the URI."""
        self.write(path, json_bytes(values))

    def write(self, path: Path, content: bytes) -> None:
        """Write a file of the store, also behind the URI."""
        if self._mirror:
            self._mirror.put(path, content)
        else:
            write_bytes(path, content)

    def is_done(self, digest: str) -> bool:
        """Whether the run is finished."""
        return digest in self.finished([digest])

    def finished(self, digests: Iterable[str]) -> set[str]:
        """The finished ones among the runs; faster than asking `is_done` for each.

        A run whose files only this machine has, all of them, is uploaded again (except by a store
        that is only `looking`). That is told in one line; so is it where they are not complete, and
        the run counts as not finished.
        """
        reports = {digest: self.run_dir(digest) / REPORT for digest in digests}
        if self._mirror is None:
            return {digest for digest, path in reports.items() if path.exists()}
        there = self._mirror.pull_all(reports.values())
        here = {d for d, path in reports.items() if path not in there and path.exists()}
        whole = {d for d in here if is_whole(set(os.listdir(self.run_dir(d))))}
        if whole and self._only_looks:
            self._tell(f"{_runs(whole)} in {self.root} alone; the next run or sync uploads them")
        elif whole:
            self._mirror.push(*(self.run_dir(digest) for digest in whole))
            self._tell(f"{_runs(whole)} uploaded again, which only {self.root} had")
        if told := here - whole - self._told:
            self._told |= told
            self._tell(f"{_runs(told)} no longer there, to be computed again")
        return {digest for digest, path in reports.items() if path in there} | whole

    def report(self, digest: str) -> RunReport | None:
        """The run's report; None if it is not finished, `UserError` if the file is damaged."""
        return next(iter(self.reports([digest])), None)

    def reports(self, digests: Iterable[str]) -> list[RunReport]:
        """Reports of the finished ones among the runs, in the given order."""
        digests = list(digests)
        done = self.finished(digests)
        return [self._report(digest) for digest in digests if digest in done]

    def _report(self, digest: str) -> RunReport:
        path = self.run_dir(digest) / REPORT
        try:
            values = without_format(parse_json(path.read_text("utf-8")), path)
            values.pop(CHECKSUMS, None)
            report = RunReport.from_dict(values)
            if report.digest != digest:
                raise ValueError(f"that of run {report.digest}")
            for part, scores in report.scores.items():
                for name, score in scores.items():
                    if isinstance(score, float) and not math.isfinite(score):
                        raise ValueError(f"{part} {name} {score}")
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise UserError(
                f"{path}: expected a run report, got {error!r}; {self._recompute}"
            ) from error
        return report

    @property
    def _recompute(self) -> str:
        """The remedy for a run whose files are damaged."""
        where = f", here and in {self}," if self._mirror else ""
        return f"delete the folder{where} to compute the run again"

    def write_run(
        self,
        report: RunReport,
        predictions: Mapping[str, Predictions],
        weights: bytes,
        inputs: Mapping[str, Any],
        weights_file: str = "weights.safetensors",
        check: Callable[[], None] = nothing,
    ) -> None:
        """Write a finished run, report.json last. A run that is already finished stays as it is.

        All files are of one writer, even if several write the run at once: a folder is renamed as a
        whole, and a report behind a URI has checksums of the other files, which `run_file` checks.

        `inputs`: what was fitted on the fold's training part, such as normalisation and vocabulary.
        `weights_file`: name of the weights' file, which differs for models that are not torch's.
        `check` is called before anything appears in the store, again before the report does, and
        after every outage. It raises `RunStopped` if another process may have begun the run. Where
        the upload fails for another reason, the run stays complete in the mirror: `finished`
        uploads it.
        """
        folder = self.run_dir(report.digest)
        if self._is_there(folder / REPORT):
            return
        files = {
            weights_file: weights,
            "inputs.json": json_bytes(inputs),
            "predictions.csv": predictions_csv(predictions).encode(),
            "curve.csv": curve_csv(report.curve).encode(),
        }
        values = with_format(dataclasses.asdict(report))
        if self._mirror:
            values[CHECKSUMS] = {name: checksum(content) for name, content in files.items()}
        with beside(folder) as made:
            for name, content in (files | {REPORT: json_bytes(values)}).items():
                write_bytes(made / name, content)
            if self._mirror:
                self._upload_run(made, folder, check)
            else:
                check()
                put_in_place(made, folder, lambda names: REPORT in names)
        self.drop_checkpoint(report.digest)

    def _upload_run(self, made: Path, folder: Path, check: Callable[[], None]) -> None:
        """Upload a run's files, the report last, unless another process uploads its report first.

        The files of the local folder `made` go into the mirror's `folder` if they are uploaded, or
        cannot be.
        """
        mirror, report = self._mirror, made / REPORT
        assert mirror is not None
        try:
            for part in ([path for path in local_files(made) if path != report], [report]):
                mirror.waiting(check)
                if mirror.pull(folder / REPORT):
                    return
                mirror.push_as(folder, *part, check=check)
        except StoreUnreachable:
            put_in_place(made, folder, is_whole)
            raise
        put_in_place(made, folder, is_whole)

    def drop_checkpoint(self, digest: str) -> None:
        """Delete a run's checkpoint, if there is one."""
        checkpoint = self.checkpoint(digest)
        if self._mirror:
            self._mirror.remove(checkpoint)
        else:
            checkpoint.unlink(missing_ok=True)

    def _is_there(self, path: Path) -> bool:
        """Whether a file of the store exists; False if the store does not answer now."""
        try:
            return self.at_once().pull(path)
        except StoreUnreachable:
            return False


def is_whole(names: set[str]) -> bool:
    """Whether these are all files of a finished run."""
    return {name for name in names if not name.startswith(".")} > RUN_FILES


def checksum(content: bytes) -> str:
    """SHA-256 in hex digits."""
    return hashlib.sha256(content).hexdigest()


def _runs(digests: Collection[str]) -> str:
    """How many runs, as the subject of a sentence."""
    return "1 finished run is" if len(digests) == 1 else f"{len(digests)} finished runs are"


def is_remote(location: str) -> bool:
    """Whether a store's location is a URI, other than ``file://``."""
    scheme, colon, _ = location.partition("://")
    return bool(colon) and scheme.replace("+", "").isalnum() and scheme != "file"
