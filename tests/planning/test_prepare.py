"""Planning names by content what a study leaves open, and puts what workers need into the store."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from mlt_ray.encoders.catalogue import SPEECH
from mlt_ray.encoders.folder import Encoders, encoder_folder, find_encoder
from mlt_ray.errors import UserError
from mlt_ray.models.bert.values import BertSpec
from mlt_ray.models.multigranularity.values import MultigranularitySpec
from mlt_ray.planning import prepare as module
from mlt_ray.planning.contents import Pretrained, name_contents
from mlt_ray.planning.plan import make_plan
from mlt_ray.planning.prepare import fill_cache
from mlt_ray.spec import ExtraInput
from mlt_ray.storage.store import Store
from mlt_ray.studies.study import Study, load_study, parse_study
from mlt_ray.training.from_store import fold_data
from tests.tiny_encoder import write_encoder
from tests.tiny_speech_encoder import WIDTH, write_speech_encoder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_encoder(tmp_path / "tiny")


def tools(encoder: Path | str | None = None, speech_encoder: Path | None = None) -> Pretrained:
    vectors: Any = SimpleNamespace(name="mine", sha256="0123456789abcdef" * 4)
    phonemizer: Any = SimpleNamespace(engine="spelt by hand")
    text = Encoders(str(encoder) if encoder else None)
    speech = Encoders(str(speech_encoder) if speech_encoder else None, SPEECH)
    return Pretrained(vectors, phonemizer, text, speech)


def three_rows(encoder: Path | str) -> Study:
    rows = [
        {"name": "trained", "model": {"system": "bert", "encoder": str(encoder)}},
        {"name": "frozen", "model": {"system": "multigranularity", "fine_tune": False}},
        {"name": "without", "model": {"system": "multilevel"}},
    ]
    return parse_study("mine", {"rows": rows})


def test_encoders_are_named_by_content(raw: Any, folder: Path) -> None:
    trained, frozen, without = name_contents(three_rows(folder), raw.corpus, tools()).rows
    assert isinstance(trained.model, BertSpec)
    assert trained.model.encoder == find_encoder(str(folder)).identity
    assert isinstance(frozen.model, MultigranularitySpec)
    assert frozen.model.encoder == find_encoder("minilm").identity
    assert without.model == three_rows(folder).rows[2].model


def test_one_encoder_replaces_that_of_every_row_that_has_one(raw: Any, folder: Path) -> None:
    study = three_rows("bert-base-uncased")
    trained, frozen, without = name_contents(study, raw.corpus, tools(folder)).rows
    assert isinstance(trained.model, BertSpec)
    assert isinstance(frozen.model, MultigranularitySpec)
    assert trained.model.encoder == frozen.model.encoder == find_encoder(str(folder)).identity
    assert without.model == study.rows[2].model


def test_a_classical_row_has_an_encoder_only_for_its_embedding(raw: Any, folder: Path) -> None:
    models = {
        "with": {"audio": "egemaps", "text": "embedding", "encoder": str(folder)},
        "without": {"audio": "egemaps", "text": "tfidf", "encoder": "no/such/nowhere"},
    }
    rows = [{"name": n, "model": {"system": "classical", **m}} for n, m in models.items()]
    study = parse_study("mine", {"rows": rows})
    reads, other = name_contents(study, raw.corpus, tools()).rows
    identity = find_encoder(str(folder)).identity
    assert reads.model.extras == (ExtraInput("egemaps"), ExtraInput("sentence_embedding", identity))
    assert other.model == study.rows[1].model
    instead, other = name_contents(study, raw.corpus, tools("minilm")).rows
    assert instead.model.text_encoder == find_encoder("minilm").identity
    assert other.model == study.rows[1].model


def test_how_networks_are_trained_does_not_tell_classical_rows_apart(raw: Any) -> None:
    models = {"classical": {"system": "classical", "audio": "egemaps"}}
    models["network"] = {"system": "multilevel"}
    rows = [{"name": name, "model": model} for name, model in models.items()]
    plain, slow = (
        name_contents(parse_study("mine", {"rows": rows}, changes), raw.corpus, tools()).rows
        for changes in ([], ["training.precision=bfloat16"])
    )
    assert plain[0].training == slow[0].training
    assert plain[1].training != slow[1].training


def test_table_3_runs_on_the_packaged_encoder(raw: Any) -> None:
    bert, _, both = name_contents(load_study("table3"), raw.corpus, tools("minilm")).rows
    assert bert.model.extras == both.model.extras
    assert bert.model.extras[0].encoder.startswith("minilm@")


def test_an_encoder_that_cannot_be_found_is_told_before_anything_is_computed(raw: Any) -> None:
    with pytest.raises(UserError, match="nowhere"):
        name_contents(three_rows("no/such/nowhere"), raw.corpus, tools())


def test_table_3_shares_the_runs_of_table_1(raw: Any) -> None:
    shared = {"table1": "highway network", "table3": "Multilevel transformer model"}
    digests = []
    for study, name in shared.items():
        resolved = name_contents(load_study(study), raw.corpus, tools("minilm"))
        (row,) = (r for r in make_plan(resolved, raw.corpus).rows if r.name == name)
        digests.append([run.digest for run in row.runs])
    assert digests[0] == digests[1]


def test_a_worker_reads_encoder_and_extras_from_the_store(
    raw: Any,
    features: Callable[..., Any],
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, some = Store(tmp_path / "store"), tools(folder)
    monkeypatch.setattr(module, "extract", lambda *_: 0)  # frames and words are written by hand
    study = name_contents(three_rows("any"), raw.corpus, some)
    told: list[str] = []
    computed = fill_cache(
        raw.corpus, study.rows, store, some, lambda what, done, total: told.append(what)
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


def speech_rows(speech_encoder: Path | str) -> Study:
    model = {"system": "multigranularity", "speech_encoder": str(speech_encoder)}
    rows = [
        {"name": "both", "model": {**model, "fine_tune": False}},
        {"name": "speech", "model": {**model, "encoder": None}},
        {"name": "text", "model": {"system": "bert"}},
    ]
    return parse_study("mine", {"rows": rows})


def test_each_option_replaces_the_encoders_of_its_modality_alone(
    raw: Any, folder: Path, tmp_path: Path
) -> None:
    heard = write_speech_encoder(tmp_path / "heard")
    text, speech = (
        find_encoder(str(folder)).identity,
        find_encoder(str(heard), SPEECH).identity,
    )
    rows = name_contents(speech_rows("resemblyzer"), raw.corpus, tools(folder, heard)).rows
    found = [(row.model.text_encoder, row.model.speech_encoder) for row in rows]
    assert found == [(text, speech), (None, speech), (text, None)]
    assert speech_rows("any").rows[0].model != rows[0].model


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
    store, some = Store(tmp_path / "store"), tools(folder)
    monkeypatch.setattr(module, "extract", lambda *_: 0)  # frames and words are written by hand
    study = name_contents(speech_rows(heard), raw.corpus, some)
    both, speech, _ = study.rows
    told: list[str] = []

    def progress(what: str, done: int, total: int) -> None:
        told.append(what)

    # Computed once for both rows, and only where a row reads it.
    assert fill_cache(raw.corpus, [study.rows[2]], store, some, progress) == 40
    assert told == ["pieces", "pieces"]
    assert fill_cache(raw.corpus, [speech], store, some, progress) == 40
    assert set(told[2:]) == {"speech_embedding"}
    assert fill_cache(raw.corpus, [speech], store, some, progress) == 0
    assert fill_cache(raw.corpus, [both], store, some, progress) == 40  # its text vectors
    identity = find_encoder(str(heard), SPEECH).identity
    assert find_encoder(str(encoder_folder(store, identity)), SPEECH).digest in identity

    features(store, raw.utterances, raw.frames, raw.words, spec=study.rows[0].features)
    planned = make_plan(study, raw.corpus).rows
    data = [fold_data(row.runs[0], store) for row in planned]
    assert dict(data[0].sizes.extras) == {"text_embedding": 12, "speech_embedding": 2 * WIDTH}
    assert dict(data[1].sizes.extras) == {"speech_embedding": 2 * WIDTH}
    assert [d.sizes.encoder is None for d in data] == [False, True, False]
    # Standardised over the training part of the fold.
    given = data[1].batch(data[1].parts["train"]).extras["speech_embedding"]
    torch.testing.assert_close(given.mean(dim=0), torch.zeros(2 * WIDTH), rtol=0, atol=1e-5)
    deviation = given.std(dim=0, correction=0)
    torch.testing.assert_close(deviation, torch.ones(2 * WIDTH), rtol=0, atol=1e-4)


def test_what_stands_in_place_of_a_named_encoder_is_a_change_of_those_rows_alone() -> None:
    study = load_study("table3")
    given = replace(Pretrained.load(None, "minilm"), glove=Path("folder/glove.6B.300d.txt"))
    bert, multilevel, both = (given.changes(row.model) for row in study.rows)
    assert bert == both == ("--glove glove.6B.300d.txt", "--encoder minilm")
    assert multilevel == ("--glove glove.6B.300d.txt",)
    # The demo names that encoder itself.
    for row in load_study("demo_table3").rows:
        assert Pretrained.load(None, "minilm").changes(row.model) == ()
    assert all(Pretrained.load(None).changes(row.model) == () for row in study.rows)
