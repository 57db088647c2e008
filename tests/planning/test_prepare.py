"""What workers read is put into the store."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from mlt_ray.encoders.catalogue import SPEECH
from mlt_ray.encoders.folder import encoder_folder, find_encoder
from mlt_ray.planning import prepare
from mlt_ray.planning.contents import name_contents
from mlt_ray.planning.plan import make_plan
from mlt_ray.planning.prepare import fill_cache
from mlt_ray.storage.store import Store
from mlt_ray.training.from_store import fold_data
from tests.planning.encoder_rows import pretrained_of, speech_rows, text_rows
from tests.tiny_speech_encoder import WIDTH, write_speech_encoder


def test_a_worker_reads_encoder_and_extras_from_the_store(
    raw: Any,
    features: Callable[..., Any],
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, pretrained = Store(tmp_path / "store"), pretrained_of(folder)
    monkeypatch.setattr(prepare, "extract", lambda *_: 0)  # frames and words are written by hand
    study = name_contents(text_rows("any"), raw.corpus, pretrained)
    told: list[str] = []
    computed = fill_cache(
        raw.corpus, study.rows, store, pretrained, lambda what, done, total: told.append(what)
    )
    # 40 texts as pieces for the encoder that is trained, and as vectors of the frozen one.
    assert computed == 2 * 40
    assert set(told) == {"pieces", "text_embedding"}
    features(store, raw.utterances, raw.frames, raw.words, spec=study.rows[0].features)
    rows, names = make_plan(study, raw.corpus).rows, ("pieces", "text_embedding", None)
    for row, name in zip(rows, names, strict=True):
        data = fold_data(row.runs[0], store)
        assert set(data.sizes.extras) == ({name} if name else set())
        if name:
            identity = find_encoder(str(folder)).identity
            assert data.sizes.encoder == encoder_folder(store, identity)
        else:
            assert data.sizes.encoder is None


def test_a_worker_reads_speech_vectors_from_the_store(
    raw: Any,
    features: Callable[..., Any],
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard = write_speech_encoder(tmp_path / "heard")
    for n, utterance in enumerate(raw.utterances):
        path = tmp_path / f"{utterance.id}.wav"
        samples = np.random.default_rng(n).normal(size=700 + 31 * n) * 0.1
        soundfile.write(path, samples, 16_000)
        raw.utterances[n] = replace(utterance, audio=path)
    store, pretrained = Store(tmp_path / "store"), pretrained_of(folder)
    monkeypatch.setattr(prepare, "extract", lambda *_: 0)  # frames and words are written by hand
    study = name_contents(speech_rows(heard), raw.corpus, pretrained)
    both, speech, _ = study.rows
    told: list[str] = []

    def progress(what: str, done: int, total: int) -> None:
        told.append(what)

    # Computed once for both rows, and only where a row reads it.
    assert fill_cache(raw.corpus, [study.rows[2]], store, pretrained, progress) == 40
    assert told == ["pieces"] * 41
    assert fill_cache(raw.corpus, [speech], store, pretrained, progress) == 40
    assert set(told[41:]) == {"speech_layers of heard"}
    assert fill_cache(raw.corpus, [speech], store, pretrained, progress) == 0
    assert fill_cache(raw.corpus, [both], store, pretrained, progress) == 40  # its text vectors
    identity = find_encoder(str(heard), SPEECH).identity
    assert find_encoder(str(encoder_folder(store, identity)), SPEECH).digest in identity

    features(store, raw.utterances, raw.frames, raw.words, spec=study.rows[0].features)
    planned = make_plan(study, raw.corpus).rows
    data = [fold_data(row.runs[0], store) for row in planned]
    assert dict(data[0].sizes.extras) == {"text_embedding": 12, "speech_layers": 2 * WIDTH}
    assert dict(data[1].sizes.extras) == {"speech_layers": 2 * WIDTH}
    assert [d.sizes.encoder is None for d in data] == [False, True, False]
    # Standardised over the training part of the fold.
    given = data[1].batch(data[1].parts["train"]).extras["speech_layers"]
    torch.testing.assert_close(given.mean(dim=0), torch.zeros(2 * WIDTH), rtol=0, atol=1e-5)
    deviation = given.std(dim=0, correction=0)
    torch.testing.assert_close(deviation, torch.ones(2 * WIDTH), rtol=0, atol=1e-4)
