"""Study files: the shipped ones work, and others are refused with a clear message."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mlt_ray.batch import Batch, InputSizes
from mlt_ray.documents import shipped_folder
from mlt_ray.encoders.embedding import Embedding, embed
from mlt_ray.encoders.opening import open_encoder
from mlt_ray.errors import UserError
from mlt_ray.features.extras import INPUTS
from mlt_ray.features.frames import compute_frames
from mlt_ray.labels import FOUR
from mlt_ray.models.bert.values import BertSpec
from mlt_ray.models.classical.values import ClassicalSpec
from mlt_ray.models.dropout import set_dropout_keys
from mlt_ray.models.multilevel.values import MultilevelSpec
from mlt_ray.models.registry import SYSTEMS, build_model, is_network
from mlt_ray.models.speech.values import SpeechSpec
from mlt_ray.spec import FoldSpec, TrainingSpec
from mlt_ray.studies.files import find_study, space_names, study_names
from mlt_ray.studies.overrides import merge
from mlt_ray.studies.study import Published, Row, load_study, parse_study
from tests.tiny_encoder import WIDTH as ENCODER_WIDTH
from tests.tiny_encoder import write_encoder
from tests.tiny_speech_encoder import WIDTH as SPEECH_WIDTH
from tests.tiny_speech_encoder import write_speech_encoder

SHIPPED = [(name, row) for name in study_names() for row in load_study(name).rows]
ROWS = [(name, row.name) for name, row in SHIPPED]
NETWORKS = [(name, row.name) for name, row in SHIPPED if is_network(row.model)]
ONE_ROW = {"base": {"model": {"system": "multilevel"}}, "rows": [{"name": "one"}]}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("encoders") / "tiny")


@pytest.fixture(scope="module")
def speech_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_speech_encoder(tmp_path_factory.mktemp("encoders") / "ear")


def synthetic(row: Row, encoder: Path, speech_encoder: Path) -> tuple[Batch, InputSizes]:
    """Three utterances whose sizes are all different, with what the row's model needs.

    The encoders are tiny ones; that of speech has three layers, layer 0 included.
    """
    generator = torch.Generator().manual_seed(0)
    read = row.model.frames or row.features.frames
    frame_layers = 3 if read.kind == "encoder" and read.layer == "weighted" else 1
    frame_dim = read.num_bins if read.encoder is None else SPEECH_WIDTH * frame_layers
    num_frames, num_words = torch.tensor([11, 29, 2]), torch.tensor([5, 1, 7])
    frames = torch.randn(3, 29, frame_dim, generator=generator)
    words = torch.randint(1, 17, (3, 7), generator=generator)
    words[:, 0] = 2  # a word without a vector
    phonemes = torch.randint(1, 13, (3, 7, 3), generator=generator)
    first = torch.arange(7).expand(3, 7)
    known = {
        "alignment": torch.stack([first, first + 2], dim=-1),
        "pieces": torch.randint(1, 58, (3, 5), generator=generator),
        "prosody": torch.randn(3, 35, generator=generator),
        "speech_layers": torch.randn(3, 3, 2 * SPEECH_WIDTH, generator=generator),
        "text_embedding": torch.randn(3, ENCODER_WIDTH, generator=generator),
    }
    extras = {extra.name: known[extra.name] for extra in row.model.extras}
    if any(extra == ("speech_layers", extra.encoder, "last") for extra in row.model.extras):
        extras["speech_layers"] = extras["speech_layers"][:, -1]
    sizes = InputSizes(
        frame_dim=frame_dim,
        num_phonemes=13,
        num_learned_words=4,
        word_vectors=torch.randn(13, 50, generator=generator),
        extras={name: extra.shape[-1] for name, extra in extras.items()},
        encoder=encoder,
        frame_layers=frame_layers,
        num_speech_layers=3,
        speech_encoder=speech_encoder,
    )
    batch = Batch(
        utterances=torch.arange(3),
        labels=torch.tensor([0, 3, 1]),
        frames=frames,
        num_frames=num_frames,
        words=words,
        num_words=num_words,
        phonemes=phonemes,
        extras=extras,
    )
    batch.frames[~batch.frame_mask] = 0
    batch.words[~batch.word_mask] = 0
    batch.phonemes[~batch.word_mask] = 0
    return batch, sizes


def row_of(study: str, name: str) -> Row:
    (found,) = (row for row in load_study(study).rows if row.name == name)
    return found


def test_the_shipped_studies_are_found() -> None:
    files = sorted(p.stem for p in shipped_folder("search_spaces").iterdir() if p.suffix == ".yaml")
    assert sorted([*study_names(), *space_names()]) == files
    assert {"demo", "table1", "table2"} <= set(files)


@pytest.mark.parametrize(("study", "name"), NETWORKS)
def test_every_network_of_every_shipped_study_is_built_and_stepped(
    study: str, name: str, encoder: Path, speech_encoder: Path
) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    row = row_of(study, name)
    batch, sizes = synthetic(row, encoder, speech_encoder)
    model = build_model(row.model, sizes).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=row.training.learning_rate)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    set_dropout_keys(model, batch.utterances, 0)
    assert model(batch).shape == (3, len(FOUR))
    model.loss(batch).backward()
    optimiser.step()
    still = [n for n, p in model.named_parameters() if torch.equal(p, before[n])]
    assert still == []
    assert all(bool(p.isfinite().all()) for p in model.parameters())


@pytest.mark.parametrize(
    ("study", "name"),
    [(study, row.name) for study, row in SHIPPED if row.features.frames.encoder is None],
)
def test_every_row_of_every_shipped_study_can_have_its_frames(study: str, name: str) -> None:
    spec = row_of(study, name).features.frames
    frames = compute_frames(np.zeros(1601, np.float32), 16_000, spec)
    assert frames.shape[1] == spec.num_bins


@pytest.mark.parametrize(
    ("study", "name"),
    [
        (study, row.name)
        for study, row in SHIPPED
        if (row.model.frames or row.features.frames).encoder is not None
    ],
)
def test_every_row_on_an_encoder_s_states_can_have_them(
    study: str, name: str, speech_encoder: Path
) -> None:
    row = row_of(study, name)
    read = row.model.frames or row.features.frames
    encoder = open_encoder(speech_encoder, torch.device("cpu"))
    [frames] = embed(encoder, [np.zeros(1601, np.float32)], Embedding(layer=read.layer))
    assert frames.shape[1] == SPEECH_WIDTH * (3 if read.layer == "weighted" else 1)


@pytest.mark.parametrize(("study", "name"), ROWS)
def test_what_a_shipped_row_needs_can_be_computed(study: str, name: str) -> None:
    assert {extra.name for extra in row_of(study, name).model.extras} <= set(INPUTS)


def test_table_1_has_the_paper_s_rows_and_scores_in_its_order() -> None:
    scores = {row.name: row.published for row in load_study("table1").rows}
    assert scores == {
        "S. Yoon et al.": Published(wa=(0.690, 0.011), ua=(0.696, 0.013)),
        "H. Xu et al.": Published(wa=(0.692, 0.006), ua=(0.699, 0.007)),
        "H. Li et al.": Published(wa=(0.719, 0.003), ua=(0.728, 0.004)),
        "Our proposal": Published(wa=(0.730, 0.003), ua=(0.741, 0.001)),
        "phoneme only": Published(wa=(0.689, 0.002), ua=(0.701, 0.005)),
        "word only": Published(wa=(0.719, 0.002), ua=(0.727, 0.002)),
        "concatenation": Published(wa=(0.729, 0.003), ua=(0.738, 0.003)),
        "highway network": Published(wa=(0.730, 0.003), ua=(0.741, 0.001)),
        "w/o deep fusion module": Published(wa=(0.724, 0.009), ua=(0.734, 0.006)),
    }
    assert list(scores)[:4] == ["S. Yoon et al.", "H. Xu et al.", "H. Li et al.", "Our proposal"]
    assert load_study("table1").seeds == (1, 2, 3)


def test_table_1_trains_the_multilevel_transformer_as_the_paper_says() -> None:
    rows = [row for row in load_study("table1").rows if isinstance(row.model, MultilevelSpec)]
    assert len(rows) == 6
    for row in rows:
        assert (row.training.learning_rate, row.training.batch_size) == (1e-5, 4)
        assert row.model.width == 128
        assert (row.model.deep_fusion_layers == 0) == ("w/o deep fusion" in row.name)


def test_table_1_trains_the_compared_systems_as_their_authors_do() -> None:
    yoon, xu, li = load_study("table1").rows[:3]
    training = [
        (r.training.learning_rate, r.training.batch_size, r.training.clip_norm) for r in (yoon, xu)
    ]
    assert training == [(1e-3, 128, None), (1e-3, 64, 3.0)]
    assert yoon.training.clip_value == 10
    assert (li.training.learning_rate, li.training.batch_size) == (5e-4, 32)
    assert (li.training.max_epochs, li.training.patience) == (20, 20)
    cuts = [(r.features.max_steps, r.features.max_words) for r in (yoon, xu, li)]
    assert cuts == [(750, 128), (700, 100), (3000, None)]
    kinds = [(r.features.frames.kind, r.features.frames.num_bins) for r in (yoon, xu, li)]
    assert kinds == [("mfcc", 39), ("spectrogram", 257), ("log_mel", 40)]
    assert {(r.features.frames.window_ms, r.features.frames.hop_ms) for r in (yoon, xu, li)} == {
        (25.0, 10.0)
    }


def test_classical_systems_are_those_that_the_study_names() -> None:
    models = {r.name: r.model for r in load_study("beyond").rows if not is_network(r.model)}
    assert models == {
        "eGeMAPS + SVM": ClassicalSpec(audio="egemaps", audio_c=1.0),
        "TF-IDF + log. regression": ClassicalSpec(text="tfidf", ngrams=2, text_c=4.0),
        "embedding + log. regression": ClassicalSpec(text="embedding", text_c=4.0),
        "late fusion of both": ClassicalSpec(audio="egemaps", text="embedding", fusion="mean"),
        "speech encoder + log. regression": ClassicalSpec(
            audio="speech", speech_encoder="resemblyzer", speech_layer="best", speech_c=0.01
        ),
    }


def test_emobox_has_its_scores_of_iemocap_in_the_order_of_its_encoders() -> None:
    rows = load_study("emobox").rows
    scores = {row.model.speech_encoder: row.published for row in rows}
    assert scores == {
        "facebook/wav2vec2-base": Published(wa=(0.577, None), ua=(0.583, None)),
        "facebook/hubert-large-ll60k": Published(wa=(0.667, None), ua=(0.674, None)),
        "microsoft/wavlm-large": Published(wa=(0.691, None), ua=(0.695, None)),
        "openai/whisper-large-v3": Published(wa=(0.729, None), ua=(0.735, None)),
    }
    assert {row.folds for row in rows} == {FoldSpec(by="given", dev=0.2)}
    assert [row.features.pad_to_30s for row in rows] == [False, False, False, True]
    for row in rows:
        assert isinstance(row.model, SpeechSpec)
        assert (row.model.head, row.model.speech_layer) == ("states", "last")
        assert (row.model.hidden_width, row.model.dropout) == (128, 0)
        assert (row.training.learning_rate, row.training.batch_size) == (1e-4, 32)
        assert row.training.patience == row.training.max_epochs == 100


def test_open_reads_no_text_and_counts_every_emotion() -> None:
    for row in load_study("open").rows:
        assert not row.model.reads_words
        assert row.model.text_encoder is None
        assert (row.labels.name, row.folds.by) == ("all", "speaker")


def test_rows_by_speaker_say_so_and_differ_from_their_twins_by_that_alone() -> None:
    rows = {row.name: row for row in load_study("open").rows}
    by_speaker = {name for name, row in rows.items() if row.features.standardise == "speaker"}
    assert by_speaker == {name for name in rows if name.endswith(", by speaker")}
    assert len(by_speaker) == 4
    for name in by_speaker:
        twin = rows[name.removesuffix(", by speaker")]
        features = replace(twin.features, standardise="speaker")
        assert rows[name] == replace(twin, name=name, features=features)


def test_yoon_s_encoder_without_attention_is_otherwise_that_of_table_1() -> None:
    without, attending = (
        row_of("beyond", "S. Yoon et al. (MDRE)"),
        row_of("table1", "S. Yoon et al."),
    )
    assert without.features == attending.features
    assert without.training == attending.training
    assert without.model == replace(attending.model, variant="mdre")


def test_the_proposal_the_best_layers_and_the_component_are_the_same_runs() -> None:
    same = [
        row_of("table1", "Our proposal"),
        row_of("table1", "highway network"),
        row_of("table2", "1-1-2"),
        row_of("table3", "Multilevel transformer model"),
    ]
    specs = {(r.folds, r.features, r.model, r.training) for r in same}
    assert len(specs) == 1


def test_table_2_names_its_layers_and_has_the_paper_s_scores() -> None:
    scores = {}
    for row in load_study("table2").rows:
        model = row.model
        assert isinstance(model, MultilevelSpec)
        layers = (model.text_encoder_layers, model.cross_modality_layers, model.deep_fusion_layers)
        assert row.name == "-".join(map(str, layers))
        assert row.published is not None
        assert row.published.wa[1] is row.published.ua[1] is None
        scores[row.name] = (row.published.wa[0], row.published.ua[0])
    assert scores == {
        "3-3-1": (0.725, 0.736),
        "2-2-1": (0.729, 0.737),
        "1-1-1": (0.729, 0.740),
        "1-1-2": (0.730, 0.741),
        "1-1-3": (0.724, 0.733),
        "2-2-2": (0.731, 0.739),
        "2-2-3": (0.722, 0.732),
    }


@pytest.mark.parametrize("text", ["1e-5", "1E-5", "1.0e-5", "0.00001", "+1e-5"])
def test_a_number_may_be_written_in_any_usual_way(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        f"base: {{model: {{system: multilevel}}, training: {{learning_rate: {text}}}}}\n"
        "rows: [{name: one}]\n"
    )
    assert load_study(str(path)).rows[0].training.learning_rate == 1e-5


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("rows:\n  - name: one\n    model: {text: word, width: 8, text: phoneme}\n")
    with pytest.raises(
        UserError, match=r"mine\.yaml: expected YAML in UTF-8, got: key text stands twice"
    ):
        load_study(str(path))


def test_text_that_is_no_yaml_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("rows: [\n")
    with pytest.raises(UserError, match=r"mine\.yaml: expected YAML") as raised:
        load_study(str(path))
    assert "\n" not in str(raised.value)


def test_a_search_space_is_no_study_and_the_remedy_names_it_as_it_was_given(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("space: {model.width: {choice: [8]}}\n")
    for name in ("layers", str(path)):
        with pytest.raises(UserError, match=f"got a search space; use mlt-ray search {name}$"):
            load_study(name)


def test_a_row_differs_from_the_base_only_where_it_says_so() -> None:
    study = parse_study(
        "mine",
        {
            "base": {
                "folds": {"by": "speaker"},
                "features": {"frames": {"num_bins": 31}},
                "model": {"system": "multilevel", "width": 8, "num_heads": 2},
            },
            "rows": [
                {"name": "one"},
                {"name": "two", "features": {"frames": {"hop_ms": 10}}, "model": {"width": 16}},
            ],
        },
    )
    one, two = study.rows
    assert (one.features.frames.num_bins, one.features.frames.hop_ms) == (31, 12.0)
    assert (two.features.frames.num_bins, two.features.frames.hop_ms) == (31, 10.0)
    assert two.model == MultilevelSpec(width=16, num_heads=2)
    assert one.model == MultilevelSpec(width=8, num_heads=2)
    assert one.folds == two.folds
    assert one.folds.by == "speaker"
    assert (study.seeds, study.title) == ((1, 2, 3), "mine")


def test_overrides_are_applied_to_every_row() -> None:
    overrides = ["training.max_epochs=20", "features.frames.hop_ms=10", "model.dropout=2e-1"]
    for row in load_study("table2", [*overrides, "training.clip_norm=1"]).rows:
        assert (row.training.max_epochs, row.training.clip_norm) == (20, 1.0)
        assert row.features.frames.hop_ms == 10.0
        assert isinstance(row.model, MultilevelSpec)
        assert row.model.dropout == 0.2
    assert load_study("table2").rows[0].training.max_epochs == 100


def test_overrides_can_be_of_some_rows_alone() -> None:
    study = load_study("demo_baselines", ["model.width=7"], rows=["S. Yoon et al."])
    plain = {row.name: row for row in load_study("demo_baselines").rows}
    changed = [row for row in study.rows if row != plain[row.name]]
    assert [(row.name, row.changes) for row in changed] == [("S. Yoon et al.", ("model.width=7",))]


def test_an_override_wins_over_what_a_row_says() -> None:
    rows = load_study("demo", ["model.text=word"]).rows
    assert {row.model.text for row in rows if isinstance(row.model, MultilevelSpec)} == {"word"}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.max_epoch=3", "table1.S. Yoon et al..training: unknown key max_epoch; did you "),
        ("traning.max_epochs=3", "--set: unknown section traning; did you mean training?"),
        ("max_epochs=3", "--set max_epochs=3: expected section.key=value, such as "),
        ("training.max_epochs", "--set training.max_epochs: expected section.key=value"),
        ("training.max_epochs=many", "training.max_epochs: expected int, got 'many'"),
        ("training.max_epochs.x=3", "training.max_epochs: expected int, got {'x': 3}"),
        ("model.text=word", "table1.S. Yoon et al..model: unknown key text; "),
        ("model.system=multilevl", "model.system: unknown system multilevl; did you mean multil"),
        ("training.max_epochs=[", "--set training.max_epochs=[: expected"),
    ],
)
def test_an_override_that_cannot_be_used_is_named(override: str, message: str) -> None:
    with pytest.raises(UserError) as raised:
        load_study("table1", [override])
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rws": []}, "mine: unknown key rws; did you mean rows?"),
        ({"rows": []}, "mine.rows: expected a list of rows, got []"),
        ({"rows": {"name": "one"}}, "mine.rows: expected a list of rows, got {"),
        ({"rows": [{"model": {}}]}, "mine.rows[1].name: expected a text, got None"),
        ({"rows": [{"name": "one"}, {"nme": 1}]}, "mine.rows[2]: unknown key nme; did you mean "),
        ({"rows": [{"name": "a"}, {"name": "a"}]}, "mine.rows: two rows are called a"),
        ({"seeds": []}, "mine.seeds: expected a list of whole numbers, got []"),
        ({"seeds": [1, True]}, "mine.seeds: expected a list of whole numbers, got [1, True]"),
        ({"seeds": [1, 3, 1]}, "mine.seeds: expected each seed once, got [1, 3, 1]"),
        (
            {"seeds": [1, 2**31]},
            "mine.seeds: expected numbers from -2147483648 to 2147483647, got 2147483648",
        ),
        ({"seeds": 3}, "mine.seeds: expected a list of whole numbers, got 3"),
        ({"base": {"modl": {}}}, "mine.base: unknown key modl; did you mean model?"),
        ({"base": {}}, f"mine.one.model: key system is missing; known: {', '.join(SYSTEMS)}"),
        ({"base": None}, "mine.base: expected a mapping of keys, got None"),
        (
            {"rows": [{"name": "one", "model": {"text": "words"}}]},
            "mine.one.model.text: expected one of highway, concatenation, phoneme, word, "
            "got 'words'",
        ),
    ],
)
def test_a_study_that_cannot_be_used_is_refused_with_its_place(
    change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as raised:
        parse_study("mine", ONE_ROW | change)
    assert str(raised.value).startswith(message)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("")
    with pytest.raises(UserError, match="mine: expected a mapping of keys, got None"):
        load_study(str(path))


def test_a_study_that_does_not_exist_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match="search_spaces: unknown study tabel1; did you mean table1"):
        find_study("tabel1")


def test_a_file_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected a study file, found none"):
        find_study(str(tmp_path / "mine.yaml"))


@pytest.mark.parametrize(
    ("published", "expected"),
    [
        (None, None),
        (
            {"wa": [0.73, 0.003], "ua": [0.741, None]},
            Published(wa=(0.73, 0.003), ua=(0.741, None)),
        ),
    ],
)
def test_published_scores_are_a_mean_with_or_without_a_deviation(
    published: Any, expected: Published | None
) -> None:
    study = parse_study("mine", ONE_ROW | {"rows": [{"name": "one", "published": published}]})
    assert study.rows[0].published == expected


@pytest.mark.parametrize(
    "published",
    [
        {"wa": [0.73, 0.003]},
        {"wa": [0.73], "ua": [0.74, None]},
        {"wa": 0.73, "ua": [0.74, None]},
        {"wa": ["0.73", None], "ua": [0.74, None]},
        {"wa": [0.73, "0.003"], "ua": [0.74, None]},
        {"wa": [0.73, None], "ua": [0.74, None], "f1": [0.7, None]},
    ],
)
def test_published_scores_of_another_form_are_refused(published: Any) -> None:
    with pytest.raises(UserError, match=r"^mine\.one\.published"):
        parse_study("mine", ONE_ROW | {"rows": [{"name": "one", "published": published}]})


def test_merging_changes_neither_of_the_two() -> None:
    below, above = {"a": {"b": 1, "c": [2]}, "d": 3}, {"a": {"b": {"e": 4}}, "f": 5}
    assert merge(below, above) == {"a": {"b": {"e": 4}, "c": [2]}, "d": 3, "f": 5}
    assert (below, above) == ({"a": {"b": 1, "c": [2]}, "d": 3}, {"a": {"b": {"e": 4}}, "f": 5})


def test_a_file_of_ones_own_has_a_name_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "table1.yaml"
    shutil.copy(find_study("table1"), path)
    with pytest.raises(UserError, match=r"call it my_table1\.yaml"):
        find_study(str(path))
    assert find_study(str(find_study("table1"))) == find_study("table1")


def test_labels_and_protocol_stand_beside_the_sections() -> None:
    values = {
        "base": {"model": {"system": "multilevel"}, "labels": "six", "protocol": "loso"},
        "rows": [
            {"name": "base"},
            {"name": "own", "labels": ["sad", "angry"], "protocol": "superb"},
            {"name": "a little of both", "folds": {"dev": 0.1}},
        ],
    }
    base, own, both = parse_study("mine", values).rows
    assert (base.labels.name, base.folds) == ("six", FoldSpec(by="speaker", number="each"))
    assert [name for name, _ in own.labels.classes] == ["sad", "angry"]
    assert own.folds == FoldSpec(by="session", number="each", dev=0.2)
    assert both.folds == FoldSpec(by="speaker", number="each", dev=0.1)


def test_labels_and_protocol_can_be_set_by_the_command() -> None:
    changes = ["labels=[sad, angry]", "protocol=loso", "folds.dev=0.3"]
    [row] = parse_study("mine", ONE_ROW, changes).rows
    assert [name for name, _ in row.labels.classes] == ["sad", "angry"]
    assert row.folds == FoldSpec(by="speaker", number="each", dev=0.3)
    assert row.changes == tuple(changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("labels=seven", r"mine.one.labels: unknown set seven; known: four, five, six, all"),
        ("protocol=loo", r"mine.one.protocol: unknown protocol loo; did you mean loso\?"),
        ("folds.number=1", r"folds.number: expected a number from 2 to 10000, got 1"),
        ("folds.number=all", r"folds.number: expected int or each, got 'all'"),
        ("folds.dev=1.0", r"folds.dev: expected a number above 0 and below 1, got 1.0"),
        ("folds.dev=last", r"folds.dev: expected next or float, got 'last'"),
        ("folds.num_folds=3", r"folds.num_folds: expected no value, since planning sets it"),
        ("folds={by: stratified, number: each}", r"--set folds=.*: expected section.key=value"),
    ],
)
def test_labels_and_folds_that_cannot_be_used_are_refused(change: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_study("mine", ONE_ROW, [change])


def test_a_language_that_espeak_does_not_speak_is_refused_where_it_stands() -> None:
    row = {"name": "one", "model": {"system": "multilevel"}, "features": {"language": "de"}}
    assert not parse_study("mine", {"rows": [row]}).rows[0].features.is_english
    row["features"] = {"language": "deutsch"}
    message = r"^mine\.one\.features\.language: expected a language that .* got 'deutsch'; mlt-ray"
    with pytest.raises(UserError, match=message):
        parse_study("mine", {"rows": [row]})


OWN = Path(__file__).parents[2] / "docs/own_model"


def test_a_study_names_models_of_its_own_beside_its_file() -> None:
    own, highway = load_study(str(OWN / "beside_highway.yaml"), ["model.width=24"]).rows
    assert (own.model.system, own.model.width) == ("mean_frames", 24)
    assert own.model.source.startswith("mean_frames.py@")
    assert highway.model.source == ""


def test_without_the_key_models_their_systems_are_unknown() -> None:
    with pytest.raises(UserError, match="unknown system mean_frames"):
        parse_study("mine", {"rows": [{"name": "one", "model": {"system": "mean_frames"}}]})


def test_a_row_of_another_system_has_none_of_the_base_s_values_of_its_model() -> None:
    values = {
        "base": {
            "model": {"system": "multilevel", "width": 64, "dropout": 0.4},
            "training": {"batch_size": 7},
        },
        "rows": [
            {"name": "same", "model": {"system": "multilevel", "num_heads": 2}},
            {"name": "other", "model": {"system": "bert"}},
        ],
    }
    same, other = parse_study("mine", values).rows
    assert same.model == MultilevelSpec(width=64, dropout=0.4, num_heads=2)
    assert other.model == BertSpec()
    assert same.training == other.training == TrainingSpec(batch_size=7)
    [_, changed] = parse_study("mine", values, ["model.system=bert"]).rows
    assert changed.model == BertSpec()
    [_, changed] = parse_study("mine", values, ["model.system=multilevel"]).rows
    assert changed.model == MultilevelSpec(width=64, dropout=0.4)
