"""An encoder is tried before anything is computed with it; each fault of a folder is one line."""

import json
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModel

from mlt_ray.encoders import trial
from mlt_ray.encoders.catalogue import (
    FAMILY,
    RESEMBLYZER_WEIGHTS,
    SPEECH,
    SPEECH_FAMILY,
    TEXT,
    Package,
)
from mlt_ray.encoders.folder import Encoders, find_encoder
from mlt_ray.encoders.opening import open_encoder
from mlt_ray.encoders.speech import layer_states
from mlt_ray.encoders.text import cls_vectors
from mlt_ray.encoders.trial import try_encoder
from mlt_ray.errors import UserError
from mlt_ray.models.bert.network import load_encoder
from mlt_ray.models.bert.values import BertSpec
from mlt_ray.storage.store import Store
from tests.encoders.noise import noise
from tests.tiny_encoder import change_config, write_encoder
from tests.tiny_speech_encoder import write_speech_encoder

CPU = torch.device("cpu")
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 439000000\n"
Rename = Callable[[str], Iterable[str]]


def rewrite(folder: Path, rename: Rename = lambda name: [name], **changed: Tensor) -> None:
    """Write the folder's weights again, each under the names that `rename` gives it."""
    path = folder / "model.safetensors"
    old = load_file(path) | changed
    new = {name: old[key].clone() for key in old for name in rename(key)}
    save_file(new, path, metadata={"format": "pt"})


def without(part: str) -> Rename:
    return lambda name: [] if part in name else [name]


def to_torch(folder: Path, **options: bool) -> Path:
    """Keep the weights in pytorch_model.bin instead; returns its path."""
    path = folder / "pytorch_model.bin"
    torch.save(load_file(folder / "model.safetensors"), path, **options)
    (folder / "model.safetensors").unlink()
    return path


def cut(path: Path) -> None:
    """Keep the first half of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def write(folder: Path, kind: str) -> Path:
    if kind in FAMILY:
        return write_encoder(folder, kind)
    return write_speech_encoder(folder, kind, norm="group" if kind == "wav2vec2" else "layer")


def identify(folder: Path, kind: str = "bert") -> str:
    return Encoders(modality=TEXT if kind in FAMILY else SPEECH).identify(str(folder))


def refused(folder: Path, kind: str = "bert") -> str:
    """The one line with which the driver refuses an encoder."""
    with pytest.raises(UserError) as raised:
        identify(folder, kind)
    line = str(raised.value)
    assert line.startswith(str(folder))
    assert "\n" not in line
    assert "weights_only" not in line
    return line


def output(folder: Path, kind: str) -> np.ndarray:
    if kind in FAMILY:
        return np.concatenate(list(cls_vectors(folder, ["so what", "no"])))
    return layer_states(open_encoder(folder, CPU), [noise(4003)])[0][-1].numpy()


def read_names(folder: Path) -> list[str]:
    """Names of the weights in the folder, without those of Whisper's decoder."""
    names = load_file(folder / "model.safetensors")
    return [name for name in names if not name.startswith("decoder.")]


every_kind = pytest.mark.parametrize("kind", [*FAMILY, *SPEECH_FAMILY])


@every_kind
def test_a_folder_without_some_of_its_weights_is_refused(tmp_path: Path, kind: str) -> None:
    folder = write(tmp_path / "tiny", kind)
    identify(folder, kind)
    part = "layer.1." if kind in FAMILY else "layers.1."
    names = read_names(folder)
    missing = sum(part in name for name in names)
    rewrite(folder, without(part))
    expected = (
        rf"expected the weights of the {kind} in config\.json, got none for {missing} of its "
    )
    expected += rf"{len(names)} weights, such as \S*layers?\.1\.\S+; fetch"
    assert re.search(expected, refused(folder, kind))
    with pytest.raises(UserError, match=expected):  # a worker loads no such folder either
        output(folder, kind)


@every_kind
def test_a_folder_with_other_names_is_refused(tmp_path: Path, kind: str) -> None:
    folder = write(tmp_path / "tiny", kind)
    rewrite(folder, lambda name: [f"their.{name}"])
    line = refused(folder, kind)
    assert "got none for" in line
    assert re.search(r"and \d+ that it does not have, such as their\.\w+", line)


@every_kind
def test_a_folder_with_weights_of_another_shape_is_refused(tmp_path: Path, kind: str) -> None:
    folder = write(tmp_path / "tiny", kind)
    name = "embeddings.word_embeddings.weight" if kind in FAMILY else "encoder.layer_norm.weight"
    wide = load_file(folder / "model.safetensors")[name]
    rewrite(folder, **{name: torch.cat([wide, wide])})
    now = "116 x 12 instead of 58 x 12" if kind in FAMILY else "24 instead of 12"
    name = name.removeprefix("encoder.") if kind == "whisper" else name
    assert f"1 of another shape, such as {name} ({now})" in refused(folder, kind)


@every_kind
def test_a_folder_with_more_layers_than_its_configuration_is_refused(
    tmp_path: Path, kind: str
) -> None:
    folder = write(tmp_path / "tiny", kind)
    change_config(folder, **{"n_layers" if kind == "distilbert" else "num_hidden_layers": 1})
    assert re.search(r"\d+ that it does not have, such as \S*layers?\.1\.", refused(folder, kind))


@every_kind
def test_heads_prefixes_and_weights_that_nothing_reads_make_no_difference(
    tmp_path: Path, kind: str
) -> None:
    folder = write(tmp_path / "tiny", kind)
    model = AutoModel.from_pretrained(folder)
    prefix, expected = model.base_model_prefix, output(folder, kind)
    heads = ("cls.predictions.bias", "lm_head.weight", "classifier.out_proj.weight", "project_q.x")

    def of_pre_training(name: str) -> list[str]:
        if name.startswith("pooler.") or name == "masked_spec_embed":
            return []
        return [f"{prefix}.{name}"]

    rewrite(folder, of_pre_training)
    rewrite(folder, **{name: torch.ones(3) for name in heads})
    rewrite(folder, **{f"{prefix}.embeddings.position_ids": torch.arange(23)[None]})
    if kind in FAMILY:
        # As in the first releases of BERT.
        rewrite(folder, lambda n: [re.sub("LayerNorm.weight$", "LayerNorm.gamma", n)])
        rewrite(folder, lambda n: [re.sub("LayerNorm.bias$", "LayerNorm.beta", n)])
    identify(folder, kind)
    np.testing.assert_array_equal(output(folder, kind), expected)


@pytest.mark.parametrize("kind", ["wav2vec2", "hubert", "wavlm"])
def test_old_names_of_weight_normalisation_are_read_and_wrong_ones_refused(
    tmp_path: Path, kind: str
) -> None:
    folder = write(tmp_path / "tiny", kind)
    expected = output(folder, kind)
    old = {"parametrizations.weight.original0": "weight_g"}
    old["parametrizations.weight.original1"] = "weight_v"

    def renamed(names: dict[str, str]) -> Rename:
        def rename(name: str) -> list[str]:
            for new, other in names.items():
                name = name.replace(new, other)
            return [f"{kind}.{name}"]

        return rename

    whole = Path(shutil.copytree(folder, tmp_path / "whole"))
    rewrite(whole, renamed(old))
    assert any(name.endswith("weight_g") for name in load_file(whole / "model.safetensors"))
    identify(whole, kind)
    np.testing.assert_array_equal(output(whole, kind), expected)
    rewrite(folder, renamed({"parametrizations.weight.original0": "weight_gain"}))
    assert "got none for 1 of its" in refused(folder, kind)


def damaged_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{")


def no_merges(folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    pieces = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "a": 4, "Ġa": 5}
    (folder / "vocab.json").write_text(json.dumps(pieces))


def more_pieces(folder: Path) -> None:
    change_config(folder, vocab_size=50)
    rewrite(
        folder,
        **{"embeddings.word_embeddings.weight": torch.zeros(50, 12)},
    )


def no_cls(folder: Path) -> None:
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"post_processor": None}))


def no_padding(folder: Path) -> None:
    change_config(folder, pad_token_id=None)


def padding_is_cls(folder: Path) -> None:
    change_config(folder, pad_token_id=2)


def not_finite(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    name = next(n for n in weights if n.endswith("LayerNorm.bias"))
    rewrite(folder, **{name: torch.full_like(weights[name], float("nan"))})


def cut_torch(folder: Path) -> None:
    cut(to_torch(folder))


def cut_old_torch(folder: Path) -> None:
    cut(to_torch(folder, _use_new_zipfile_serialization=False))


def pointer(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(POINTER)


def pointer_torch(folder: Path) -> None:
    to_torch(folder).write_bytes(POINTER)


def pointer_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_bytes(POINTER)


def other_pickle(folder: Path) -> None:
    torch.save({"trained": Path("here")}, to_torch(folder))


def unknown_activation(folder: Path) -> None:
    change_config(folder, hidden_act="gelo")


@pytest.mark.parametrize(
    ("damage", "kind", "words"),
    [
        (damaged_tokenizer, "bert", "that reads a short text, got JSONDecodeError: Expecting"),
        (no_merges, "roberta", "that reads a short text, got ValueError: `vocab` and `merges`"),
        (
            more_pieces,
            "bert",
            "expected word pieces below 50, the rows of the embedding, got a tokenizer with 57",
        ),
        (no_cls, "bert", "that begins every text with the same piece (CLS), got [] and [22]; give"),
        (no_padding, "bert", "config.json: expected a pad_token_id, got none; give a folder"),
        (padding_is_cls, "bert", "expected word pieces other than the padding 2 (pad_token_id)"),
        (not_finite, "bert", "that gives finite values, got nan"),
        (cut_torch, "bert", "pytorch_model.bin: damaged weights: "),
        (cut_old_torch, "bert", "that reads a short text, got RuntimeError: unexpected EOF"),
        (pointer, "bert", "model.safetensors: expected the file itself, got a pointer of git-lfs"),
        (pointer_torch, "bert", "pytorch_model.bin: expected the file itself, got a pointer of"),
        (pointer_tokenizer, "bert", "tokenizer.json: expected the file itself, got a pointer of"),
        (other_pickle, "bert", "got UnpicklingError: its weights are not tensors alone"),
        (unknown_activation, "bert", "that reads a short text, got KeyError: 'gelo'"),
    ],
)
def test_a_damaged_folder_is_refused(
    damage: Callable[[Path], None], kind: str, words: str, tmp_path: Path
) -> None:
    folder = write(tmp_path / "tiny", kind)
    identify(folder, kind)
    damage(folder)
    line = refused(folder, kind)
    assert words in line
    assert "--encoder" in line or "git lfs pull" in line


def other_preprocessor(folder: Path) -> None:
    kind = {"feature_extractor_type": "WhisperFeatureExtractor", "sampling_rate": 16_000}
    (folder / "preprocessor_config.json").write_text(json.dumps(kind))


def not_finite_states(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    rewrite(folder, **{"encoder.layer_norm.bias": weights["encoder.layer_norm.bias"] / 0})


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (other_preprocessor, "that reads half a second of sound, got KeyError: 'input_values'"),
        (not_finite_states, "that gives finite values, got nan"),
        (cut_torch, "pytorch_model.bin: damaged weights: "),
        (pointer, "model.safetensors: expected the file itself, got a pointer of git-lfs"),
    ],
)
def test_a_damaged_folder_of_speech_is_refused(
    damage: Callable[[Path], None], words: str, tmp_path: Path
) -> None:
    folder = write(tmp_path / "tiny", "wav2vec2")
    identify(folder, "wav2vec2")
    damage(folder)
    line = refused(folder, "wav2vec2")
    assert words in line
    assert "--speech-encoder" in line or "git lfs pull" in line


def test_weights_of_torch_are_read_in_its_new_and_its_old_format(tmp_path: Path) -> None:
    folder = write(tmp_path / "tiny", "bert")
    expected = output(folder, "bert")
    old = Path(shutil.copytree(folder, tmp_path / "old"))
    to_torch(folder)
    to_torch(old, _use_new_zipfile_serialization=False)
    for each in (folder, old):
        identify(each)
        np.testing.assert_array_equal(output(each, "bert"), expected)


def test_a_network_that_is_trained_further_is_not_built_without_its_weights(
    tmp_path: Path,
) -> None:
    folder = write(tmp_path / "tiny", "bert")
    rewrite(folder, without("embeddings.LayerNorm"))
    with pytest.raises(UserError, match="got none for 2 of its 39 weights"):
        load_encoder(folder, BertSpec())


def resemblyzer_weights() -> dict[str, Tensor]:
    lstm = torch.nn.LSTM(40, 256, 3)
    return {f"lstm.{name}": value for name, value in lstm.state_dict().items()}


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (cut, "damaged weights: "),
        (lambda path: path.write_bytes(POINTER), "got a pointer of git-lfs"),
        (lambda path: torch.save({"state": 1}, path), "got KeyError: 'model_state'"),
        (
            lambda path: torch.save({"model_state": {}}, path),
            'Missing key(s) in state_dict: "weight_ih_l0"',
        ),
        (
            lambda path: torch.save(
                {"model_state": resemblyzer_weights() | {"lstm.bias_hh_l2": torch.zeros(7)}}, path
            ),
            "size mismatch for bias_hh_l2",
        ),
        (
            lambda path: torch.save(
                {"model_state": resemblyzer_weights() | {"lstm.weight_hh_l3": torch.ones(2)}}, path
            ),
            'Unexpected key(s) in state_dict: "weight_hh_l3"',
        ),
    ],
)
def test_damaged_weights_of_resemblyzer_are_refused(
    damage: Callable[[Path], object], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    folder, path = tmp_path / "theirs", tmp_path / "theirs" / RESEMBLYZER_WEIGHTS
    torch.save({"model_state": resemblyzer_weights() | {"linear.weight": torch.ones(3)}}, path)
    try_encoder(folder, SPEECH)
    [states] = layer_states(open_encoder(folder, CPU), [noise(160)])
    assert states.shape == (3, 2, 256)
    damage(path)
    package = Package(name="mine", module="theirs", install="theirs", files=(path.name,))
    encoders = Encoders(modality=replace(SPEECH, packaged=package))
    with pytest.raises(UserError) as raised:
        encoders.identify("mine")
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_encoder_is_tried_once_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "tiny", "bert")
    same = Path(shutil.copytree(folder, tmp_path / "same"))
    tried: list[Path] = []
    monkeypatch.setattr(trial, "cls_vectors", lambda f, *_: tried.append(f) or np.zeros((1, 1, 3)))
    encoders = Encoders()
    for name in (folder, folder, same):
        encoders.identify(str(name))
    assert tried == [folder]


def test_an_encoder_is_found_without_being_tried(tmp_path: Path) -> None:
    """`find_encoder` reads names and headers alone."""
    folder = write(tmp_path / "tiny", "bert")
    not_finite(folder)
    find_encoder(str(folder))


def test_an_encoder_that_the_store_has_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, store = write_encoder(tmp_path / "tiny"), Store(tmp_path / "store")
    first = Encoders(store=store)
    first.copy(first.identify(str(folder)), store)
    tried: list[Path] = []
    monkeypatch.setattr(trial, "try_encoder", lambda folder, modality: tried.append(folder))
    Encoders(store=store).identify(str(folder))
    assert tried == []
    Encoders(store=Store(tmp_path / "another")).identify(str(folder))
    assert tried == [folder]
