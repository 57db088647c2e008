"""A store in an object store: pyarrow connects to moto's S3 server on this machine.

Each machine of a test is a folder with a mirror. Processes are killed for real.
"""

import http.server
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlt_ray.errors import StoreUnreachable, UserError
from mlt_ray.features.batching import FoldData
from mlt_ray.features.cache import Cache
from mlt_ray.features.extract import FeatureCache
from mlt_ray.planning.backlog import note_plans
from mlt_ray.planning.plan import make_plan
from mlt_ray.storage.files import write_bytes
from mlt_ray.storage.lease import acquire
from mlt_ray.storage.record import read_record
from mlt_ray.storage.store import Store
from tests.planning.three_rows import CORPUS, study_of
from tests.stored import DIGEST, PREDICTIONS, REPORT, RUN_FILES

pytestmark = pytest.mark.slow

OnMachine = Callable[[str], Store]

WRITE = """
import sys
sys.path.insert(0, {root!r})
from mlt_ray.storage.store import Store
from tests.stored import PREDICTIONS, REPORT
Store({uri!r}).write_run(REPORT, PREDICTIONS, bytes({size}), {{}})
"""
HOLD = """
import sys
from mlt_ray.storage.lease import acquire
from mlt_ray.storage.store import Store
lease = acquire(Store({uri!r}), "run", "a", interval_s=0.3)
print(lease is not None, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Host and port of an S3 server with a bucket named bucket."""
    from moto.server import ThreadedMotoServer
    from pyarrow import fs  # type: ignore[import-untyped]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        started = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        started.start()
        host, port = started.get_host_and_port()
        address = f"{host}:{port}"
        found = fs.S3FileSystem(
            endpoint_override=address, scheme="http", allow_bucket_creation=True
        )
        found.create_dir("bucket")
        yield address
        started.stop()


@pytest.fixture
def uri(server: str) -> str:
    """URI of a store that only this test uses."""
    return f"s3://bucket/{uuid.uuid4().hex}?endpoint_override={server}&scheme=http"


def start(code: str) -> subprocess.Popen[str]:
    """Start a Python process that runs `code`."""
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, text=True)


def write(store: Store, size: int = 7) -> None:
    store.write_run(REPORT, PREDICTIONS, bytes(size), {"mean": [0.1]})


def objects(store: Store) -> set[str]:
    assert store.mirror is not None
    return set(store.mirror.remote.files(""))


def test_a_run_that_one_machine_finished_is_finished_on_another(on: OnMachine) -> None:
    a, b = on("a"), on("b")
    assert a.root != b.root
    assert not b.is_done(DIGEST)
    write_bytes(a.checkpoint(DIGEST), b"state")
    a.push(a.checkpoint(DIGEST))
    assert b.pull(b.checkpoint(DIGEST))
    assert b.checkpoint(DIGEST).read_bytes() == b"state"
    write(a, size=20_000_000)
    assert b.is_done(DIGEST)
    assert b.reports([DIGEST, "another"]) == [REPORT]
    assert b.run_file(DIGEST, "weights.safetensors").read_bytes() == bytes(20_000_000)
    assert not b.pull(b.root / "checkpoints" / "another.pt")
    assert objects(a) == {f"runs/{DIGEST}/{name}" for name in RUN_FILES}


@pytest.mark.parametrize("after_s", [0.05, 0.2, 0.4])
def test_a_run_is_not_finished_if_the_machine_is_killed_while_it_uploads(
    on: OnMachine, uri: str, after_s: float
) -> None:
    store = on("watching")
    on("killed")
    root = str(Path(__file__).parents[2])
    process = start(WRITE.format(root=root, uri=uri, size=300_000_000))
    deadline = time.monotonic() + 60
    while not objects(store) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)  # the small files are uploaded in parallel with the large one
    time.sleep(after_s)
    assert process.poll() is None, "the upload ended before the kill"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert f"runs/{DIGEST}/weights.safetensors" not in objects(store), "an incomplete file is there"
    assert not on("another").is_done(DIGEST)
    assert not on("killed").is_done(DIGEST)
    write(on("killed"))
    assert on("another").report(DIGEST) == REPORT


def test_a_fold_is_made_from_features_and_corpus_of_another_machine(
    on: OnMachine, raw: Any, features: Callable[..., FeatureCache], tmp_path: Path
) -> None:
    from mlt_ray.corpus.folds import make_folds
    from mlt_ray.corpus.utterance import Corpus
    from mlt_ray.spec import FeatureSpec, FoldSpec

    corpus, spec = raw.corpus, FeatureSpec()
    features(on("a"), raw.utterances, raw.frames, raw.words)
    on("a").write_json(on("a").corpus(corpus.fingerprint), corpus.as_dict())
    b = on("b")
    found = Corpus.from_dict(b.read_json(b.corpus(corpus.fingerprint)))
    assert found.fingerprint == corpus.fingerprint
    fold = make_folds(found, FoldSpec())[0]
    there = FoldData(found, fold, spec, FeatureCache.open(b, spec), {}, None)
    features(Store(tmp_path / "local"), raw.utterances, raw.frames, raw.words)
    local = FeatureCache.open(Store(tmp_path / "local"), spec)
    here = FoldData(corpus, fold, spec, local, {}, None)
    assert there.fitted == here.fitted


def test_new_features_are_seen_at_once_on_another_machine(on: OnMachine) -> None:
    a, b = on("a"), on("b")
    Cache(a.features("frames", "d"), a.push).add({"x": np.arange(6.0).reshape(3, 2)})
    found = Cache(b.features("frames", "d"), b.push)["x"]
    np.testing.assert_array_equal(found, np.arange(6.0).reshape(3, 2))


def test_one_of_two_machines_has_the_lease_until_its_process_is_killed(
    on: OnMachine, uri: str
) -> None:
    on("a")
    process = start(HOLD.format(uri=uri))
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    store = on("b")
    # S3 gives times in whole seconds, and a busy machine is slow: wait longer than both.
    for _ in range(4):
        assert acquire(store, "run", "b", stale_s=5) is None
        time.sleep(0.5)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    lease = acquire(store, "run", "b", stale_s=1000)
    assert lease is not None
    lease.release()
    assert objects(store) == set()


def test_of_many_contenders_one_wins(on: OnMachine) -> None:
    store = on("a")
    with ThreadPoolExecutor(6) as pool:
        leases = list(pool.map(lambda n: acquire(store, "run", f"owner {n}"), range(6)))
    assert sum(lease is not None for lease in leases) == 1
    for lease in leases:
        if lease is not None:
            lease.release()


def test_contenders_never_hold_a_lease_together(on: OnMachine) -> None:
    store, inside, held, overlaps = on("a"), threading.Lock(), [], []

    def contend(number: int) -> None:
        for _ in range(8):
            lease = acquire(store, "run", f"owner {number}")
            if lease is None:
                continue
            with lease:
                (held if inside.acquire(blocking=False) else overlaps).append(number)
                time.sleep(0.05)
                if inside.locked():
                    inside.release()

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(contend, range(5)))
    assert held
    assert not overlaps
    assert objects(store) == set()


def test_a_key_that_leads_out_of_the_mirror_is_refused(
    on: OnMachine, server: str, tmp_path: Path
) -> None:
    import boto3

    a, b = on("a"), on("b")
    Cache(a.features("frames", "d"), a.push).add({"x": np.ones((1, 2))})
    prefix = a.location.partition("?")[0].removeprefix("s3://bucket/")
    client = boto3.client("s3", endpoint_url=f"http://{server}", region_name="us-east-1")
    for key in ("features/frames-d/../../../evil.npy", "studies/../../evil.json"):
        client.put_object(Bucket="bucket", Key=f"{prefix}/{key}", Body=b"evil")
    with pytest.raises(
        UserError, match=r"got 'features/frames-d/\.\./\.\./\.\./evil\.npy'; delete"
    ):
        b.features("frames", "d")
    assert b.studies() == []
    assert not list(tmp_path.rglob("evil*"))


def test_drivers_of_one_study_on_several_machines_keep_one_anothers_seeds(on: OnMachine) -> None:
    def note(machine: str, seeds: range) -> None:
        for seed in seeds:
            note_plans([make_plan(study_of(), CORPUS, seeds=[seed])], on(machine))

    with ThreadPoolExecutor(2) as pool:
        for future in [
            pool.submit(note, "a", range(10, 15)),
            pool.submit(note, "b", range(20, 25)),
        ]:
            future.result()
    record = read_record(on("c"), on("c").study("mine"))
    assert record is not None
    for row in record.rows:
        assert {run.seed for run in row.runs} == {3, 5, *range(10, 15), *range(20, 25)}
        assert len(row.runs) == 12 * 5


def error_of(uri: str) -> str:
    """The one-line error of opening a store."""
    with pytest.raises(StoreUnreachable) as raised:
        Store(uri)
    assert isinstance(raised.value, UserError)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_missing_bucket_gives_a_one_line_error(server: str) -> None:
    line = error_of(f"s3://pail/runs?endpoint_override={server}&scheme=http")
    assert "no bucket pail" in line
    assert line.endswith("create the bucket, or name another --store")


def test_an_endpoint_that_does_not_answer_gives_a_one_line_error(server: str) -> None:
    line = error_of("s3://bucket/runs?endpoint_override=127.0.0.1:1&scheme=http")
    assert line.endswith("check endpoint_override and the network")


def test_refused_credentials_give_a_one_line_error() -> None:
    class Refusing(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(403)
            self.end_headers()

        def log_message(self, *values: object) -> None:
            """Say nothing."""

    refusing = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=refusing.serve_forever, daemon=True).start()
    host, port = refusing.server_address[:2]
    uri = f"s3://key:secret@bucket/runs?endpoint_override={host!s}:{port}&scheme=http"
    line = error_of(uri)
    refusing.shutdown()
    refusing.server_close()
    assert "ACCESS_DENIED" in line
    assert "AWS_ACCESS_KEY_ID" in line
    assert "secret@" not in line
