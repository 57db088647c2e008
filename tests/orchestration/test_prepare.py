"""Planning names by content what a study leaves open, and puts what workers need into the store."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlt_ray.errors import UserError
from mlt_ray.features.encoders import Encoders, encoder_folder, find_encoder
from mlt_ray.models.bert import BertSpec
from mlt_ray.models.multigranularity import MultigranularitySpec
from mlt_ray.orchestration import prepare as module
from mlt_ray.orchestration.plan import make_plan
from mlt_ray.orchestration.prepare import Tools, prepare, resolve
from mlt_ray.orchestration.trial import fold_data
from mlt_ray.spec import Need
from mlt_ray.store import Store
from mlt_ray.study import Study, load_study, parse_study
from tests.tiny_encoder import write_encoder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_encoder(tmp_path / "tiny")


def tools(encoder: Path | str | None = None) -> Tools:
    vectors: Any = SimpleNamespace(name="mine", sha256="0123456789abcdef" * 4)
    phonemizer: Any = SimpleNamespace(engine="spelt by hand")
    return Tools(vectors, phonemizer, Encoders(str(encoder) if encoder else None))


def three_rows(encoder: Path | str) -> Study:
    rows = [
        {"name": "trained", "model": {"system": "bert", "encoder": str(encoder)}},
        {"name": "frozen", "model": {"system": "multigranularity", "fine_tune": False}},
        {"name": "without", "model": {"system": "multilevel"}},
    ]
    return parse_study("mine", {"rows": rows})


def test_encoders_are_named_by_content(raw: Any, folder: Path) -> None:
    trained, frozen, without = resolve(three_rows(folder), raw.corpus, tools()).rows
    assert isinstance(trained.model, BertSpec)
    assert trained.model.encoder == find_encoder(str(folder)).identity
    assert isinstance(frozen.model, MultigranularitySpec)
    assert frozen.model.encoder == find_encoder("minilm").identity
    assert without.model == three_rows(folder).rows[2].model


def test_one_encoder_replaces_that_of_every_row_that_has_one(raw: Any, folder: Path) -> None:
    study = three_rows("bert-base-uncased")
    trained, frozen, without = resolve(study, raw.corpus, tools(folder)).rows
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
    reads, other = resolve(study, raw.corpus, tools()).rows
    identity = find_encoder(str(folder)).identity
    assert reads.model.needs == (Need("egemaps"), Need("sentence_embedding", identity))
    assert other.model == study.rows[1].model
    instead, other = resolve(study, raw.corpus, tools("minilm")).rows
    assert instead.model.text_encoder == find_encoder("minilm").identity
    assert other.model == study.rows[1].model


def test_table_3_runs_on_the_packaged_encoder(raw: Any) -> None:
    bert, _, both = resolve(load_study("table3"), raw.corpus, tools("minilm")).rows
    assert bert.model.needs == both.model.needs
    assert bert.model.needs[0].source.startswith("minilm@")


def test_an_encoder_that_cannot_be_found_is_told_before_anything_is_computed(raw: Any) -> None:
    with pytest.raises(UserError, match="nowhere"):
        resolve(three_rows("no/such/nowhere"), raw.corpus, tools())


def test_table_3_shares_the_runs_of_table_1(raw: Any) -> None:
    shared = {"table1": "highway network", "table3": "Multilevel transformer model"}
    digests = []
    for study, name in shared.items():
        resolved = resolve(load_study(study), raw.corpus, tools("minilm"))
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
    study = resolve(three_rows("any"), raw.corpus, some)
    told: list[str] = []
    computed = prepare(
        raw.corpus, study.rows, store, some, lambda what, done, total: told.append(what)
    )
    # 40 texts as pieces for the encoder that is trained, and as vectors of the frozen one.
    assert computed == 2 * 40
    assert set(told) == {"pieces", "text_embedding"}
    features(store, raw.utterances, raw.frames, raw.words, spec=study.rows[0].features)
    rows, names = make_plan(study, raw.corpus).rows, ("pieces", "text_embedding", None)
    for row, name in zip(rows, names, strict=True):
        data = fold_data(row.runs[0], str(store.root))
        assert set(data.sizes.extras) == ({name} if name else set())
        if name:
            identity = find_encoder(str(folder)).identity
            assert data.sizes.encoder == encoder_folder(store, identity)
        else:
            assert data.sizes.encoder is None
