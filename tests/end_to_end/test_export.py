"""Exported models at work: MLflow's server over HTTP, and the folder's own script alone."""

import base64
import contextlib
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import soundfile

from mlt_ray.inference.clips import clip_of
from mlt_ray.inference.load import load
from mlt_ray.storage.store import Store
from tests.crashes.journal import wait_until
from tests.crashes.scene import kill_session
from tests.crashes.servers import BIN, answers
from tests.end_to_end.conftest import environment, mlt_ray
from tests.ports import free_port

pytestmark = pytest.mark.slow

ROW = "small/highway network"
TEXT = "You are so late, I am furious."
ALONE = """
import sys
sys.path[:] = [p for p in sys.path if p not in {hidden!r}]
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("ray", "mlflow", "optuna", "rich", "typer", "pandas", "yaml"):
            raise ImportError(f"no {{name}} here")
sys.meta_path.insert(0, Without())
import mlt_ray
assert mlt_ray.__file__ == {package!r}, mlt_ray.__file__
import runpy
runpy.run_path({script!r}, run_name="__main__")
"""
"""A program that runs the script with the folder's own copy of the package and without others."""


@pytest.fixture(scope="module")
def clip(tmp_path_factory, corpus):
    """A recording of the corpus in a folder of its own."""
    path = tmp_path_factory.mktemp("clips") / "clip.flac"
    samples, rate = soundfile.read(min(corpus.glob("Session*/sentences/wav/*/*.wav")))
    soundfile.write(path, samples, rate)
    return path


@pytest.fixture(scope="module")
def expected(undisturbed, clip):
    """The classes, and the probabilities that the store's model gives the recording."""
    predictor = load(ROW, Store(undisturbed))
    [shares] = predictor.probabilities([clip_of(clip, TEXT)]).mean(axis=0)
    return dict(zip(predictor.classes, map(float, shares), strict=True))


def export(store, to, out, row=ROW, *more):
    done = mlt_ray("export", row, "--store", store, "--to", to, "--out", out, *more)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@contextlib.contextmanager
def served(model, port):
    """MLflow's server of a model, killed at the end of the block."""
    process = subprocess.Popen(
        [BIN / "mlflow", "models", "serve", "-m", model, "--env-manager", "local", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
        env={**environment(), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
    )
    try:
        wait_until(lambda: answers(port), "an answer of the model's server")
        yield
    finally:
        kill_session(process)


def ask(port, body):
    """Status and JSON of the server's answer to a request."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations",
        body if isinstance(body, bytes) else json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def table(*rows, columns=("audio", "text")):
    return {"dataframe_split": {"columns": list(columns), "data": [list(row) for row in rows]}}


def test_mlflow_serves_the_model_over_http(undisturbed, tmp_path, clip, expected):
    printed = export(undisturbed, "mlflow", tmp_path / "served")
    assert f"mlflow models serve -m {tmp_path / 'served'} --env-manager local" in printed
    audio, port = base64.b64encode(clip.read_bytes()).decode(), free_port()
    with served(tmp_path / "served", port):
        status, answer = ask(port, table((audio, TEXT), (audio, TEXT)))
        assert status == 200
        for found in answer["predictions"]:
            assert found["probabilities"] == pytest.approx(expected, abs=1e-6)
            assert found["label"] == max(expected, key=expected.get)
            assert (found["text"], found["text_source"]) == (TEXT, "given")
        for body, said in (
            (table((audio, None)), "row 0: small/highway network reads text, and none is given"),
            (table((audio,), columns=["audio"]), "reads text, and none is given"),
            (table((base64.b64encode(b"x" * 99).decode(), TEXT)), "row 0: expected audio"),
            (table((base64.b64encode(str(clip).encode()).decode(), TEXT)), "expected audio"),
            (table((TEXT,), columns=["text"]), "missing inputs ['audio']"),
            (b"{", "valid JSON"),
        ):
            status, answer = ask(port, body)
            assert status == 400, answer
            assert said in answer["message"]
            assert "stack_trace" not in answer
            assert str(tmp_path) not in json.dumps(answer)
        status, _ = ask(port, table((audio, TEXT)))
        assert status == 200


def test_the_folder_predicts_alone_what_the_store_predicts(undisturbed, tmp_path, clip, expected):
    printed = export(undisturbed, "folder", tmp_path / "made", ROW, "--license", "cc-by-4.0")
    assert f"mlt-ray predict clip.wav --model {tmp_path / 'made'} --text" in printed
    folder = tmp_path / "moved"
    (tmp_path / "made").rename(folder)
    code = ALONE.format(
        hidden=("", str(Path(__file__).parents[2])),
        package=str(folder / "mlt_ray" / "__init__.py"),
        script=str(folder / "predict.py"),
    )
    done = subprocess.run(
        [sys.executable, "-c", code, clip, "--text", TEXT],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env={**environment(), "PYTHONPATH": str(folder)},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["probabilities"] == pytest.approx(expected, abs=1e-6)
    assert (found["audio"], found["text"], found["text_source"]) == (str(clip), TEXT, "given")
    assert found["label"] == max(expected, key=expected.get)
    beside = mlt_ray("predict", clip, "--model", folder, "--text", TEXT, "--format", "json")
    assert json.loads(beside.stdout) == found
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlicense: cc-by-4.0\n")
    assert "voices are synthetic" in card
    plain = subprocess.run(
        [sys.executable, folder / "predict.py", clip],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env=environment(),
    )
    assert plain.returncode == 2
    assert plain.stderr.startswith(f"predict.py: {clip}: small/highway network reads text")
    assert plain.stderr.count("\n") == 1


def test_what_cannot_be_exported_is_one_line(undisturbed, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    for row, more, said in (
        ("small", (), "expected STUDY/ROW"),
        ("small/highway", (), "did you mean highway network?"),
        ("smal/audio only", (), "did you mean small?"),
        ("small/audio only", ("--out", tmp_path / "full"), "expected a new or empty folder"),
        ("small/audio only", ("--log",), "expected it with --to mlflow"),
    ):
        done = mlt_ray("export", row, "--store", undisturbed, *more, cwd=tmp_path)
        assert done.returncode == 2, done.stdout
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["full"]
    done = mlt_ray("export", "small/audio only", "--store", undisturbed, cwd=tmp_path)
    assert done.returncode == 0
    assert (tmp_path / "small-audio-only-folder" / "predict.py").is_file()
