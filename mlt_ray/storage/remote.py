"""Reads, writes and lists files behind a URI, with pyarrow (s3, gs, abfs) or else with fsspec.

File names are relative to the URI, with slashes. A file is complete or does not appear: an object
store shows an upload only when it is complete; in other file systems a file is written under a
temporary name and then renamed.
"""

import contextlib
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pyarrow  # type: ignore[import-untyped]
from pyarrow import fs

from mlt_ray.errors import StoreFull, StoreSilent, StoreUnreachable, first_line
from mlt_ray.masking import has_unquoted_password, masked
from mlt_ray.storage.files import replacing
from mlt_ray.storage.outage import Outage, outage_of

OBJECT_STORES = {"s3", "gcs", "abfs"}
"""pyarrow's names of the file systems with buckets, which show complete uploads only."""

REMEDIES = {
    r"NO_SUCH_BUCKET": "create the bucket, or name another --store",
    r"NETWORK_CONNECTION|resolve|[Cc]onnect": "check endpoint_override and the network",
    r"ACCESS_DENIED|INVALID_ACCESS_KEY|SIGNATURE|[Cc]redential|\b40[13]\b": (
        "give credentials that may read and write it, for S3 in AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY"
    ),
    r"requires .* to be installed|No module named|[Ii]nstall": "install that package",
}
"""Regular expression for the text of an error → advice to the user; the first match counts."""

SILENCE = (
    r"NETWORK_CONNECTION|SLOW_DOWN|SERVICE_UNAVAILABLE|INTERNAL_FAILURE|THROTTLING|REQUEST_TIMEOUT|"
    r"UNAVAILABLE|DEADLINE_EXCEEDED|resolve|[Cc]onnect|[Tt]imed? ?out|\b(?:429|50[0234])\b"
)
"""Regular expression for the text of an error that may pass: a later try may be answered."""

REFUSAL = r"NO_SUCH_BUCKET|ACCESS_DENIED|INVALID_ACCESS_KEY|SIGNATURE|[Cc]redential|\b40[13]\b"
"""Regular expression for the text of an error that does not pass by itself."""

OTHER_REMEDY = "name another --store, such as a folder or s3://bucket/prefix"

CHUNK = 8 * 2**20
"""Bytes that a download reads at once."""

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """Size in bytes, and time of the last writing: Unix time by the store's clock."""

    size: int
    written_s: float | None


class Remote:
    """The files under a URI.

    Every method raises `StoreUnreachable` if it fails, except for a file that does not exist. If a
    later try may be answered, that is a `StoreSilent`; no method waits for it (`outage` does).
    """

    def __init__(self, uri: str) -> None:
        self.name = masked(uri)
        self.outage: Outage = outage_of(uri)
        self._uri = uri
        if has_unquoted_password(uri):
            raise StoreUnreachable(
                f"--store {self.name}: expected a URI whose password has its special characters "
                "quoted, got some that are not; write %2F for /, %3F for ?, %23 for #, %40 for @"
            )
        if uri.startswith(("http://", "https://")):
            raise StoreUnreachable(
                f"--store {self.name}: expected a store that can be written, got a web page; name "
                "a folder or s3://bucket/prefix, with ?endpoint_override=host for a server"
            )
        with self._errors_translated():
            self._fs, base = open_file_system(uri)
        self._base = base.rstrip("/")
        self._has_buckets = self._fs.type_name in OBJECT_STORES
        if self._has_buckets:
            self._check_bucket()

    def _check_bucket(self) -> None:
        bucket = self._base.partition("/")[0]
        with self._errors_translated():
            if not bucket:
                raise OSError("no name of a bucket")
            if self._fs.type_name == "abfs":
                # If Azure refuses the login, asking for a bucket alone would end this process.
                self._fs.get_file_info(f"{bucket}/check")
            if self._fs.get_file_info(bucket).type == fs.FileType.NotFound:
                raise OSError(f"NO_SUCH_BUCKET: there is no bucket {bucket}")

    def check(self) -> None:
        """Write a small file and delete it; `StoreUnreachable` if that is not allowed."""
        name = f"check.{uuid.uuid4().hex}"
        self.write(name, b"")
        self.delete(name)

    def _path(self, name: str) -> str:
        return f"{self._base}/{name}" if name else self._base

    @contextlib.contextmanager
    def _errors_translated(self) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, StoreFull):
            raise
        except Exception as error:  # each file system's library has errors of its own
            reason = first_line(error)
            reason = re.split(r"; Details| \(Request ID", reason)[0]
            reason = masked(reason.replace(self._uri, self.name))
            remedy = next((r for p, r in REMEDIES.items() if re.search(p, reason)), OTHER_REMEDY)
            kind = StoreSilent if is_silence(error) else StoreUnreachable
            raise kind(
                f"--store {self.name}: expected a store that answers, got: {reason}; {remedy}"
            ) from error

    def read(self, name: str) -> bytes | None:
        """A file's content; None if it does not exist."""

        def consume(stream: pyarrow.NativeFile, verify: Callable[[int], None]) -> bytes:
            content: bytes = stream.read()
            verify(len(content))
            return content

        return self._read(name, consume)

    def download(self, name: str, path: Path) -> bool:
        """Copy a file to the local `path`, atomically; False if the file does not exist."""

        def consume(stream: pyarrow.NativeFile, verify: Callable[[int], None]) -> bool:
            with replacing(path) as temporary:
                with temporary.open("wb") as file:
                    while chunk := stream.read(CHUNK):
                        file.write(chunk)
                verify(temporary.stat().st_size)
            return True

        return self._read(name, consume) or False

    def _read(
        self, name: str, consume: Callable[[pyarrow.NativeFile, Callable[[int], None]], Result]
    ) -> Result | None:
        """Result of `consume` for a file's stream; None if the file does not exist.

        pyarrow asks for a file's size first and then reads it piece by piece. Another process may
        change the file in between. So `consume` gets a second argument, `verify`, and must call it
        with the number of bytes that it has read: if the file has changed, it is read again, twice
        at most.
        """
        path = self._path(name)
        with self._errors_translated():
            for may_fail in (True, True, False):
                try:
                    with self._fs.open_input_stream(path) as stream:
                        before = self._fs.get_file_info(path)

                        def verify(size: int, before: fs.FileInfo = before) -> None:
                            after = self._fs.get_file_info(path)
                            if (after.size, after.mtime) != (size, before.mtime):
                                raise OSError(f"{name} changes while it is read")

                        return consume(stream, verify)
                except FileNotFoundError:
                    return None
                except OSError as error:
                    if not may_fail or is_silence(error):
                        raise
        return None

    def file(self, name: str) -> RemoteFile | None:
        """Size and time of a file; None if it does not exist."""
        with self._errors_translated():
            self._forget_listings()
            try:
                found = self._fs.get_file_info(self._path(name))
            except FileNotFoundError:
                return None
        return remote_file(found) if found.type == fs.FileType.File else None

    def upload(self, path: Path, name: str) -> None:
        """Copy the local file at `path` to the remote `name`."""
        if path.stat().st_size == 0:
            self.write(name, b"")
        else:
            with pyarrow.memory_map(str(path)) as source:
                self.write(name, source.read_buffer())

    def write(self, name: str, content: bytes | pyarrow.Buffer) -> None:
        """Write a file. After Ctrl-C in the caller it is either complete or as it was."""
        with self._errors_translated():
            uninterrupted(lambda: self._write(self._path(name), content))

    def _write(self, path: str, content: bytes | pyarrow.Buffer) -> None:
        target = path
        if not self._has_buckets:
            folder, _, last = path.rpartition("/")
            self._fs.create_dir(folder, recursive=True)
            target = f"{folder}/.{last}.{uuid.uuid4().hex}"
        with self._fs.open_output_stream(target) as stream:
            stream.write(content)
        if target != path:
            self._fs.move(target, path)

    def delete(self, name: str) -> None:
        """Delete a file, if it exists."""
        with self._errors_translated(), contextlib.suppress(FileNotFoundError):
            self._fs.delete_file(self._path(name))

    def files(self, folder: str) -> dict[str, RemoteFile]:
        """All files under a folder by name relative to it; empty if there is no such folder."""
        base = self._path(folder)
        selector = fs.FileSelector(base, recursive=True, allow_not_found=True)
        with self._errors_translated():
            self._forget_listings()
            try:
                found = self._fs.get_file_info(selector)
            except FileNotFoundError:
                # Another process has deleted the folder during the listing.
                return {}
        return {
            f.path.removeprefix(base).lstrip("/"): remote_file(f)
            for f in found
            if f.type == fs.FileType.File and not f.base_name.startswith(".")
        }

    def _forget_listings(self) -> None:
        if isinstance(self._fs, fs.PyFileSystem):
            # fsspec caches listings, and another process may have written since the last one.
            self._fs.handler.fs.invalidate_cache()


def remote_file(found: fs.FileInfo) -> RemoteFile:
    """Size and time of a file that pyarrow has found."""
    return RemoteFile(size=found.size, written_s=found.mtime and found.mtime.timestamp())


def is_silence(error: Exception) -> bool:
    """Whether an error is one of the network or of a busy server, which may pass."""
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    return not re.search(REFUSAL, str(error)) and bool(re.search(SILENCE, str(error)))


def open_file_system(uri: str) -> tuple[fs.FileSystem, str]:
    """The file system of a URI, by pyarrow or else by fsspec, and the path in it."""
    try:
        return fs.FileSystem.from_uri(uri)
    except pyarrow.ArrowInvalid as error:
        if "Unrecognized filesystem type" not in str(error):
            raise
    import fsspec  # type: ignore[import-untyped]

    found, path = fsspec.core.url_to_fs(uri)
    return fs.PyFileSystem(fs.FSSpecHandler(found)), path


def uninterrupted(action: Callable[[], Result]) -> Result:
    """Result of `action`, which runs in a thread and so completes even after Ctrl-C.

    Without the thread, Ctrl-C would raise inside pyarrow's upload. pyarrow would then close the
    upload and leave an incomplete file that looks complete.
    """
    result: Future[Any] = Future()

    def run() -> None:
        try:
            result.set_result(action())
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=run).start()
    return result.result()
