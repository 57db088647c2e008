"""What a study leaves open is named by its content."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from mlt_ray import libraries
from mlt_ray.encoders.catalogue import SPEECH
from mlt_ray.encoders.folder import find_encoder
from mlt_ray.errors import UserError
from mlt_ray.features.phonemes import phonemizer_of
from mlt_ray.libraries import ALWAYS, FEATURES, versions
from mlt_ray.models.bert.values import BertSpec
from mlt_ray.models.multigranularity.values import MultigranularitySpec
from mlt_ray.planning.contents import Pretrained, name_contents
from mlt_ray.planning.plan import make_plan
from mlt_ray.spec import DEFAULT, ExtraInput, FoldSpec
from mlt_ray.studies.study import Study, load_study, parse_study
from tests.planning.encoder_rows import pretrained_of, speech_rows, text_rows
from tests.tiny_speech_encoder import write_speech_encoder


def test_encoders_are_named_by_content(raw: Any, folder: Path) -> None:
    trained, frozen, without = name_contents(text_rows(folder), raw.corpus, pretrained_of()).rows
    assert isinstance(trained.model, BertSpec)
    assert trained.model.encoder == find_encoder(str(folder)).identity
    assert isinstance(frozen.model, MultigranularitySpec)
    assert frozen.model.encoder == find_encoder("minilm").identity
    assert without.model == text_rows(folder).rows[2].model


def test_one_encoder_replaces_that_of_every_row_that_has_one(raw: Any, folder: Path) -> None:
    study = text_rows("bert-base-uncased")
    trained, frozen, without = name_contents(study, raw.corpus, pretrained_of(folder)).rows
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
    reads, other = name_contents(study, raw.corpus, pretrained_of()).rows
    identity = find_encoder(str(folder)).identity
    assert reads.model.extras == (ExtraInput("egemaps"), ExtraInput("sentence_embedding", identity))
    assert other.model == study.rows[1].model
    instead, other = name_contents(study, raw.corpus, pretrained_of("minilm")).rows
    assert instead.model.text_encoder == find_encoder("minilm").identity
    assert other.model == study.rows[1].model


def test_how_networks_are_trained_does_not_tell_classical_rows_apart(raw: Any) -> None:
    models = {"classical": {"system": "classical", "audio": "egemaps"}}
    models["network"] = {"system": "multilevel"}
    rows = [{"name": name, "model": model} for name, model in models.items()]
    plain, slow = (
        name_contents(
            parse_study("mine", {"rows": rows}, changes), raw.corpus, pretrained_of()
        ).rows
        for changes in ([], ["training.precision=bfloat16"])
    )
    assert plain[0].training == slow[0].training
    assert plain[1].training != slow[1].training


def test_table_3_runs_on_the_packaged_encoder(raw: Any) -> None:
    bert, _, both = name_contents(load_study("table3"), raw.corpus, pretrained_of("minilm")).rows
    assert bert.model.extras == both.model.extras
    assert bert.model.extras[0].encoder.startswith("minilm@")


def test_an_encoder_that_cannot_be_found_is_told_before_anything_is_computed(raw: Any) -> None:
    with pytest.raises(UserError, match="nowhere"):
        name_contents(text_rows("no/such/nowhere"), raw.corpus, pretrained_of())


def test_an_encoder_without_its_weights_is_told_before_anything_is_computed(
    raw: Any, folder: Path, tmp_path: Path
) -> None:
    heard = write_speech_encoder(tmp_path / "heard")
    for path in (folder / "model.safetensors", heard / "model.safetensors"):
        renamed = {f"theirs.{name}": weight for name, weight in load_file(path).items()}
        save_file(renamed, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match=rf"^{folder}: expected the weights of the bert in config"):
        name_contents(text_rows(folder), raw.corpus, pretrained_of())
    with pytest.raises(UserError, match=rf"^{heard}: expected the weights of the wav2vec2 in conf"):
        name_contents(speech_rows(heard), raw.corpus, pretrained_of())
    # A row that is not asked for may name an encoder that does not work.
    name_contents(text_rows(folder), raw.corpus, pretrained_of(), asked=["without"])


def test_table_3_shares_the_runs_of_table_1(raw: Any) -> None:
    shared = {"table1": "highway network", "table3": "Multilevel transformer model"}
    digests = []
    for study, name in shared.items():
        resolved = name_contents(load_study(study), raw.corpus, pretrained_of("minilm"))
        (row,) = (r for r in make_plan(resolved, raw.corpus).rows if r.name == name)
        digests.append([run.digest for run in row.runs])
    assert digests[0] == digests[1]


def test_each_option_replaces_the_encoders_of_its_modality_alone(
    raw: Any, folder: Path, tmp_path: Path
) -> None:
    heard = write_speech_encoder(tmp_path / "heard")
    text, speech = (
        find_encoder(str(folder)).identity,
        find_encoder(str(heard), SPEECH).identity,
    )
    rows = name_contents(speech_rows("resemblyzer"), raw.corpus, pretrained_of(folder, heard)).rows
    found = [(row.model.text_encoder, row.model.speech_encoder) for row in rows]
    assert found == [(text, speech), (None, speech), (text, None)]
    assert speech_rows("any").rows[0].model != rows[0].model


def test_what_stands_in_place_of_a_named_encoder_is_a_change_of_those_rows_alone() -> None:
    study = load_study("table3")
    given = replace(Pretrained.load(None, "minilm"), glove=Path("folder/glove.6B.300d.txt"))
    bert, multilevel, both = (given.changes(row) for row in study.rows)
    assert bert == both == ("--glove glove.6B.300d.txt", "--encoder minilm")
    assert multilevel == ("--glove glove.6B.300d.txt",)
    # The demo names that encoder itself.
    for row in load_study("demo_table3").rows:
        assert Pretrained.load(None, "minilm").changes(row) == ()
    assert all(Pretrained.load(None).changes(row) == () for row in study.rows)


@pytest.mark.parametrize(
    ("model", "trains", "features"),
    [
        ({"system": "multilevel"}, {"numpy", "torch"}, set()),
        ({"system": "yoon"}, {"numpy", "torch"}, {"opensmile"}),
        (
            {"system": "bert", "encoder": "minilm"},
            {"numpy", "torch", "transformers"},
            {"tokenizers", "transformers"},
        ),
        (
            {"system": "classical", "audio": "egemaps"},
            {"numpy", "scikit-learn", "scipy"},
            {"opensmile"},
        ),
    ],
)
def test_a_row_names_what_computes_it_and_nothing_else(
    raw: Any, model: dict[str, str], trains: set[str], features: set[str]
) -> None:
    study = parse_study("mine", {"rows": [{"name": "one", "model": model}]})
    (row,) = name_contents(study, raw.corpus, pretrained_of()).rows
    always = {name for kind in ALWAYS for name in FEATURES[kind]}
    assert set(versions(row.training.libraries)) == trains
    assert set(versions(row.features.libraries)) == always | features


def test_a_row_in_another_language_names_what_pronounces_it(raw: Any) -> None:
    row = {"name": "one", "model": {"system": "multilevel"}}
    found = {}
    for language in ("en", "de", "pl"):
        study = parse_study("mine", {"base": {"features": {"language": language}}, "rows": [row]})
        pretrained = replace(pretrained_of(), phonemizer_of=phonemizer_of)
        (planned,) = make_plan(name_contents(study, raw.corpus, pretrained), raw.corpus).rows
        found[language] = planned.spec.features, planned.runs[0].digest
    assert len({digest for _, digest in found.values()}) == 3
    for language in ("de", "pl"):
        features, _ = found[language]
        assert f"+{language}+" in features.phonemizer
        assert "espeakng-loader" in versions(features.libraries)
        assert "inflect" not in versions(features.libraries)
    assert found["en"][0].phonemizer.startswith("g2p_en")


def test_a_newer_version_gives_every_run_another_digest(
    raw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = parse_study("mine", {"rows": [{"name": "one", "model": {"system": "multilevel"}}]})

    def digest() -> str:
        plan = make_plan(name_contents(study, raw.corpus, pretrained_of()), raw.corpus)
        return plan.rows[0].runs[0].digest

    found = {digest()}
    real = libraries.version
    for newer in ("torch", "torchaudio", "soundfile", "libsndfile", "inflect", "mlt_ray.features"):
        monkeypatch.setattr(
            libraries, "version", lambda name, newer=newer: "9" if name == newer else real(name)
        )
        found.add(digest())
    assert len(found) == 7


def two_protocols() -> Study:
    rows = [{"name": name, "model": {"system": "multilevel"}} for name in ("asked", "other")]
    return parse_study("mine", {"rows": rows}, ["folds.by=speaker"], changed={"asked"})


def test_only_rows_that_are_asked_for_must_fit_the_corpus(raw: Any) -> None:
    """A corpus without sessions: the row that was told so is planned, the other left as it is."""
    corpus = replace(
        raw.corpus, utterances=tuple(replace(u, session=None) for u in raw.corpus.utterances)
    )
    asked, other = name_contents(two_protocols(), corpus, pretrained_of(), {"asked"}).rows
    assert (asked.folds.by, other.folds) == ("speaker", FoldSpec(by="session"))
    assert asked.folds.members != DEFAULT
    plan = make_plan(replace(two_protocols(), rows=(asked, other)), corpus, rows={"asked"})
    assert [len(row.asked) for row in plan.rows] == [15, 0]
    for names in (None, {"other"}):
        with pytest.raises(UserError, match=r"use --set folds\.by=speaker"):
            name_contents(two_protocols(), corpus, pretrained_of(), names)


def test_rows_that_are_not_asked_for_find_their_runs_where_the_corpus_can_be_split(
    raw: Any,
) -> None:
    whole = name_contents(two_protocols(), raw.corpus, pretrained_of()).rows
    assert name_contents(two_protocols(), raw.corpus, pretrained_of(), ()).rows == whole
