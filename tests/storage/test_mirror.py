"""A store behind a URI: each machine has its own mirror and sees the runs of all others.

The remote side is a folder that pyarrow uses like an object store, or in one test fsspec's memory.
`test_store_on_s3` has the same tests with an object store.
"""

import dataclasses
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlt_ray.corpus.utterance import Corpus
from mlt_ray.errors import RunStopped, StoreSilent, StoreUnreachable, UserError
from mlt_ray.features.cache import Cache
from mlt_ray.planning.backlog import note_plans
from mlt_ray.planning.plan import make_plan
from mlt_ray.storage import outage as outage_module
from mlt_ray.storage.files import write_bytes
from mlt_ray.storage.lease import acquire
from mlt_ray.storage.mirror import (
    CACHE_VARIABLE,
    Mirror,
    cache_folder,
    mirror_folder,
    open_remote,
)
from mlt_ray.storage.record import StudyRecord, read_record, write_record
from mlt_ray.storage.remote import Remote, RemoteFile, uninterrupted
from mlt_ray.storage.store import Store
from mlt_ray.studies.study import load_study
from tests.stored import DIGEST, PREDICTIONS, REPORT, RUN_FILES
from tests.test_masking import URIS

OnMachine = Callable[[str], Store]
RECORD = StudyRecord(study="s", title="", corpus="c", fingerprint="f", rows=())


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """The remote store: the folder behind the URI."""
    return tmp_path / "there"


@pytest.fixture
def uri(there: Path) -> str:
    return f"local://{there}"


def write(store: Store) -> None:
    store.write_run(REPORT, PREDICTIONS, b"weights", {"mean": [0.1]})


def names(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def cut(monkeypatch: pytest.MonkeyPatch, after: int) -> list[str]:
    """Let only `after` files be uploaded, then fail; returns the names of the uploaded files."""
    arrived: list[str] = []
    original = Remote.write

    def failing(remote: Remote, name: str, content: Any) -> None:
        if len(arrived) >= after:
            raise StoreUnreachable("the network is gone")
        original(remote, name, content)
        arrived.append(name)

    monkeypatch.setattr(Remote, "write", failing)
    return arrived


def test_a_run_that_one_machine_finished_is_finished_on_another(on: OnMachine) -> None:
    a, b = on("a"), on("b")
    assert a.root != b.root
    assert a.location == b.location
    assert not b.is_done(DIGEST)
    assert b.report(DIGEST) is None
    write(a)
    assert b.finished(["another", DIGEST]) == {DIGEST}
    assert b.is_done(DIGEST)
    assert b.report(DIGEST) == REPORT
    assert b.reports(["another", DIGEST]) == [REPORT]
    assert b.run_file(DIGEST, "weights.safetensors").read_bytes() == b"weights"
    assert names(b.root) == {
        f"runs/{DIGEST}/{name}" for name in ("report.json", "weights.safetensors")
    }


def empty(there: Path) -> None:
    """Delete all files behind the URI, as another person may do."""
    shutil.rmtree(there)
    there.mkdir()


def test_a_run_that_only_the_mirror_has_whole_is_uploaded_again_and_that_is_said(
    on: OnMachine, there: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = on("a")
    write(store)
    empty(there)
    assert not on("b").is_done(DIGEST)
    assert store.finished(["another", DIGEST]) == {DIGEST}
    assert names(there) == {f"runs/{DIGEST}/{name}" for name in RUN_FILES}
    assert on("b").report(DIGEST) == REPORT
    assert on("a").is_done(DIGEST)
    [line] = capsys.readouterr().err.splitlines()
    assert line == f"{store}: 1 finished run is uploaded again, which only {store.root} had"


def test_a_run_of_which_the_mirror_has_a_part_counts_as_not_done_and_that_is_said_once(
    on: OnMachine, there: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(on("a"))
    store = on("b")
    assert store.report(DIGEST) == REPORT
    empty(there)
    assert not store.is_done(DIGEST)
    assert store.reports([DIGEST]) == []
    assert names(there) == set()
    [line] = capsys.readouterr().err.splitlines()
    assert line == f"{store}: 1 finished run is no longer there, to be computed again"


def test_a_run_that_a_process_of_this_machine_is_writing_is_not_uploaded_by_another(
    on: OnMachine, there: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The writer may be waiting for the store, and may have lost its lease."""
    store, push_as, seen = on("a"), Mirror.push_as, []

    def asking(mirror: Mirror, *paths: Path, check: Callable[[], None]) -> None:
        seen.append(on("a").finished([DIGEST]))
        push_as(mirror, *paths, check=check)

    monkeypatch.setattr(Mirror, "push_as", asking)
    write(store)
    assert seen == [set(), set()]
    assert on("a").finished([DIGEST]) == {DIGEST}
    assert capsys.readouterr().err == ""


def test_who_only_looks_uploads_nothing(
    on: OnMachine, there: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = on("a")
    write(store)
    write_record(store, store.study("s"), RECORD)
    empty(there)
    looking = on("a").looking()
    assert looking.finished([DIGEST]) == {DIGEST}
    assert read_record(looking, looking.study("s")) == RECORD
    assert not any(path.is_file() for path in there.rglob("*"))
    told = f"1 finished run is in {store.root} alone; the next run or sync uploads them"
    assert told in capsys.readouterr().err
    assert on("a").finished([DIGEST]) == {DIGEST}
    assert any(there.rglob("report.json"))


def test_a_report_is_that_of_the_store_and_not_of_the_mirror(on: OnMachine, there: Path) -> None:
    """Another store may have come in the place of the one that was copied."""
    store, other = on("a"), dataclasses.replace(REPORT, computed_s=0.75)
    write(store)
    assert store.report(DIGEST) == REPORT
    empty(there)
    on("b").write_run(other, PREDICTIONS, b"WEIGHTS", {"mean": [0.1]})
    assert store.report(DIGEST) == other
    assert store.run_file(DIGEST, "weights.safetensors").read_bytes() == b"WEIGHTS"


def test_a_report_of_another_run_is_damaged(on: OnMachine) -> None:
    store = on("a")
    write(store)
    store.push(shutil.copytree(store.run_dir(DIGEST), store.run_dir("another")))
    with pytest.raises(UserError, match=f"expected a run report, got .*that of run {DIGEST}"):
        store.report("another")


def test_of_many_runs_none_is_asked_for_after_another(
    on: OnMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """75 requests of 0.1 s each, 16 at once."""
    store, file = on("a"), Remote.file
    digests = [f"run{number}" for number in range(75)]
    for digest in digests:
        store.write_run(dataclasses.replace(REPORT, digest=digest), PREDICTIONS, b"w", {})
    assert store.finished(digests) == set(digests)

    def slow(remote: Remote, name: str) -> RemoteFile | None:
        time.sleep(0.1)
        return file(remote, name)

    monkeypatch.setattr(Remote, "file", slow)
    began = time.monotonic()
    assert len(store.reports(digests)) == 75
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("kind", ["study", "search", "corpus"])
def test_a_file_that_only_the_mirror_has_is_uploaded_again(
    on: OnMachine, there: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store = on("a")
    path = getattr(store, kind)("demo")
    store.write_json(path, {"rows": 1})
    empty(there)
    assert store.read_json(path) == {"rows": 1}
    assert on("b").read_json(getattr(on("b"), kind)("demo")) == {"rows": 1}
    name = path.relative_to(store.root)
    [line] = capsys.readouterr().err.splitlines()
    assert line == f"{store}: {name} is uploaded again, which only {store.root} had"


@pytest.mark.parametrize("kind", [("features", "frames", "d"), ("encoder", "e")])
def test_features_and_encoders_that_only_the_mirror_has_are_uploaded_again(
    on: OnMachine, there: Path, kind: tuple[str, ...]
) -> None:
    store = on("a")
    write_bytes(getattr(store, kind[0])(*kind[1:]) / "x.npy", b"x")
    getattr(on("a"), kind[0])(*kind[1:])
    empty(there)
    folder = getattr(on("a"), kind[0])(*kind[1:])
    assert names(there) == {f"{folder.relative_to(store.root)}/x.npy"}


@pytest.mark.parametrize("arrive", range(len(RUN_FILES)))
def test_a_run_whose_upload_failed_is_not_finished_until_it_is_uploaded_again(
    on: OnMachine, there: Path, monkeypatch: pytest.MonkeyPatch, arrive: int
) -> None:
    with monkeypatch.context() as patch:
        arrived = cut(patch, arrive)
        with pytest.raises(StoreUnreachable):
            write(on("a"))
        assert "report.json" not in {Path(name).name for name in arrived}
        assert names(there) == set(arrived)
    assert not on("b").is_done(DIGEST)
    assert on("b").finished([DIGEST]) == set()
    assert on("a").is_done(DIGEST), "it is uploaded again"
    write(on("a"))
    assert on("b").report(DIGEST) == REPORT
    assert names(there) == {f"runs/{DIGEST}/{name}" for name in RUN_FILES}


def test_features_computed_on_one_machine_are_used_on_another(on: OnMachine) -> None:
    a, b = on("a"), on("b")
    arrays = {"x": np.arange(6.0).reshape(3, 2), "y": np.ones((1, 2))}
    Cache(a.features("frames", "d"), a.push).add(arrays)
    found = Cache(b.features("frames", "d"), b.push)
    assert found.missing(["x", "y", "z"]) == ["z"]
    np.testing.assert_array_equal(found["x"], arrays["x"])
    found.add({"z": np.zeros((2, 2))})
    assert Cache(a.features("frames", "d"), a.push).missing(["x", "y", "z"]) == []


@pytest.mark.parametrize("arrive", [0, 1])
def test_features_whose_upload_failed_are_uploaded_later(
    on: OnMachine, monkeypatch: pytest.MonkeyPatch, arrive: int
) -> None:
    with monkeypatch.context() as patch:
        arrived = cut(patch, arrive)
        a = on("a")
        cache = Cache(a.features("frames", "d"), a.push)
        with pytest.raises(StoreUnreachable):
            cache.add({"x": np.ones((1, 2))})
        assert not any(name.endswith(".json") for name in arrived)
    assert Cache(on("b").features("frames", "d")).missing(["x"]) == ["x"]
    a = on("a")
    cache = Cache(a.features("frames", "d"), a.push)
    if cache.missing(["x"]):  # the index had not been written
        cache.add({"x": np.ones((1, 2))})
    assert Cache(on("b").features("frames", "d")).missing(["x"]) == []


def test_a_damaged_copy_of_features_is_downloaded_again(on: OnMachine) -> None:
    a, b = on("a"), on("b")
    Cache(a.features("frames", "d"), a.push).add({"x": np.ones((999, 2))})
    [path] = b.features("frames", "d").glob("*.npy")
    path.write_bytes(path.read_bytes()[:2000])
    assert Cache(b.features("frames", "d")).missing(["x"]) == []


def test_a_remote_name_that_leads_out_of_the_mirror_is_refused(
    on: OnMachine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An object store holds keys such as features/frames-d/../../../x, as any other."""
    a = on("a")
    Cache(a.features("frames", "d"), a.push).add({"x": np.ones((1, 2))})
    files = Remote.files

    def with_more(remote: Remote, folder: str) -> dict[str, RemoteFile]:
        return files(remote, folder) | {"../../../x": RemoteFile(size=1, written_s=1.0)}

    monkeypatch.setattr(Remote, "files", with_more)
    monkeypatch.setattr(Remote, "_read", lambda remote, name, consume: consume(Read(), int))
    b = on("b")
    with pytest.raises(UserError, match=r"got 'features/frames-d/\.\./\.\./\.\./x'; delete"):
        b.features("frames", "d")
    assert not (tmp_path / "b" / "x").exists()
    assert b.studies() == []


class Read:
    """A stream of one byte."""

    def __init__(self) -> None:
        self.left = [b"", b"x"]

    def read(self, size: int) -> bytes:
        return self.left.pop()


def test_an_index_is_uploaded_after_the_files_that_it_describes(
    on: OnMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = on("a")
    arrived = cut(monkeypatch, 100)
    for name in ("config.json", "tokenizer.json", "model.safetensors", "vocab.txt"):
        write_bytes(store.root / "encoders" / "e" / name, name.encode())
    store.encoder("e")
    last = [Path(name).name for name in arrived]
    assert set(last[:2]) == {"model.safetensors", "vocab.txt"}
    assert last[2:] == ["tokenizer.json", "config.json"]
    folder = on("b").encoder("e")
    assert (folder / "vocab.txt").read_bytes() == b"vocab.txt"
    assert len(names(folder)) == 4


def test_incomplete_files_are_not_uploaded(on: OnMachine, there: Path) -> None:
    store = on("a")
    write_bytes(store.root / "encoders" / "e" / ".vocab.txt.x1", b"half")
    store.encoder("e")
    assert not there.exists() or names(there) == set()


def test_a_study_is_read_as_the_last_machine_wrote_it(on: OnMachine) -> None:
    a, b = on("a"), on("b")
    a.write_json(a.study("demo"), {"rows": 1})
    assert b.read_json(b.study("demo")) == {"rows": 1}
    b.write_json(b.study("demo"), {"rows": 2})
    b.write_json(b.study("table1"), {})
    assert a.read_json(a.study("demo")) == {"rows": 2}
    assert a.studies() == b.studies() == ["demo", "table1"]


def test_a_plan_that_was_recorded_on_one_machine_is_known_on_another(
    on: OnMachine, raw: Any
) -> None:
    corpus: Corpus = raw.corpus
    plan = make_plan(load_study("demo"), corpus)
    note_plans([plan], on("a"))
    found = on("b").read_json(on("b").study("demo"))
    assert found is not None
    assert found["corpus"]["fingerprint"] == corpus.fingerprint


def test_a_checkpoint_of_one_machine_is_read_on_another(on: OnMachine, there: Path) -> None:
    a, b = on("a"), on("b")
    path = a.checkpoint(DIGEST)
    assert not a.pull(path)
    for state in (b"first", b"second"):
        write_bytes(path, state)
        a.push(path)
        assert b.pull(b.checkpoint(DIGEST))
        assert b.checkpoint(DIGEST).read_bytes() == state
    write(b)
    assert names(there / "checkpoints") == set()
    assert not b.checkpoint(DIGEST).exists()


def test_a_checkpoint_that_only_this_machine_has_or_that_is_newer_stays(
    on: OnMachine, there: Path
) -> None:
    """Such a one was written while the store did not answer."""
    a, b = on("a"), on("b")
    path, other = a.checkpoint(DIGEST), b.checkpoint(DIGEST)
    write_bytes(path, b"3 epochs")
    assert not a.pull(path)
    assert a.pull(path, keep_newer=True)
    write_bytes(other, b"7 epochs")
    b.push(other)
    os.utime(path, (1.0, 1.0))
    assert a.pull(path, keep_newer=True)
    assert path.read_bytes() == b"7 epochs", "another machine has gone on"
    write_bytes(path, b"10 epochs")
    assert a.pull(path, keep_newer=True)
    assert path.read_bytes() == b"10 epochs"
    assert a.pull(path)
    assert path.read_bytes() == b"7 epochs"


def silence(patch: pytest.MonkeyPatch, times: int) -> None:
    """Let the next requests of each kind be unanswered, without pauses between two tries."""
    patch.setattr(outage_module, "FIRST_PAUSE_S", 0.001)
    for method in ("file", "files", "read", "download", "write", "delete", "_check_bucket"):
        patch.setattr(Remote, method, silent_at_first(getattr(Remote, method), times))


def silent_at_first(request: Callable[..., Any], times: int) -> Callable[..., Any]:
    """The request, which is not answered the first `times` times."""
    left = [True] * times

    def silent(*values: Any) -> Any:
        if left:
            left.pop()
            raise StoreSilent("gone")
        return request(*values)

    return silent


def test_everything_waits_through_an_outage(on: OnMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = on("a"), on("b")
    for act in (
        lambda: write(a),
        lambda: a.write_json(a.study("demo"), {"rows": 1}),
        lambda: Cache(a.features("frames", "d"), a.push).add({"x": np.ones((1, 2))}),
        lambda: acquire(a, "name", "owner"),
    ):
        with monkeypatch.context() as patch:
            silence(patch, 3)
            act()
    for ask in (
        lambda: b.report(DIGEST) == REPORT,
        lambda: b.read_json(b.study("demo")) == {"rows": 1},
        lambda: Cache(b.features("frames", "d")).missing(["x"]) == [],
        lambda: b.studies() == ["demo"],
    ):
        with monkeypatch.context() as patch:
            silence(patch, 3)
            assert ask()


def test_only_a_patient_caller_waits_for_a_store_to_open(
    on: OnMachine, uri: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on("a")
    open_remote.cache_clear()
    original = Remote.__init__

    def opening(remote: Remote, uri: str) -> None:
        original(remote, uri)
        if left.pop():
            raise StoreSilent("gone")

    monkeypatch.setattr(outage_module, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(Remote, "__init__", opening)
    left = [True]
    with pytest.raises(StoreSilent):
        Store(uri)
    left = [False, True, True]
    assert not Store(uri, patient=True).is_done(DIGEST)
    assert left == []


def test_a_run_that_may_not_be_written_after_an_outage_is_kept_nowhere(
    on: OnMachine, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease went to another process meanwhile, which computes it again."""

    def check() -> None:
        checks.append(1)
        if len(checks) > 1:
            raise RunStopped("another has the lease")

    checks: list[int] = []
    store, original = on("a"), Remote.write

    def write_once(remote: Remote, name: str, content: Any) -> None:
        if name.endswith("report.json") and len(checks) == 1:
            raise StoreSilent("gone")
        original(remote, name, content)

    monkeypatch.setattr(outage_module, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(Remote, "write", write_once)
    with pytest.raises(RunStopped):
        store.write_run(REPORT, PREDICTIONS, b"weights", {}, check=check)
    assert not store.is_done(DIGEST)
    assert "report.json" not in {path.name for path in there.rglob("*")}


def test_a_folder_is_uploaded_with_all_its_files(on: OnMachine, there: Path) -> None:
    store = on("a")
    write_bytes(store.root / "reports" / "demo" / "tables.md", b"old")
    store.push(store.root / "reports")
    write_bytes(store.root / "reports" / "demo" / "tables.md", b"new")
    store.push(store.root / "reports")
    assert (there / "reports" / "demo" / "tables.md").read_bytes() == b"new"


@pytest.mark.parametrize("way", ["read", "download"])
def test_a_file_that_changes_while_it_is_read_is_read_again(
    on: OnMachine, there: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str
) -> None:
    store = on("a")
    assert store.mirror is not None
    remote = store.mirror.remote
    remote.write("file", b"old")

    class Changing:
        get_file_info = staticmethod(remote._fs.get_file_info)

        @staticmethod
        def open_input_stream(path: str, opened: Any = remote._fs.open_input_stream) -> Any:
            stream = opened(path)
            if contents:
                write_bytes(there / "file", contents.pop())
            return stream

    contents = [b"newest", b"newer"]
    monkeypatch.setattr(remote, "_fs", Changing)
    if way == "read":
        assert remote.read("file") == b"newest"
    else:
        assert remote.download("file", tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == b"newest"
    contents = [b"3333", b"22", b"1"]
    with pytest.raises(StoreUnreachable, match="file changes while it is read"):
        remote.read("file")


def test_asking_for_runs_that_do_not_exist_creates_no_file(on: OnMachine) -> None:
    store = on("a")
    assert not store.is_done(DIGEST)
    assert store.finished([DIGEST, "another"]) == set()
    assert list(store.root.iterdir()) == []


def test_a_write_completes_after_ctrl_c() -> None:
    done = threading.Event()

    def act() -> None:
        time.sleep(0.2)
        done.set()

    class InterruptingFuture(uninterrupted.__globals__["Future"]):  # type: ignore[misc, name-defined]
        def result(self, timeout: float | None = None) -> None:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(uninterrupted.__globals__, "Future", InterruptingFuture)
        with pytest.raises(KeyboardInterrupt):
            uninterrupted(act)
    assert done.wait(10)


def test_an_error_in_a_write_reaches_the_caller() -> None:
    def act() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError, match="x"):
        uninterrupted(act)


@pytest.mark.parametrize(
    ("uri", "reason", "remedy"),
    [
        ("bogus://x/y", "Protocol not known", "name another --store"),
        ("s3://bucket?colour=red", "Unexpected query parameter", "name another --store"),
        ("s3://", "no name of a bucket", "s3://bucket/prefix"),
    ],
)
def test_a_uri_that_is_no_store_gives_a_one_line_error(uri: str, reason: str, remedy: str) -> None:
    with pytest.raises(StoreUnreachable) as raised:
        Store(uri)
    line = str(raised.value)
    assert line.startswith(f"--store {uri}: expected a store that answers, got: ")
    assert reason in line
    assert remedy in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("abfs://A:KEY@account/x", "abfs://B:KEY@account/x"),
        ("sftp://me:p@host/x", "sftp://you:p@host/x"),
        ("sftp://me:p@host/x", "sftp://me:p@other/x"),
        ("s3://b/x?region=eu", "s3://b/x?region=us"),
        ("s3://b/x?endpoint_override=one:9000", "s3://b/x?endpoint_override=two:9000"),
    ],
)
def test_two_places_have_two_mirrors(one: str, other: str) -> None:
    assert mirror_folder(one) != mirror_folder(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("abfs://A:KEY@account/x", "abfs://A:ROTATED@account/x"),
        ("sftp://me:p@host/x", "sftp://me:o@th?er@host/x"),
        ("s3://b/x?secret_key=a", "s3://b/x?secret_key=b"),
    ],
)
def test_a_new_password_keeps_the_mirror(one: str, other: str) -> None:
    assert mirror_folder(one) == mirror_folder(other)


def test_a_login_that_azure_refuses_is_one_line_and_does_not_end_the_process() -> None:
    with pytest.raises(StoreUnreachable, match=r"Failed to get token.*; give cred") as raised:
        Remote("abfs://A:hushed@account/x")
    assert "hushed" not in str(raised.value)


@pytest.mark.parametrize("uri", [u for u in URIS if u.startswith(("sftp", "http", "mysql"))])
def test_no_secret_is_told_of_a_uri_that_cannot_be_opened(uri: str) -> None:
    with pytest.raises(StoreUnreachable) as raised:
        Remote(uri).files("")
    assert "SEC" not in str(raised.value)


def test_mirrors_are_in_the_user_s_cache_unless_the_variable_names_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "given"))
    assert cache_folder() == tmp_path / "given"
    monkeypatch.delenv(CACHE_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "mlt_ray"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "mlt_ray"


def test_a_folder_for_mirrors_that_cannot_be_made_gives_a_one_line_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file"))
    with pytest.raises(UserError, match=f"Not a directory; name another one in {CACHE_VARIABLE}"):
        Store("memory://runs")


def test_a_store_in_fsspec_s_memory_can_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    store = Store("memory://runs")
    write(store)
    assert store.mirror is not None
    assert set(store.mirror.remote.files(f"runs/{DIGEST}")) == RUN_FILES
    assert store.mirror.remote is open_remote("memory://runs")


def test_the_error_for_a_damaged_report_names_mirror_and_uri(on: OnMachine, there: Path) -> None:
    write_bytes(there / "runs" / DIGEST / "report.json", b"{")
    store = on("a")
    with pytest.raises(Exception, match=f"here and in local://{there}"):
        store.report(DIGEST)


def test_a_uri_given_as_a_path_is_refused() -> None:
    with pytest.raises(UserError, match="as text"):
        Store(Path("s3://bucket/prefix"))


def test_a_file_uri_is_a_folder(tmp_path: Path) -> None:
    store = Store((tmp_path / "a b").as_uri())
    assert store.root == tmp_path / "a b"
    assert store.mirror is None
    assert store.location == str(store) == str(store.root)
    assert Store(store.location).root == store.root


def test_a_report_is_equal_on_another_machine(on: OnMachine) -> None:
    write(on("a"))
    found = on("b").report(DIGEST)
    assert found is not None
    assert dataclasses.asdict(found) == dataclasses.asdict(REPORT)
