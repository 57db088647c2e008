"""Word pieces and CLS vectors as extra inputs: cached by text, equal to transformers' own."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from mlt_ray.corpus.folds import make_folds
from mlt_ray.encoders import text as pieces
from mlt_ray.encoders.catalogue import FAMILY
from mlt_ray.encoders.folder import Encoders, encoder_folder, find_encoder
from mlt_ray.encoders.text import (
    cls_vectors,
    mean_vectors,
    padding_id,
    sentence_vectors,
    word_pieces,
)
from mlt_ray.features.extras import extract_extra, load_extras, open_cache
from mlt_ray.spec import ExtraInput, FeatureSpec, FoldSpec
from mlt_ray.storage.store import Store
from tests.tiny_encoder import POSITIONS, WIDTH, write_encoder

TEXTS = ["so what", "", "i told you", "x" * 99, "no", "so what"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_encoder(tmp_path / "tiny")


@pytest.fixture
def identity(folder: Path, tmp_path: Path) -> str:
    """``name@digest`` of the tiny encoder, which is copied to the store."""
    encoders = Encoders()
    identity = encoders.identify(str(folder))
    encoders.copy(identity, Store(tmp_path / "store"))
    return identity


@pytest.mark.parametrize("kind", FAMILY)
def test_pieces_begin_with_cls_and_never_exceed_the_positions(tmp_path: Path, kind: str) -> None:
    folder = write_encoder(tmp_path / kind, kind)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = list(word_pieces(folder, TEXTS))
    assert [len(ids) for ids in found] == [8, 2, 10, POSITIONS, 4, 8]
    for text, ids in zip(TEXTS, found, strict=True):
        assert ids.dtype == np.int32
        assert (ids[0], ids[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
        assert padding_id(folder) not in ids
        if len(ids) < POSITIONS:
            assert ids.tolist() == tokenizer(text)["input_ids"]


@pytest.mark.parametrize("pooled", ["cls", "mean", "direction"])
@pytest.mark.parametrize("kind", FAMILY)
def test_vectors_are_what_transformers_gives_each_text_alone(
    tmp_path: Path, kind: str, pooled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Small blocks and batches, so that the texts fill several of each.
    monkeypatch.setattr(pieces, "BLOCK", 4)
    monkeypatch.setattr(pieces, "BATCH", 3)
    folder = write_encoder(tmp_path / kind, kind)
    model, tokenizer = (
        AutoModel.from_pretrained(folder).eval(),
        AutoTokenizer.from_pretrained(folder),
    )
    vectors = {"cls": cls_vectors, "mean": mean_vectors, "direction": sentence_vectors}
    found = list(vectors[pooled](folder, TEXTS))
    assert len(found) == len(TEXTS)
    for text, vector in zip(TEXTS, found, strict=True):
        inputs = tokenizer(text, truncation=True, max_length=POSITIONS, return_tensors="pt")
        inputs.pop("token_type_ids", None)
        with torch.no_grad():
            outputs = model(**inputs).last_hidden_state.numpy()
        expected = outputs[:, 0] if pooled == "cls" else outputs.mean(axis=1)
        if pooled == "direction":
            expected = expected / np.linalg.norm(expected)
        np.testing.assert_allclose(vector, expected, atol=1e-5)


def test_the_packaged_encoder_gives_what_sentence_transformers_does() -> None:
    from sentence_transformers import SentenceTransformer

    folder = find_encoder("minilm").folder
    expected = SentenceTransformer(str(folder), device="cpu").encode(TEXTS)
    found = np.concatenate(list(sentence_vectors(folder, TEXTS)))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["pieces", "text_embedding", "text_mean", "sentence_embedding"])
def test_a_text_is_computed_once(name: str, raw: Any, tmp_path: Path, identity: str) -> None:
    twice = replace(raw.utterances[0], id="s1_again", audio_sha256="f" * 64)
    raw.utterances.append(twice)
    store, spec = Store(tmp_path / "store"), FeatureSpec()
    extra = ExtraInput(name, identity)
    told: list[tuple[str, int, int]] = []
    assert extract_extra(raw.corpus, extra, store, spec, lambda *args: told.append(args)) == 40
    assert told == [(name, done, 40) for done in range(41)]
    assert len(open_cache(extra, store, spec)) == 40
    assert extract_extra(raw.corpus, extra, store, spec, lambda *args: None) == 0


def test_a_fold_s_batches_hold_pieces_and_vectors(raw: Any, tmp_path: Path, identity: str) -> None:
    store, spec = Store(tmp_path / "store"), FeatureSpec()
    wanted = [ExtraInput("pieces", identity), ExtraInput("text_embedding", identity)]
    for extra in wanted:
        extract_extra(raw.corpus, extra, store, spec, lambda *args: None)
    fold = make_folds(raw.corpus, FoldSpec())[0]
    extras = load_extras(raw.corpus, fold, wanted, store, spec)
    folder, chosen = encoder_folder(store, identity), [31, 2, 17]
    texts = [raw.utterances[i].text for i in chosen]
    alone = list(word_pieces(folder, texts))
    ids = extras["pieces"].batch(chosen)
    assert ids.shape == (3, max(map(len, alone)))
    assert ids.dtype == torch.int64
    for row, expected in zip(ids, alone, strict=True):
        assert row[row != 0].tolist() == expected.tolist()
    vectors = extras["text_embedding"].batch(np.asarray(chosen))
    assert vectors.shape == (3, extras["text_embedding"].dim) == (3, WIDTH)
    np.testing.assert_allclose(vectors, np.concatenate(list(cls_vectors(folder, texts))), atol=1e-5)


def test_a_block_boundary_loses_no_text(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [ids.tolist() for ids in word_pieces(folder, TEXTS)]
    monkeypatch.setattr(pieces, "BLOCK", 2)
    assert [ids.tolist() for ids in word_pieces(folder, TEXTS)] == whole
