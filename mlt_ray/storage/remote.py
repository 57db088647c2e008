"""Files behind a URI: object stores that pyarrow knows (s3, gs, abfs), and what fsspec adds.

Names are relative to the URI, with slashes. Every file appears whole: an upload to an object store
takes effect when it is complete, and elsewhere a file is written beside its place and renamed.
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

from mlt_ray.errors import StoreFull, StoreUnreachable
from mlt_ray.storage.files import replacing

OBJECT_STORES = {"s3", "gcs", "abfs"}
"""Kinds of file system with buckets, without folders, whose uploads appear whole."""

REMEDIES = {
    r"NO_SUCH_BUCKET": "create the bucket, or name another --store",
    r"NETWORK_CONNECTION|resolve|[Cc]onnect": "check endpoint_override and the network",
    r"ACCESS_DENIED|INVALID_ACCESS_KEY|SIGNATURE|[Cc]redential|\b40[13]\b": (
        "give credentials that may read and write it, for S3 in AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY"
    ),
    r"requires .* to be installed|No module named|[Ii]nstall": "install that package",
}
"""What an error's text says → what to do about it; the first that fits."""

OTHER_REMEDY = "name another --store, such as a folder or s3://bucket/prefix"

CHUNK = 8 * 2**20

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file's size in bytes, and when it was last written, in Unix time of the other side."""

    size: int
    written_s: float | None


class Remote:
    """Reads, writes and lists what lies under a URI.

    Raises `StoreUnreachable` where that fails for whatever reason but a file that is not there.
    """

    def __init__(self, uri: str) -> None:
        self.name = without_credentials(uri)
        with self._answering():
            self._fs, base = open_file_system(uri)
        self._base = base.rstrip("/")
        self._has_buckets = self._fs.type_name in OBJECT_STORES
        if self._has_buckets:
            self._check_bucket()

    def _check_bucket(self) -> None:
        bucket = self._base.partition("/")[0]
        with self._answering():
            if not bucket:
                raise OSError("no name of a bucket")
            if self._fs.get_file_info(bucket).type == fs.FileType.NotFound:
                raise OSError(f"NO_SUCH_BUCKET: there is no bucket {bucket}")

    def check(self) -> None:
        """Write a small file and remove it; `StoreUnreachable` where that is not allowed."""
        name = f"check.{uuid.uuid4().hex}"
        self.write(name, b"")
        self.delete(name)

    def _path(self, name: str) -> str:
        return f"{self._base}/{name}" if name else self._base

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, StoreFull):
            raise
        except Exception as error:  # libraries of a dozen vendors, each with errors of its own
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            reason = without_credentials(re.split(r"; Details| \(Request ID", reason)[0])
            remedy = next((r for p, r in REMEDIES.items() if re.search(p, reason)), OTHER_REMEDY)
            raise StoreUnreachable(
                f"--store {self.name}: expected a store that answers, got: {reason}; {remedy}"
            ) from error

    def read(self, name: str) -> bytes | None:
        """A file's content, None where there is no such file."""

        def take(stream: pyarrow.NativeFile, verify: Callable[[int], None]) -> bytes:
            content: bytes = stream.read()
            verify(len(content))
            return content

        return self._take(name, take)

    def download(self, name: str, path: Path) -> bool:
        """Copy a file to `path`, which appears whole; False where there is no such file."""

        def take(stream: pyarrow.NativeFile, verify: Callable[[int], None]) -> bool:
            with replacing(path) as temporary:
                with temporary.open("wb") as file:
                    while chunk := stream.read(CHUNK):
                        file.write(chunk)
                verify(temporary.stat().st_size)
            return True

        return self._take(name, take) or False

    def _take(
        self, name: str, take: Callable[[pyarrow.NativeFile, Callable[[int], None]], Result]
    ) -> Result | None:
        """What `take` makes of a file's stream; None where there is no such file.

        pyarrow reads an object by its size, and piece by piece: `take` has the number of bytes
        verified, so that one that another wrote or removed meanwhile is read again.
        """
        path = self._path(name)
        with self._answering():
            for may_fail in (True, True, False):
                try:
                    with self._fs.open_input_stream(path) as stream:
                        before = self._fs.get_file_info(path)

                        def verify(size: int, before: fs.FileInfo = before) -> None:
                            after = self._fs.get_file_info(path)
                            if (after.size, after.mtime) != (size, before.mtime):
                                raise OSError(f"{name} changes while it is read")

                        return take(stream, verify)
                except FileNotFoundError:
                    return None
                except OSError:
                    if not may_fail:
                        raise
        return None

    def upload(self, path: Path, name: str) -> None:
        """Copy the file at `path`."""
        if path.stat().st_size == 0:
            self.write(name, b"")
        else:
            with pyarrow.memory_map(str(path)) as source:
                self.write(name, source.read_buffer())

    def write(self, name: str, content: bytes | pyarrow.Buffer) -> None:
        """Write a file; an interruption of the caller leaves it whole or as it was."""
        with self._answering():
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
        """Remove a file, where there is one."""
        with self._answering(), contextlib.suppress(FileNotFoundError):
            self._fs.delete_file(self._path(name))

    def files(self, folder: str) -> dict[str, RemoteFile]:
        """All files under a folder by their name relative to it; none where it does not exist."""
        base = self._path(folder)
        selector = fs.FileSelector(base, recursive=True, allow_not_found=True)
        with self._answering():
            if isinstance(self._fs, fs.PyFileSystem):
                # fsspec remembers listings; another process may have written since.
                self._fs.handler.fs.invalidate_cache()
            try:
                found = self._fs.get_file_info(selector)
            except FileNotFoundError:
                # Of a folder that another process has removed while it was listed.
                return {}
        return {
            f.path.removeprefix(base).lstrip("/"): RemoteFile(
                size=f.size, written_s=f.mtime and f.mtime.timestamp()
            )
            for f in found
            if f.type == fs.FileType.File and not f.base_name.startswith(".")
        }


def open_file_system(uri: str) -> tuple[fs.FileSystem, str]:
    """The file system of a URI and the path in it, by pyarrow or else by fsspec."""
    try:
        return fs.FileSystem.from_uri(uri)
    except pyarrow.ArrowInvalid as error:
        if "Unrecognized filesystem type" not in str(error):
            raise
    import fsspec  # type: ignore[import-untyped]

    found, path = fsspec.core.url_to_fs(uri)
    return fs.PyFileSystem(fs.FSSpecHandler(found)), path


def uninterrupted(action: Callable[[], Result]) -> Result:
    """The result of `action`, which goes on to its end even if Ctrl-C ends the wait for it.

    pyarrow completes an upload whose stream is closed by an exception, and so would leave half a
    file that looks whole.
    """
    result: Future[Any] = Future()

    def act() -> None:
        try:
            result.set_result(action())
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=act).start()
    return result.result()


def without_credentials(uri: str) -> str:
    """The URI as it may be shown: without a user's name and password."""
    return re.sub(r"(?<=://)[^@?]*:[^@?]*@", "", uri)
