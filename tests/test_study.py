"""Study files: the shipped ones work, and others are refused with a clear word."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from mlt_ray.batch import Batch, InputSizes
from mlt_ray.errors import UserError
from mlt_ray.labels import CLASSES
from mlt_ray.models.dropout import set_dropout_keys
from mlt_ray.models.multilevel import MultilevelSpec
from mlt_ray.models.registry import build_model
from mlt_ray.study import (
    Published,
    Row,
    find_study,
    load_study,
    merge,
    parse_study,
    study_folder,
    study_names,
)

ROWS = [(name, row.name) for name in study_names() for row in load_study(name).rows]
ONE_ROW = {"base": {"model": {"system": "multilevel"}}, "rows": [{"name": "one"}]}


def synthetic(num_bins: int) -> tuple[Batch, InputSizes]:
    """Three utterances whose sizes are all different."""
    generator = torch.Generator().manual_seed(0)
    num_frames, num_words = torch.tensor([11, 29, 2]), torch.tensor([5, 1, 7])
    frames = torch.randn(3, 29, num_bins, generator=generator)
    words = torch.randint(1, 17, (3, 7), generator=generator)
    phonemes = torch.randint(1, 13, (3, 7, 3), generator=generator)
    sizes = InputSizes(
        frame_dim=num_bins,
        num_phonemes=13,
        num_learned_words=4,
        word_vectors=torch.randn(13, 50, generator=generator),
    )
    batch = Batch(
        utterances=torch.arange(3),
        labels=torch.tensor([0, 3, 1]),
        frames=frames,
        num_frames=num_frames,
        words=words,
        num_words=num_words,
        phonemes=phonemes,
    )
    batch.frames[~batch.frame_mask] = 0
    batch.words[~batch.word_mask] = 0
    batch.phonemes[~batch.word_mask] = 0
    return batch, sizes


def row_of(study: str, name: str) -> Row:
    (found,) = (row for row in load_study(study).rows if row.name == name)
    return found


def test_the_shipped_studies_are_found() -> None:
    files = sorted(p.stem for p in study_folder().iterdir() if p.suffix == ".yaml")
    assert study_names() == files
    assert {"demo", "table1"} <= set(files)


@pytest.mark.parametrize(("study", "name"), ROWS)
def test_every_row_of_every_shipped_study_is_built_and_stepped(study: str, name: str) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    row = row_of(study, name)
    batch, sizes = synthetic(row.features.frames.num_bins)
    model = build_model(row.model, sizes).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=row.training.learning_rate)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    set_dropout_keys(model, batch.utterances, 0)
    logits = model(batch)
    assert logits.shape == (3, len(CLASSES))
    F.cross_entropy(logits, batch.labels).backward()
    optimiser.step()
    still = [n for n, p in model.named_parameters() if torch.equal(p, before[n])]
    assert still == []
    assert all(bool(p.isfinite().all()) for p in model.parameters())


def test_table_1_has_the_paper_s_rows_and_scores() -> None:
    table = load_study("table1")
    scores = {row.name: row.published for row in table.rows}
    assert scores["phoneme only"] == Published(wa=(0.689, 0.002), ua=(0.701, 0.005))
    assert scores["highway network"] == Published(wa=(0.730, 0.003), ua=(0.741, 0.001))
    assert table.seeds == (1, 2, 3)
    for row in table.rows:
        assert row.training.learning_rate == 1e-5
        assert row.training.batch_size == 4
        assert isinstance(row.model, MultilevelSpec)
        assert row.model.width == 128
        assert (row.model.deep_fusion_layers == 0) == ("w/o deep fusion" in row.name)


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
    with pytest.raises(UserError, match=r"mine\.yaml: expected YAML, got: key text stands twice"):
        load_study(str(path))


def test_text_that_is_no_yaml_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("rows: [\n")
    with pytest.raises(UserError, match=r"mine\.yaml: expected YAML") as raised:
        load_study(str(path))
    assert "\n" not in str(raised.value)


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
    for row in load_study("table1", [*overrides, "training.clip_norm=1"]).rows:
        assert (row.training.max_epochs, row.training.clip_norm) == (20, 1.0)
        assert row.features.frames.hop_ms == 10.0
        assert isinstance(row.model, MultilevelSpec)
        assert row.model.dropout == 0.2
    assert load_study("table1").rows[0].training.max_epochs == 100


def test_an_override_wins_over_what_a_row_says() -> None:
    rows = load_study("table1", ["model.text=word"]).rows
    assert {row.model.text for row in rows if isinstance(row.model, MultilevelSpec)} == {"word"}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.max_epoch=3", "table1.phoneme only.training: unknown key max_epoch; did you "),
        ("traning.max_epochs=3", "--set: unknown section traning; did you mean training?"),
        ("max_epochs=3", "--set max_epochs=3: expected section.key=value, such as "),
        ("training.max_epochs", "--set training.max_epochs: expected section.key=value"),
        ("training.max_epochs=many", "training.max_epochs: expected int, got 'many'"),
        ("training.max_epochs.x=3", "training.max_epochs: expected int, got {'x': 3}"),
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
        ({"rows": [{"model": {}}]}, "mine.rows[1]: key name is missing"),
        ({"rows": [{"name": "one"}, {"nme": 1}]}, "mine.rows[2]: unknown key nme; did you mean "),
        ({"rows": [{"name": "a"}, {"name": "a"}]}, "mine.rows: two rows are called a"),
        ({"seeds": []}, "mine.seeds: expected a list of whole numbers, got []"),
        ({"seeds": [1, True]}, "mine.seeds: expected a list of whole numbers, got [1, True]"),
        ({"seeds": [1, 3, 1]}, "mine.seeds: expected each seed once, got [1, 3, 1]"),
        ({"seeds": 3}, "mine.seeds: expected a list of whole numbers, got 3"),
        ({"base": {"modl": {}}}, "mine.base: unknown key modl; did you mean model?"),
        ({"base": {}}, "mine.one.model: key system is missing; known: multilevel"),
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
