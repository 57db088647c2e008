"""A trained row as files of ONNX: what onnxruntime gives is what the row's runs give."""

import functools
import json
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from mlt_ray.corpus.audio import read_audio
from mlt_ray.errors import UserError
from mlt_ray.inference.graphs import write
from mlt_ray.inference.graphs.inputs import tensors_of
from mlt_ray.inference.graphs.write import write_onnx
from mlt_ray.inference.predictor import Predictor
from mlt_ray.inference.raw import raw_features
from mlt_ray.inference.trained import TrainedModel, open_trained
from mlt_ray.models.exportable import EXPORTABLE
from mlt_ray.models.layers import WordEmbedding
from mlt_ray.models.multilevel.network import Multilevel
from tests.kept_folder import kept_folder
from tests.trained_store import SMALL, trained_store

pytestmark = pytest.mark.slow

onnxruntime = pytest.importorskip("onnxruntime", reason='needs pip install "mlt-ray[onnx]"')
pytest.importorskip("onnx", reason='needs pip install "mlt-ray[onnx]"')

CLOSE = {"rtol": 0, "atol": 1e-5}
FILES = {
    "multilevel": ["model.onnx", "frontend.onnx", "run.py"],
    "audio only": ["model.onnx", "frontend.onnx", "run.py"],
    "text only": ["model.onnx", "run.py"],
    "xu": ["model.onnx", "frontend.onnx", "run.py"],
    "li": ["model.onnx", "frontend.onnx"],
    "yoon": ["model.onnx", "frontend.onnx"],
    "late fusion": ["model.onnx"],
}
"""What is written for each row: an example where the graph reads text and samples alone."""


def opened(row: str) -> TrainedModel:
    return open_trained(f"study/{row}", trained_store()[0])


@functools.cache
def written(row: str) -> tuple[Path, list[str]]:
    """The folder into which a row was written, once for all tests, and the names of its files."""
    folder = kept_folder("graphs")
    return folder, [path.name for path in write_onnx(opened(row), folder)]


def session_of(row: str) -> Any:
    return onnxruntime.InferenceSession(written(row)[0] / "model.onnx")


def about(session: Any) -> dict[str, Any]:
    metadata = session.get_modelmeta().custom_metadata_map
    return {key: json.loads(value) for key, value in metadata.items()}


@pytest.mark.parametrize("row", FILES)
def test_the_graph_gives_the_probabilities_of_each_run_and_their_mean(row: str) -> None:
    predictor = Predictor(opened(row), torch.device("cpu"))
    spoken = trained_store()[1].utterances[:7]
    expected = predictor.probabilities(spoken)
    assert written(row)[1] == FILES[row]
    session = session_of(row)
    names = [one.name for one in session.get_inputs()]
    given = inputs_of(predictor, spoken)
    mean, members = session.run(None, {name: given[name].numpy() for name in names})
    assert len(expected) == 2
    np.testing.assert_allclose(members, expected, **CLOSE)
    np.testing.assert_allclose(mean, expected.mean(axis=0), **CLOSE)


def inputs_of(predictor: Predictor, spoken: Any) -> dict[str, Tensor]:
    features = list(raw_features(spoken, predictor.model.spec, predictor.model.tools))
    if predictor.ensemble is not None:
        return tensors_of(predictor.inputs(features, spoken))
    names = ("egemaps", "sentence_embedding")
    arrays = {n: np.concatenate([f.extras[n] for f in features]) for n in names}
    return {n: torch.from_numpy(a.astype(np.float32)) for n, a in arrays.items()}


def test_the_file_explains_itself() -> None:
    model, session = opened("multilevel"), session_of("multilevel")
    found = about(session)
    assert found["classes"] == list(model.spec.classes)
    assert found["model"] == "study/multilevel"
    assert found["opset"] == 17
    assert [run["digest"] for run in found["runs"]] == [run.digest for run in model.runs]
    assert found["features"]["frames"]["num_bins"] == 128
    assert set(found["inputs"]) == {one.name for one in session.get_inputs()}
    assert all(found["inputs"].values())
    known = {word: n for n, word in enumerate(found["words"], start=2)}
    assert {"furious", "zzyzx", "[laughter]"} <= known.keys()
    symbols = dict(enumerate(found["phonemes"], start=2))
    spelled = [symbols[i] for i in found["pronunciations"]["leaves"]]
    assert spelled == list(model.tools.phonemizer(["leaves"])[0])


BARE = "import sys; sys.modules |= dict.fromkeys(('torch', 'mlt_ray', 'sklearn'))"
"""From now on, an import of these fails."""


@pytest.mark.parametrize("row", ["multilevel", "audio only", "text only", "xu"])
def test_the_example_predicts_without_torch(row: str, tmp_path: Path) -> None:
    """Words that the training corpus has; `mlt-ray predict` knows more."""
    model, spoken = opened(row), trained_store()[1].utterances[3]
    recording = tmp_path / "a.wav"
    soundfile.write(recording, read_audio(spoken.audio), 16_000, subtype="FLOAT")
    code = f"{BARE}; import runpy; runpy.run_path('run.py', run_name='__main__')"
    command = [sys.executable, "-I", "-c", code, str(recording), spoken.text]
    said = subprocess.run(command, cwd=written(row)[0], capture_output=True, text=True, check=True)
    found = json.loads(said.stdout)
    [expected] = Predictor(model, torch.device("cpu")).probabilities([spoken]).mean(axis=0)
    assert list(found["probabilities"]) == list(model.spec.classes)
    # A value of a frame may be rounded to another float16.
    np.testing.assert_allclose(list(found["probabilities"].values()), expected, atol=1e-4)
    assert found["label"] == model.spec.classes[int(expected.argmax())]


def test_the_example_says_which_rate_it_expects(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(8000), 8000)
    command = [sys.executable, str(written("audio only")[0] / "run.py"), "a.wav"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert said.returncode == 1
    assert said.stderr == "a.wav: expected 16000 Hz, got 8000; convert it\n"


def test_classifiers_of_words_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected classifiers of vectors, got tfidf, which reads"):
        write_onnx(opened("tfidf"), tmp_path)
    assert set(FILES) | {"tfidf"} == set(SMALL)


def test_without_the_packages_a_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "PACKAGES", ("onnx", "absent_package"))
    assert find_spec("absent_package") is None
    with pytest.raises(UserError, match=r"no absent_package; pip install onnx onnxruntime$"):
        write_onnx(opened("audio only"), tmp_path)


def test_more_weights_than_a_file_can_hold_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "MOST_BYTES", 1000)
    with pytest.raises(UserError, match=r"expected weights below 2 GB.* GB in 2 runs; export one"):
        write_onnx(opened("audio only"), tmp_path)


def of_fixed_length(batch: Any) -> Tensor:
    """Logits that are right for the traced number of steps alone."""
    return batch.frames[:, :1, :4].sum(dim=1) * int(batch.frames.shape[1])


class Forgetful(WordEmbedding):
    """Gives words that the network was not built for the first of their vectors."""

    def forward(self, words: Tensor) -> Tensor:
        last = self.learned.num_embeddings + len(self.vectors) - 1
        return super().forward(words.clamp(max=last))


@pytest.mark.parametrize("row", ["multilevel", "text only", "xu"])
def test_a_graph_that_misreads_new_words_is_refused(
    row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EXPORTABLE, WordEmbedding, Forgetful)
    with pytest.raises(UserError, match="expected a graph that gives torch's probabilities"):
        write_onnx(opened(row), tmp_path)


def untraceable(batch: Any) -> Tensor:
    """Logits from a number of bits, which a traced length does not have."""
    return batch.frames[:, 0, :4] * batch.frames.shape[1].bit_length()


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (of_fixed_length, "expected a graph that gives torch's probabilities for all lengths, got"),
        (untraceable, "expected a model that can be traced for ONNX, got 'Tensor' object has no"),
    ],
)
def test_a_network_that_computes_with_lengths_in_python_is_refused(
    forward: Callable[[Any], Tensor],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As one of a user's own may."""
    monkeypatch.setattr(Multilevel, "forward", lambda _, batch: forward(batch))
    with pytest.raises(UserError, match=f"^study/audio only: {message}"):
        write_onnx(opened("audio only"), tmp_path)
