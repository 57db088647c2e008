"""Search spaces: what their files may say, and that the shipped ones can be searched."""

from pathlib import Path
from typing import Any

import pytest
import torch

from mlt_ray.errors import UserError
from mlt_ray.models.dropout import set_dropout_keys
from mlt_ray.models.registry import build_model
from mlt_ray.studies.files import space_names
from mlt_ray.studies.space import Parameter, describe, load_space, parse_space, with_changes
from mlt_ray.studies.study import Row, load_study
from tests.studies.test_study import synthetic

SPACE: dict[str, Any] = {
    "base": {"model": {"system": "multilevel"}},
    "space": {"model.width": {"choice": [64, 128]}, "model.deep_fusion_layers": {"int": [0, 3]}},
}
PLACE = Path("mine.yaml")


def corners(name: str) -> list[Row]:
    """The configurations of a shipped space that have the lowest values, and the highest."""
    space = load_space(name)
    return [space.row({p.key: p.values[end] for p in space.parameters}) for end in (0, -1)]


@pytest.mark.parametrize("name", space_names())
def test_both_ends_of_every_shipped_space_are_built_and_stepped(name: str, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    for row in corners(name):
        batch, sizes = synthetic(row, tmp_path, tmp_path)
        model = build_model(row.model, sizes).train()
        optimiser = torch.optim.Adam(model.parameters(), lr=row.training.learning_rate)
        before = {n: p.detach().clone() for n, p in model.named_parameters()}
        set_dropout_keys(model, batch.utterances, 0)
        model.loss(batch).backward()
        optimiser.step()
        assert [n for n, p in model.named_parameters() if torch.equal(p, before[n])] == []


@pytest.mark.parametrize("name", space_names())
def test_a_shipped_space_names_a_study_to_stand_beside(name: str) -> None:
    compared = load_space(name).search.compare
    assert compared is not None
    assert load_study(compared).rows


def test_the_layers_hold_all_of_table_2() -> None:
    grid = [load_space("layers").row(values).model for values in load_space("layers").grid()]
    assert {row.model for row in load_study("table2").rows} <= set(grid)
    assert len(grid) == load_space("layers").size == 36


@pytest.mark.parametrize(
    ("parameter", "grid"),
    [
        (Parameter(key="k", kind="choice", values=("a", None)), ("a", None)),
        (Parameter(key="k", kind="int", values=(2, 7), step=2), (2, 4, 6)),
        (Parameter(key="k", kind="float", values=(0.0, 0.3), step=0.1), (0.0, 0.1, 0.2, 0.3)),
        (Parameter(key="k", kind="float", values=(0.0, 0.3)), None),
        (Parameter(key="k", kind="log", values=(0.1, 1.0)), None),
    ],
)
def test_the_values_of_a_parameter_are_counted_where_they_can_be(
    parameter: Parameter, grid: tuple[Any, ...] | None
) -> None:
    found = parameter.grid
    assert found == (grid if grid is None or parameter.kind != "float" else pytest.approx(grid))


def test_a_configuration_has_the_base_s_values_and_its_own() -> None:
    values = {**SPACE, "base": {**SPACE["base"], "training": {"batch_size": 8}}}
    space = parse_space(PLACE, values, ["training.max_epochs=3"])
    row = space.row({"model.width": 64, "model.deep_fusion_layers": 2})
    model: Any = row.model
    assert (model.width, model.deep_fusion_layers) == (64, 2)
    assert (row.training.batch_size, row.training.max_epochs) == (8, 3)
    assert describe({"model.width": 64, "training.learning_rate": 1e-4}) == (
        "width 64, learning_rate 0.0001"
    )


def test_runs_of_a_configuration_go_seed_by_seed() -> None:
    space = parse_space(PLACE, {**SPACE, "search": {"folds": [2, 4], "seeds": [7, 8]}})
    assert space.fold_seeds(5) == ((2, 7), (4, 7), (2, 8), (4, 8))
    assert with_changes(space, trials=3, best=None).search.trials == 3
    assert with_changes(space, trials=None, best=1).search.best == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"space": {}}, "mine.space: expected parameters by key, got {}"),
        ({"space": {"width": {"int": [1, 2]}}}, "mine.space.width: expected section.key"),
        ({"space": {"model.width": {"integer": [1, 2]}}}, "unknown key integer; did you mean int?"),
        (
            {"space": {"model.width": {"int": [2, 1]}}},
            r"expected \[lowest, highest\], got \[2, 1\]",
        ),
        ({"space": {"model.width": {"int": [1.5, 2]}}}, r"expected \[lowest, highest\]"),
        ({"space": {"training.learning_rate": {"log": [0, 1]}}}, "two numbers above 0 and no step"),
        ({"space": {"model.dropout": {"float": [0.0, 0.5], "step": 1}}}, "a number up to 0.5"),
        ({"space": {"model.dropout": {"choice": []}}}, "choice: expected a list"),
        (
            {"space": {"model.widht": {"int": [1, 2]}}},
            "mine.configuration.model: unknown key widht; did you mean width?",
        ),
        ({"search": {"sampler": "tpee"}}, "expected one of tpe, random, grid, cmaes, got 'tpee'"),
        ({"search": {"trails": 3}}, "unknown key trails; did you mean trials?"),
        ({"search": {"trials": 0}}, "trials: expected a number from 1 to 1000000, got 0"),
        (
            {"search": {"objectives": ["test_ua"]}},
            "unknown objective test_ua; did you mean dev_ua?",
        ),
        ({"search": {"objectives": ["dev_ua", "computed_s"]}}, "expected none with several"),
        (
            {"search": {"folds": [0]}},
            r"expected each fold once, a number from 1 to 100000, got \[0\]",
        ),
        ({"search": {"seeds": [1, 1]}}, "expected each seed once"),
        (
            {
                "space": {"training.learning_rate": {"log": [0.1, 1]}},
                "search": {"sampler": "grid"},
            },
            "expected a step or choices for the sampler grid",
        ),
        (
            {"space": {"model.width": {"int": [8, 10**30]}}},
            "mine.space.model.width: expected a number from 1 to 10000000, got 10{30}",
        ),
        (
            {"space": {"model.width": {"choice": [8, 0]}}},
            "mine.space.model.width: expected a number from 1 to 10000000, got 0",
        ),
        (
            {"space": {"training.learning_rate": {"log": [1e-5, 1e300]}}},
            r"learning_rate: expected a number above 0 and at most 10000000000, got 1e\+300",
        ),
        (
            {"space": {"model.dropout": {"float": [0.0, 10**400]}}},
            r"model.dropout.float: expected \[lowest, highest\], got \[0.0, 1000",
        ),
        (
            {"space": {"model.dropout": {"float": [0.0, 0.5], "step": 1e-320}}},
            "model.dropout.step: expected at most 1,000,000 steps from 0.0 to 0.5, got 1e-320",
        ),
        (
            {
                "space": {
                    "model.width": {"int": [4, 10**7]},
                    "model.prenet_kernel": {"int": [1, 9]},
                },
                "search": {"sampler": "grid"},
            },
            "mine.space: expected at most 1,000,000 configurations for the sampler grid, got 899",
        ),
        ({"search": {"folds": [10**30]}}, "expected each fold once, a number from 1 to 100000"),
        ({"search": {"seeds": [10**30]}}, "seeds: expected numbers from -2147483648 to 2147483647"),
    ],
)
def test_a_space_that_cannot_be_used_is_refused_with_its_place(
    change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        parse_space(PLACE, {**SPACE, **change})


def test_a_fold_that_the_corpus_does_not_have_is_refused_once_their_number_is_known() -> None:
    space = parse_space(PLACE, {**SPACE, "search": {"folds": [1, 6]}})
    assert space.fold_seeds(6) == ((1, 1), (6, 1))
    with pytest.raises(UserError, match=r"search.folds: expected numbers from 1 to 5, got 6"):
        space.fold_seeds(5)


def test_a_study_is_no_space_and_the_remedy_names_it_as_it_was_given(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match="table1: expected a key space, found none; use mlt-ray run"
    ):
        load_space("table1")
    path = tmp_path / "mine.yaml"
    path.write_text("rows: []\n")
    with pytest.raises(UserError, match=f"use mlt-ray run {path}$"):
        load_space(str(path))


def test_a_space_searches_the_values_of_a_model_of_one_s_own() -> None:
    path = Path(__file__).parents[2] / "docs/own_model/widths.yaml"
    space = load_space(str(path), ["model.dropout=0.3"])
    models = [space.row(values).model for values in space.grid()]
    assert [(model.width, model.dropout) for model in models] == [(16, 0.3), (32, 0.3), (64, 0.3)]
    assert {model.source for model in models} == {space.first_row.model.source}
