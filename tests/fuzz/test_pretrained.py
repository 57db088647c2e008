"""Word vectors, pre-trained encoders and trained weights of any content."""

import io
import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from mlt_ray.encoders.catalogue import SPEECH, TEXT
from mlt_ray.encoders.folder import find_encoder
from mlt_ray.features.vectors import load_vectors
from mlt_ray.training.weights import read_weights
from tests.fuzz.mutated import contents, encoded, values
from tests.fuzz.outcome import told_or_read
from tests.tiny_encoder import write_encoder
from tests.tiny_speech_encoder import write_speech_encoder

GLOVE = "the 0.1 -0.2 3e-1\nn't 1 2 3\nat name@domain.com 1 1 1\n"
WORDS = ("the", "don't", "at name@domain.com", "[laughter]")
WEIGHTS = {"a": torch.zeros(2, 3), "b": torch.ones(4, dtype=torch.int64)}


def numpy_bytes(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def torch_bytes(value):
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def open_and_look_up(path):
    vectors = load_vectors(path)
    found = vectors.lookup(WORDS)
    assert all(vector.shape == (vectors.dim,) for vector in found.values())
    assert all(np.isfinite(vector).all() for vector in found.values())
    return vectors.sha256


@given(content=st.one_of(encoded(GLOVE, f"3 3\n{GLOVE}"), contents(GLOVE.encode(), b"9 0\na 1\n")))
def test_word_vectors_of_any_content(content, folder):
    path = folder / "any.txt"
    path.write_bytes(content)
    told_or_read(open_and_look_up, path)


ARRAYS = [np.zeros((3, 2), np.float32), np.ones((3, 2), np.float64), np.zeros(3), np.array(["a"])]


@given(content=contents(*map(numpy_bytes, ARRAYS)), words=encoded("the\nof\nand\n"))
def test_word_vectors_in_an_array_of_any_content(content, words, folder):
    (folder / "array.npy").write_bytes(content)
    (folder / "array.txt").write_bytes(words)
    told_or_read(open_and_look_up, folder / "array.npy")


@pytest.fixture(scope="module")
def encoders(folder):
    return {
        TEXT.noun: (TEXT, write_encoder(folder / "text")),
        SPEECH.noun: (SPEECH, write_speech_encoder(folder / "speech")),
    }


@pytest.mark.parametrize("noun", [TEXT.noun, SPEECH.noun])
@given(data=st.data())
def test_an_encoder_of_any_configuration(noun, data, encoders):
    modality, valid = encoders[noun]
    place = valid.with_name("changed")
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(valid, place)
    config = json.loads((valid / "config.json").read_text())
    (place / "config.json").write_text(json.dumps(data.draw(values(config))))
    found = told_or_read(find_encoder, str(place), modality)
    assert found is None or len(found.digest) == 16


@given(data=st.data())
def test_an_encoder_of_any_weights(data, encoders):
    modality, valid = encoders[TEXT.noun]
    place = valid.with_name("changed")
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(valid, place)
    whole = (valid / "model.safetensors").read_bytes()
    (place / "model.safetensors").write_bytes(data.draw(contents(whole)))
    told_or_read(find_encoder, str(place), modality)


@given(index=values({"metadata": {}, "weight_map": {"a": "model-1.safetensors"}}))
def test_an_index_of_shards_of_any_values(index, encoders):
    modality, valid = encoders[TEXT.noun]
    place = valid.with_name("sharded")
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(valid, place)
    (place / "model.safetensors").rename(place / "model-1.safetensors")
    (place / "model.safetensors.index.json").write_text(json.dumps(index))
    told_or_read(find_encoder, str(place), modality)


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pt"])
@given(content=contents(save(WEIGHTS), torch_bytes(WEIGHTS)))
def test_weights_of_any_content(name, content, folder):
    path = folder / name
    path.write_bytes(content)
    told_or_read(read_weights, path)


def test_what_is_changed_is_read_before(folder):
    path = folder / "valid.safetensors"
    path.write_bytes(save(WEIGHTS))
    assert set(read_weights(path)) == {"a", "b"}
