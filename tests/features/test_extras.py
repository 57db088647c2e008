"""Extra inputs that are not finite are told with what computed them, never trained on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mlt_ray.corpus.folds import make_folds
from mlt_ray.encoders.folder import Encoders
from mlt_ray.errors import UserError
from mlt_ray.features.extras import extract_extra, load_extras, open_cache
from mlt_ray.spec import ExtraInput, FeatureSpec, FoldSpec
from mlt_ray.storage.store import Store
from tests.tiny_encoder import LETTERS, write_encoder


def test_an_encoder_that_fails_for_one_text_is_named_with_the_utterance(
    raw: Any, tmp_path: Path
) -> None:
    folder = write_encoder(tmp_path / "tiny")
    path, name = folder / "model.safetensors", "embeddings.word_embeddings.weight"
    weights = load_file(path)
    weights[name][4 + LETTERS.index("z")] = torch.inf
    save_file(weights, path, metadata={"format": "pt"})
    store, encoders = Store(tmp_path / "store"), Encoders()
    identity = encoders.identify(str(folder))  # what it is tried on has no such letter
    encoders.copy(identity, store)
    extra = ExtraInput("text_embedding", identity)
    bad = raw.utterances[3]
    raw.utterances[3] = replace(bad, text="zoo")
    message = f"text_embedding of utterance {bad.id} by {identity}: expected finite values, got nan"
    with pytest.raises(UserError, match=message):
        extract_extra(raw.corpus, extra, store, FeatureSpec(), lambda *_: None)
    assert len(open_cache(extra, store, FeatureSpec())) == 3  # those before it


def test_values_that_are_not_finite_in_an_old_cache_are_told_by_name(
    raw: Any, tmp_path: Path
) -> None:
    store, extra = Store(tmp_path / "store"), ExtraInput("egemaps")
    arrays = {u.audio_sha256: np.ones((1, 3), np.float32) for u in raw.utterances}
    open_cache(extra, store, FeatureSpec()).add(arrays)
    fold = make_folds(raw.corpus, FoldSpec())[0]
    assert load_extras(raw.corpus, fold, [extra], store, FeatureSpec())["egemaps"].dim == 3
    bad = raw.utterances[7]
    arrays[bad.audio_sha256][0, 1] = np.nan
    other = Store(tmp_path / "other")
    open_cache(extra, other, FeatureSpec()).add(arrays)
    with pytest.raises(UserError, match=f"egemaps of utterance {bad.id}: expected finite values"):
        load_extras(raw.corpus, fold, [extra], other, FeatureSpec())
