"""The files of an encoder's folder: weights in one file or in shards, each of them whole."""

import json
import shutil
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from transformers import AutoModel

from mlt_ray.encoders.catalogue import SPEECH, TEXT
from mlt_ray.encoders.folder import Encoders, encoder_folder, find_encoder
from mlt_ray.encoders.layout import with_shards
from mlt_ray.encoders.text import cls_vectors
from mlt_ray.errors import UserError
from mlt_ray.storage.store import Store
from tests.tiny_encoder import write_encoder
from tests.tiny_speech_encoder import write_speech_encoder

INDEX = {
    "safetensors": "model.safetensors.index.json",
    "torch": "pytorch_model.bin.index.json",
}
every_layout = pytest.mark.parametrize("layout", INDEX)


def in_shards(folder: Path, layout: str) -> list[Path]:
    """Write the weights of a folder as shards; returns their paths."""
    model = AutoModel.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    if layout == "safetensors":
        model.save_pretrained(folder, max_shard_size="6KB")
        shards = sorted(folder.glob("model-*-of-*.safetensors"))
    else:
        names = sorted(model.state_dict())
        parts = {"pytorch_model-00001-of-00002.bin": names[:9]}
        parts["pytorch_model-00002-of-00002.bin"] = names[9:]
        for shard, held in parts.items():
            torch.save({n: model.state_dict()[n] for n in held}, folder / shard)
        places = {name: shard for shard, held in parts.items() for name in held}
        index = {"metadata": {"total_size": 1}, "weight_map": places}
        (folder / INDEX[layout]).write_text(json.dumps(index))
        shards = sorted(map(folder.joinpath, parts))
    assert (folder / INDEX[layout]).is_file()
    assert len(shards) > 1
    return shards


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_encoder(tmp_path / "tiny")


@every_layout
def test_a_folder_in_shards_gives_the_vectors_of_one_file(
    folder: Path, tmp_path: Path, layout: str
) -> None:
    expected = list(cls_vectors(folder, ["so what"]))
    shards = in_shards(folder, layout)
    store, encoders = Store(tmp_path / "store"), Encoders()
    identity = encoders.identify(str(folder))
    encoders.copy(identity, store)
    copied = encoder_folder(store, identity)
    files = ["config.json", INDEX[layout], *(shard.name for shard in shards), "tokenizer.json"]
    assert list(find_encoder(str(copied)).files[: len(files)]) == files
    assert find_encoder(str(copied)).digest in identity
    np.testing.assert_array_equal(list(cls_vectors(copied, ["so what"])), expected)


@every_layout
def test_every_shard_is_part_of_the_digest(folder: Path, layout: str) -> None:
    *_, last = in_shards(folder, layout)
    digest = find_encoder(str(folder)).digest
    content = bytearray(last.read_bytes())
    content[-1 if layout == "safetensors" else len(content) // 2] ^= 1
    last.write_bytes(content)
    assert find_encoder(str(folder)).digest != digest


@every_layout
def test_a_missing_shard_is_one_line(folder: Path, layout: str) -> None:
    shards = in_shards(folder, layout)
    shards[1].unlink()
    with pytest.raises(UserError) as raised:
        find_encoder(str(folder))
    line = str(raised.value)
    assert line.startswith(f"{folder / INDEX[layout]}: expected the {len(shards)} shards that it")
    assert f"got a folder without {shards[1].name}; fetch them, or give a folder with" in line


@every_layout
def test_a_shard_that_is_cut_short_is_one_line(folder: Path, layout: str) -> None:
    shards = in_shards(folder, layout)
    shards[1].write_bytes(shards[1].read_bytes()[:-20])
    with pytest.raises(UserError, match=rf"{shards[1].name}: damaged weights: ") as raised:
        find_encoder(str(folder))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ("{", "expected JSON, got"),
        ("{}", "expected a weight_map, got none"),
        ('{"weight_map": {"a": "../model.safetensors"}}', r"a folder without \.\./model"),
    ],
)
def test_a_damaged_index_is_one_line(folder: Path, index: str, words: str) -> None:
    in_shards(folder, "safetensors")
    (folder.parent / "model.safetensors").touch()
    (folder / INDEX["safetensors"]).write_text(index)
    with pytest.raises(UserError, match=rf"model\.safetensors\.index\.json: .*{words}"):
        find_encoder(str(folder))


def test_one_file_counts_before_shards_as_for_transformers(folder: Path) -> None:
    whole = Path(shutil.copytree(folder, folder.parent / "whole"))
    in_shards(folder, "safetensors")
    shutil.copy(whole / "model.safetensors", folder)
    assert find_encoder(str(folder)).digest == find_encoder(str(whole)).digest


def test_speech_encoders_may_be_in_shards(tmp_path: Path) -> None:
    folder = write_speech_encoder(tmp_path / "heard")
    shards = in_shards(folder, "safetensors")
    assert Encoders(modality=SPEECH).identify(str(folder)).startswith("heard@")
    assert {shard.name for shard in shards} < set(find_encoder(str(folder), SPEECH).files)


def test_the_hub_is_asked_for_the_shards_of_an_index(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_shards(folder, "safetensors")
    cache = tmp_path / "cache"
    asked: list[str] = []

    def snapshot_download(name: str, *, allow_patterns: list[str], local_files_only: bool) -> str:
        cache.mkdir(exist_ok=True)
        if not local_files_only:
            asked.append(allow_patterns[1])
            for path in folder.iterdir():
                if any(path.match(pattern) for pattern in allow_patterns):
                    shutil.copy(path, cache)
        return str(cache)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    found = find_encoder("some-people/large")
    assert asked == ["model.safetensors", "model.safetensors.index.json"]
    assert found.digest == find_encoder(str(folder)).digest


@pytest.mark.parametrize(
    ("weights", "wanted"),
    [
        ("model.safetensors", ["model.safetensors"]),
        (INDEX["safetensors"], [INDEX["safetensors"], "model-*.safetensors"]),
        (INDEX["torch"], [INDEX["torch"], "pytorch_model-*.bin"]),
    ],
)
def test_shards_are_named_after_their_index(weights: str, wanted: list[str]) -> None:
    assert with_shards(weights) == wanted


def test_what_a_folder_needs_is_said_with_its_shards() -> None:
    assert "model.safetensors or pytorch_model.bin (or its shards and their index)" in TEXT.layout
