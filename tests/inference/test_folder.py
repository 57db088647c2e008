"""A trained model as a folder: it says what the store says, and no file of it is trusted."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlt_ray.corpus.utterance import Corpus, Utterance
from mlt_ray.errors import UserError
from mlt_ray.inference.folder.layout import (
    CONFIG,
    ENCODERS,
    FORMAT,
    INPUTS,
    PREPROCESSOR,
    TABLE,
    WEIGHTS,
    Part,
)
from mlt_ray.inference.folder.read import is_folder, own_file_in, read_folder
from mlt_ray.inference.folder.write import write_folder
from mlt_ray.inference.load import open_model
from mlt_ray.inference.predictor import Predictor
from mlt_ray.inference.trained import TrainedModel, open_trained
from mlt_ray.storage.store import Store
from tests.trained_rows import OWN_FILE, ROWS

NOTHING = Part(sessions=(), speakers=("speaker1",), utterances=8)


def opened(trained: Path, row: str) -> TrainedModel:
    glove = trained / "mine.txt" if row.startswith("mine/") else None
    own = OWN_FILE if row == "noise/own" else None
    return open_trained(row, Store(trained / "store").looking(), glove=glove, model_file=own)


def written(trained: Path, row: str, out: Path) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    write_folder(opened(trained, row), out, {1: {"test": NOTHING}})
    return out


def heard(trained: Path) -> list[Utterance]:
    """Recordings of the corpus with texts that hold words which no run has seen."""
    store = Store(trained / "store")
    [path] = (store.root / "corpora").glob("*.json")
    utterances = Corpus.from_dict(json.loads(path.read_text())).utterances
    utterances = tuple(u for u in utterances if u.speaker == "speaker1")[:5]
    texts = ("never alone", "so glad, at home", "", "it is Frobnik [LAUGHTER]", "stop it")
    return [replace(u, text=text) for u, text in zip(utterances, texts, strict=True)]


@pytest.mark.parametrize("row", [*(f"noise/{row}" for row in ROWS), "mine/both"])
def test_a_folder_gives_the_probabilities_of_the_store_bit_by_bit(
    trained: Path, tmp_path: Path, row: str
) -> None:
    folder = written(trained, row, tmp_path / "out")
    shutil.move(folder, tmp_path / "moved")
    own = OWN_FILE if row == "noise/own" else None
    back = read_folder(tmp_path / "moved", model_file=own)
    model, clips = opened(trained, row), heard(trained)
    expected = Predictor(model).probabilities(clips)
    np.testing.assert_array_equal(Predictor(back).probabilities(clips), expected)
    assert np.ptp(expected) > 0.01
    assert (back.name, back.spec, back.planned) == (model.name, model.spec, 3)
    assert [(r.digest, r.fold, r.seed) for r in back.runs] == [
        (r.digest, r.fold, r.seed) for r in model.runs
    ]


def test_a_model_is_opened_from_a_folder_as_from_a_store(trained: Path, tmp_path: Path) -> None:
    folder, store = written(trained, "noise/audio", tmp_path / "out"), Store(trained / "store")
    assert open_model(str(folder), store).name == "noise/audio"
    assert open_model("noise/audio", store).name == "noise/audio"
    assert is_folder(folder)
    assert not is_folder(tmp_path)


def test_the_configuration_says_what_hugging_face_s_say(trained: Path, tmp_path: Path) -> None:
    folder = written(trained, "noise/both", tmp_path / "out")
    values = json.loads((folder / CONFIG).read_text())
    assert values["model_type"] == "mlt_ray"
    assert values["id2label"] == {"0": "angry", "1": "happy", "2": "neutral", "3": "sad"}
    assert {v: int(k) for k, v in values["id2label"].items()} == values["label2id"]
    held = values["runs"][0]["not_trained_on"]["test"]
    assert held == {"sessions": [], "speakers": ["speaker1"], "utterances": 8}
    preprocessor = json.loads((folder / PREPROCESSOR).read_text())
    assert preprocessor["sampling_rate"] == 16_000
    assert preprocessor["frames"]["kind"] == "log_mel"
    assert preprocessor["frames_per_step"] == 4


def test_safetensors_hold_weights_by_run_and_name_and_the_word_vectors_once(
    trained: Path, tmp_path: Path
) -> None:
    from safetensors.numpy import load_file

    folder, model = written(trained, "noise/both", tmp_path / "out"), opened(trained, "noise/both")
    tensors = load_file(folder / WEIGHTS)
    names = {f"{run.digest}/{name}" for run in model.runs for name in run.network_weights()}
    assert tensors.keys() == names | {"word_vectors"}
    words = json.loads((folder / INPUTS).read_text())["words"]
    np.testing.assert_array_equal(tensors["word_vectors"], model.vectors_of(words))


def test_no_path_of_the_machine_that_wrote_it_is_in_a_folder(trained: Path, tmp_path: Path) -> None:
    for row in ("noise/both", "noise/encoder", "mine/both"):
        folder = written(trained, row, tmp_path / row.replace("/", "-"))
        for path in folder.rglob("*"):
            if path.is_file():
                assert str(trained).encode() not in path.read_bytes(), path


def test_packaged_word_vectors_are_named_and_a_user_s_table_comes_along(
    trained: Path, tmp_path: Path
) -> None:
    packaged, mine = (
        written(trained, f"{study}/both", tmp_path / study) for study in ("noise", "mine")
    )
    assert json.loads((packaged / CONFIG).read_text())["word_vectors"]["comes_along"] is False
    assert not (packaged / "vectors").exists()
    assert json.loads((mine / CONFIG).read_text())["word_vectors"]["comes_along"] is True
    array = np.load(mine / TABLE[0], allow_pickle=False)
    words = (mine / TABLE[1]).read_text().splitlines()
    lines = [line.rsplit(" ", 3) for line in (trained / "mine.txt").read_text().splitlines()]
    assert words == [word for word, *_ in lines]
    np.testing.assert_array_equal(array, np.array([v for _, *v in lines], np.float32))
    (trained / "mine.txt").rename(tmp_path / "elsewhere.txt")  # the folder needs it no more
    try:
        found = read_folder(mine).tools.vectors.lookup(["never"])
    finally:
        (tmp_path / "elsewhere.txt").rename(trained / "mine.txt")
    np.testing.assert_array_equal(found["never"], array[words.index("never")])


def test_encoders_come_along_by_digest(trained: Path, tmp_path: Path) -> None:
    folder = written(trained, "noise/encoder", tmp_path / "out")
    digest = opened(trained, "noise/encoder").spec.model.text_encoder.rpartition("@")[2]  # type: ignore[union-attr]
    there = {p.name for p in (trained / "store" / "encoders" / digest).iterdir()}
    assert {p.name for p in (folder / "encoders" / digest).iterdir()} == there
    (folder / "encoders" / digest / "modeling.py").write_text("raise SystemExit('run')\n")
    with pytest.raises(UserError, match=r"modeling\.py: expected the files of an encoder"):
        read_folder(folder)


def test_a_folder_never_runs_the_model_s_file_that_lies_in_it(
    trained: Path, tmp_path: Path
) -> None:
    folder = written(trained, "noise/own", tmp_path / "out")
    (folder / OWN_FILE.name).write_text("raise SystemExit('run')\n")
    with pytest.raises(UserError, match=r"expected the file mean_frames\.py@.* --model-file"):
        read_folder(folder)
    other = tmp_path / "mean_frames.py"
    other.write_text(OWN_FILE.read_text() + "\n# changed\n")
    with pytest.raises(UserError, match=r"expected the file mean_frames\.py@.* got mean_frames"):
        read_folder(folder, model_file=other)


@pytest.mark.parametrize("name", [CONFIG, INPUTS, WEIGHTS])
def test_a_missing_file_is_named(trained: Path, tmp_path: Path, name: str) -> None:
    folder = written(trained, "noise/audio", tmp_path / "out")
    (folder / name).unlink()
    with pytest.raises(UserError, match=rf"{name}: expected a file of the model, found none"):
        read_folder(folder)


@pytest.mark.parametrize("name", [INPUTS, WEIGHTS, PREPROCESSOR])
def test_a_changed_file_is_named(trained: Path, tmp_path: Path, name: str) -> None:
    folder = written(trained, "noise/audio", tmp_path / "out")
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"{name}: expected the file that was written"):
        read_folder(folder)


CHANGES = {
    "format": (
        lambda v: v.update(format=FORMAT + 1),
        f"expected format {FORMAT}, got {FORMAT + 1}",
    ),
    "kind": (lambda v: v.update(model_type="bert"), "expected a model of mlt-ray export"),
    "fold": (lambda v: v["runs"][0].update(fold=2), "expected the digest"),
    "setting": (lambda v: v["spec"]["model"].update(dropout=0.25), "expected the digest"),
    "unknown setting": (lambda v: v["spec"]["model"].update(depth=9), "unknown key depth"),
    "no runs": (lambda v: v.pop("runs"), "expected values of mlt-ray export, got no 'runs'"),
    "runs": (lambda v: v.update(runs=[]), "got no runs"),
    "files": (lambda v: v.update(files={}), "among the files"),
    "leaves": (lambda v: v["files"].update({"../x": "0" * 64}), "would leave the folder"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_configuration_is_one_line(trained: Path, tmp_path: Path, name: str) -> None:
    folder = written(trained, "noise/audio", tmp_path / "out")
    change, expected = CHANGES[name]
    values = json.loads((folder / CONFIG).read_text())
    change(values)
    (folder / CONFIG).write_text(json.dumps(values))
    with pytest.raises(UserError) as caught:
        read_folder(folder)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("digest", "expected"),
    [
        ("../../outside", "expected a name without slashes, got '../../outside'"),
        ("..", "expected a name without slashes, got '..'"),
        ("0" * 16, f"expected the files of encoder tiny@{'0' * 16}, found none"),
    ],
)
def test_an_encoder_that_did_not_come_along_is_refused(
    trained: Path, tmp_path: Path, digest: str, expected: str
) -> None:
    folder = written(trained, "noise/encoder", tmp_path / "a" / "out")
    shutil.copytree(next((folder / ENCODERS).iterdir()), tmp_path / "a" / "outside")
    values = json.loads((folder / CONFIG).read_text())
    values["spec"]["model"]["encoder"] = f"tiny@{digest}"
    (folder / CONFIG).write_text(json.dumps(values))
    with pytest.raises(UserError) as caught:
        read_folder(folder)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_file_of_a_model_of_one_s_own_is_found_in_its_folder_alone(
    trained: Path, tmp_path: Path
) -> None:
    folder = written(trained, "noise/own", tmp_path / "own")
    assert own_file_in(folder) == folder / OWN_FILE.name
    assert own_file_in(written(trained, "noise/audio", tmp_path / "audio")) is None
    values = json.loads((folder / CONFIG).read_text())
    values["spec"]["model"]["source"] = f"../{OWN_FILE.name}@0123456789abcdef"
    (folder / CONFIG).write_text(json.dumps(values))
    with pytest.raises(UserError, match=r"expected a name without slashes, got '\.\./mean_frames"):
        own_file_in(folder)


ODD_INPUTS = {
    "short mean": (lambda v: v.update(mean=v["mean"][:-1]), "127 means and 128 deviations"),
    "mean of texts": (lambda v: v.update(mean=["a"]), "mean, which is no list of numbers"),
    "mean alone": (lambda v: v.update(mean=5), "mean, which is no list of numbers"),
    "phonemes": (lambda v: v.update(phonemes=5), "phonemes, which is no list of texts"),
    "a text": (lambda v: v.update(words="alone"), "words, which is no list of texts"),
    "unknown": (lambda v: v["vectors"].append("frobnik"), "word 'frobnik', which has no vector"),
    "layers": (lambda v: v.update(frame_layers="1"), "frame_layers, which is no whole number"),
    "extras": (lambda v: v.update(extras=[]), "got"),
    "dim": (lambda v: v["extras"].update(x={"dim": "5"}), "dim of x, which is no whole number"),
    "moments": (
        lambda v: v["extras"].update(x={"dim": 2, "mean": [0.5], "deviation": [1.0]}),
        "moments of x that are not of its 2 values",
    ),
    "missing": (lambda v: v.pop("mean"), "got too few values"),
}


@pytest.mark.parametrize("name", ODD_INPUTS)
def test_odd_inputs_are_one_line(trained: Path, tmp_path: Path, name: str) -> None:
    folder = written(trained, "noise/both", tmp_path / "out")
    change, expected = ODD_INPUTS[name]
    values = json.loads((folder / INPUTS).read_text())
    change(next(iter(values["runs"].values())))
    (folder / INPUTS).write_text(json.dumps(values))
    believe(folder, INPUTS)
    with pytest.raises(UserError, match=rf"{INPUTS}: expected values of mlt-ray export") as caught:
        read_folder(folder)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe", b'{"model_type": "mlt_ray"'])
def test_a_configuration_that_is_none_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / CONFIG).write_bytes(content)
    with pytest.raises(UserError, match=rf"^.*{CONFIG}: expected [^\n]*$"):
        read_folder(tmp_path)


def test_weights_of_a_missing_run_are_named(trained: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = written(trained, "noise/audio", tmp_path / "out")
    tensors = load_file(folder / WEIGHTS)
    digest = opened(trained, "noise/audio").runs[1].digest
    save_file({k: v for k, v in tensors.items() if digest not in k}, folder / WEIGHTS)
    believe(folder, WEIGHTS)
    with pytest.raises(UserError, match=rf"expected weights of run {digest}, found none"):
        read_folder(folder)


def test_classifiers_of_foreign_types_are_refused(trained: Path, tmp_path: Path) -> None:
    from skops import io

    folder = written(trained, "noise/words", tmp_path / "out")
    name = f"{opened(trained, 'noise/words').runs[0].digest}.skops"
    (folder / name).write_bytes(io.dumps({"classifiers": [Path.unlink], "weights": [1.0]}))
    believe(folder, name)
    with pytest.raises(UserError, match=rf"{name}: expected fitted classifiers, got [^\n]*$"):
        read_folder(folder)


def believe(folder: Path, name: str) -> None:
    """Let the configuration name a file's content as that which was written."""
    from hashlib import sha256

    values = json.loads((folder / CONFIG).read_text())
    values["files"][name] = sha256((folder / name).read_bytes()).hexdigest()
    (folder / CONFIG).write_text(json.dumps(values))
