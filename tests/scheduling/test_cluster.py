"""An address at which no Ray cluster answers is told in one line, before Ray is asked."""

import http.server
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from mlt_ray.errors import UserError
from mlt_ray.scheduling import cluster
from mlt_ray.scheduling.cluster import check_address

ROOT = Path(__file__).parents[2]
LOCAL = "compute on this machine alone (--address local)"


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No address of a cluster, and a proxy that does not answer."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")


def told(asked: str | None) -> str:
    """What is said of an address."""
    with pytest.raises(UserError) as caught:
        check_address(asked)
    [line] = str(caught.value).splitlines()
    return line


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("127.0.0.1:1", "found nobody there (connection refused); start one"),
        ("nohost.invalid:6379", "found no machine of that name; name its head"),
        ("foo", "found no HOST:PORT; name its head as HOST:PORT"),
        ("127.0.0.1:99999", "found no HOST:PORT"),
        ("127.0.0.1:0", "found no HOST:PORT"),
        (":6379", "found no HOST:PORT"),
        ("ray://127.0.0.1:10001", "found one of Ray's client"),
        ("http://127.0.0.1:8265", "found one of Ray's client or of another protocol"),
    ],
)
def test_what_does_not_answer_is_named_with_where_it_comes_from(
    address: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = told(address)
    assert line.startswith(f"--address {address} (or a profile's): expected the address of a Ray")
    assert found in line
    assert line.endswith(LOCAL)
    monkeypatch.setenv("RAY_ADDRESS", address)
    for asked in (None, "auto"):
        line = told(asked)
        assert line.startswith(f"RAY_ADDRESS={address}: ")
        assert "unset RAY_ADDRESS, or --address local" in line


def test_auto_without_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(address: str) -> str:
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.setattr(cluster.services, "canonicalize_bootstrap_address", none)
    assert "found none on this machine; start one (ray start --head)" in told("auto")


def test_this_machine_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    check_address(None)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    check_address("local")
    monkeypatch.setenv("RAY_ADDRESS", "local")
    check_address(None)


def test_a_server_of_another_kind() -> None:
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), http.server.BaseHTTPRequestHandler
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert "found another server there" in told(f"127.0.0.1:{server.server_port}")
        server.shutdown()


def test_a_server_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "ANSWER_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert "got no answer in" in told(f"127.0.0.1:{server.getsockname()[1]}")


@contextmanager
def head(answer: Callable[[bytes, grpc.ServicerContext], bytes]) -> Iterator[str]:
    """A server that answers what a head is asked; yields its address."""

    class Head(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
            asked = details.method == cluster.CLUSTER_ID
            return grpc.unary_unary_rpc_method_handler(answer) if asked else None

    server = grpc.server(ThreadPoolExecutor(1), handlers=[Head()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def test_a_cluster_that_asks_for_a_token() -> None:
    def refuse(request: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken")
        return b""

    with head(refuse) as address:
        assert "found one that asks for a token; set RAY_AUTH_MODE=token" in told(address)


def test_a_cluster_of_which_this_machine_is_no_node(monkeypatch: pytest.MonkeyPatch) -> None:
    with head(lambda request, context: b"") as address:
        monkeypatch.setattr(cluster.services, "find_node_ids", set)
        line = told(address)
        assert f"no node on this machine; join it (ray start --address={address})" in line
        monkeypatch.setattr(cluster.services, "find_node_ids", lambda: {"1"})
        check_address(address)


ASKS_FOR_A_TOKEN = """
import sys
from tests.scheduling.test_cluster import cluster, grpc, head

def answer(request, context):
    if dict(context.invocation_metadata()).get("authorization") != "Bearer " + "5" * 32:
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken")
    return b""

cluster.services.find_node_ids = lambda: {"1"}
with head(answer) as address:
    cluster.services.canonicalize_bootstrap_address = lambda auto: address
    cluster.check_address("auto")
print("joined")
"""


def test_auto_finds_the_token_of_this_machine_as_ray_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("5" * 32)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    # In a process of its own, since Ray keeps the mode for all of one.
    done = subprocess.run(
        [sys.executable, "-c", ASKS_FOR_A_TOKEN],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "joined\n", done.stderr
