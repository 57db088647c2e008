"""Cases: the S3 server of the store stops for a while, is emptied, or another takes its place."""

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from mlt_ray.storage.store import Store
from tests.crashes.journal import Journal, journal, wait_until
from tests.crashes.scene import RUNS, Finding, Scene, middle, started
from tests.end_to_end.conftest import mlt_ray

BUCKET = "bucket"
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
SWAP_S = 5.0
"""Seconds between the end of a server and the start of the one in its place."""

WAIT_S = 15.0
"""Least seconds that a trained run waits for the store."""


class Server:
    """An S3 server of moto in this process, at one address; what it holds outlives a stop."""

    def __init__(self) -> None:
        self._port = 0
        self.start()
        self._client().create_bucket(Bucket=BUCKET)

    def start(self) -> None:
        """Answer, at the same address as before."""
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=self._port, verbose=False)
        self._server.start()
        _, self._port = self._server.get_host_and_port()

    def stop(self) -> None:
        """Answer no more."""
        self._server.stop()

    def empty(self) -> None:
        """Delete all files, as with a clean-up by somebody else."""
        client = self._client()
        for name in self.names():
            client.delete_object(Bucket=BUCKET, Key=name)

    def names(self) -> list[str]:
        """Names of all files."""
        pages = self._client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return [file["Key"] for page in pages for file in page.get("Contents", ())]

    def uri(self, name: str) -> str:
        """URI of a store."""
        return f"s3://{BUCKET}/{name}?endpoint_override=127.0.0.1:{self._port}&scheme=http"

    def _client(self) -> Any:
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{self._port}",
            region_name="us-east-1",
            aws_access_key_id="key",
            aws_secret_access_key="secret",
        )


@contextlib.contextmanager
def machine(folder: Path) -> Iterator[None]:
    """Inside the block, commands find the keys, and the mirrors of one machine in `folder`."""
    with mock.patch.dict(os.environ, {**KEYS, "MLT_RAY_CACHE": str(folder)}):
        yield


@contextlib.contextmanager
def server() -> Iterator[Server]:
    """A server that is stopped at the end of the block."""
    made = Server()
    try:
        yield made
    finally:
        made.stop()


def stopped_store(scene: Scene) -> Finding:
    """The server stops in the middle of a run, until after the run has ended."""
    finding = Finding(case="store stopped", damage="")
    with server() as s3, study(scene, finding, s3, "stopped") as (kept, process, root):
        digest = middle(kept, process, epochs=20)
        s3.stop()
        began = time.monotonic()
        beside = f".{digest}.*/report.json"  # where a run stands until it is uploaded
        wait_until(lambda: any((root / "runs").glob(beside)), "a trained run that waits")
        time.sleep(max(WAIT_S, scene.outage_s - (time.monotonic() - began)))
        finding.damage = f"no answer of the store for {time.monotonic() - began:.0f} s"
        s3.start()
        finish(finding, process)
        finding.expect(finding.shown.count("trying again") == 1, "the outage was not said once")
        finding.expect(finding.shown.count("answers again") == 1, "its end was not said once")
        finding.expect("uploaded again" not in finding.shown, "a run was uploaded by two")
        compare(scene, finding, kept, root, s3, "stopped")
    return finding


def emptied_store(scene: Scene) -> Finding:
    """All files of the store are deleted in the middle of a run."""
    finding = Finding(case="store emptied", damage="all files of the store deleted in mid-study")
    with server() as s3, study(scene, finding, s3, "emptied") as (kept, process, root):
        middle(kept, process)
        s3.empty()
        finish(finding, process)
        finding.expect("uploaded again, which only" in finding.shown, "no word of the upload")
        compare(scene, finding, kept, root, s3, "emptied")
    return finding


def swapped_store(scene: Scene) -> Finding:
    """Another server, which holds nothing, takes the place of the store's in mid-study."""
    finding = Finding(case="store swapped", damage=f"another server, empty, after {SWAP_S:.0f} s")
    with server() as s3, study(scene, finding, s3, "swapped") as (kept, process, root):
        middle(kept, process)
        s3.empty()
        s3.stop()
        time.sleep(SWAP_S)
        s3.start()
        finish(finding, process)
        compare(scene, finding, kept, root, s3, "swapped")
        s3.empty()
        again = mlt_ray(*scene.command(s3.uri("swapped")))
        finding.shown += again.stdout + again.stderr
        finding.expect(f"{RUNS} finished runs are uploaded again" in again.stderr, again.stderr)
        finding.expect(f"{RUNS} in the store, 0 to compute" in again.stdout, again.stdout)
        compare(scene, finding, kept, root, s3, "swapped")
    return finding


@contextlib.contextmanager
def study(
    scene: Scene, finding: Finding, s3: Server, name: str
) -> Iterator[tuple[Journal, Any, Path]]:
    """Run the study in a store of that name; yields its journal, process and mirror."""
    with machine(scene.folder / f"machine-{name}"):
        uri = s3.uri(name)
        root = Store(uri).root
        with journal(root) as kept, started(*scene.command(uri)) as process:
            yield kept, process, root


def finish(finding: Finding, process: Any) -> None:
    """Wait for the command, and keep what it has printed."""
    finding.shown = finding.expect_exit(process, 0)


def compare(
    scene: Scene, finding: Finding, kept: Journal, root: Path, s3: Server, name: str
) -> None:
    """Expect the undisturbed scores and tables, here and on another machine."""
    time.sleep(0.3)  # the journal's last events are still to be read
    finding.judge(kept, root, scene.undisturbed)
    wanted = tables(scene.undisturbed)
    finding.expect(tables(root) == wanted, "the tables differ from the undisturbed ones")
    found = [n for n in s3.names() if n.startswith(f"{name}/runs/") and n.endswith("/report.json")]
    finding.expect(len(found) == RUNS, f"the store has {len(found)} of {RUNS} runs")
    with machine(scene.folder / f"other-than-{name}"):
        uri = s3.uri(name)
        done = mlt_ray("report", "small", "--store", uri)
        finding.expect(done.returncode == 0, f"report: {done.stderr}")
        other = Store(uri).root
        finding.expect(tables(other) == wanted, "another machine's tables differ")


def tables(root: Path) -> dict[str, bytes]:
    """Content of the files of tables, by name. A page has times, which differ."""
    found = (root / "reports" / "small").glob("tables.*")
    return {path.name: path.read_bytes() for path in found}
