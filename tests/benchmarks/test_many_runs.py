"""What the benchmarks of many runs measure with, small."""

import http.client
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from mlt_ray.labels import NAMED
from mlt_ray.planning.backlog import take_stock
from mlt_ray.planning.plan import make_plan
from mlt_ray.planning.workspace import Places, Workspace
from mlt_ray.reports.results import results_of
from mlt_ray.storage.record import all_records
from mlt_ray.studies.study import load_study
from tests.benchmarks.many_runs import UTTERANCES, make
from tests.benchmarks.searching import space_of, tenths
from tests.benchmarks.slow_server import delayed


@pytest.mark.slow
def test_the_store_has_all_that_a_plan_of_its_study_asks_for(tmp_path: Path) -> None:
    many = make(tmp_path, 50)
    workspace = Workspace.open(Places(corpus=many.corpus, store=many.store), [NAMED["four"]])
    plan = make_plan(workspace.name_contents(load_study(str(many.study))), workspace.corpus)
    backlog = take_stock([plan], many.store)
    assert (backlog.num_asked, len(backlog.left)) == (50, 0)
    [table] = results_of(all_records(many.store), many.store).tables
    assert [(row.runs_done, row.runs_planned) for row in table.rows] == [(50, 50)]
    with pytest.raises(SystemExit, match="multiples of 50"):
        make(tmp_path / "odd", 70)
    assert len(workspace.corpus) == UTTERANCES


def test_a_search_sleeps_in_as_many_configurations_as_are_asked_for() -> None:
    space = space_of(7, 0.5)
    assert space.search.trials == 7
    row = space.row({"model.number": 3, "training.learning_rate": 0.001})
    assert (row.model.sleep_s, row.model.number, row.training.learning_rate) == (0.5, 3, 0.001)
    assert tenths([0.001] * 10 + [0.002] * 80 + [0.003] * 10) == (1.0, 3.0)


class Echo(BaseHTTPRequestHandler):
    """Answers with what was sent."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201)
        self.send_header("X-Path", self.path)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, form: str, *values: object) -> None:
        """Nothing."""


@pytest.mark.parametrize("body", [b"123", [b"1", b"23"]], ids=["whole", "in chunks"])
def test_a_server_far_away_passes_on_what_it_is_asked(body: bytes | list[bytes]) -> None:
    server = HTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with delayed(server.server_address[1], 0.2) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        began = time.monotonic()
        connection.request("PUT", "/a?b=c", body, encode_chunked=isinstance(body, list))
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (201, b"123")
        assert answer.headers["X-Path"] == "/a?b=c"
        assert time.monotonic() - began >= 0.2
    server.shutdown()
    server.server_close()
