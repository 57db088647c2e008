"""Run specifications are parsed strictly, and their digest depends on every value."""

import dataclasses
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import pytest

from mlt_ray.errors import UserError
from mlt_ray.models.classical.values import ClassicalSpec
from mlt_ray.models.multilevel.values import MultilevelSpec
from mlt_ray.models.registry import SYSTEMS
from mlt_ray.parsing import parse
from mlt_ray.spec import (
    ADDED_LATER,
    FeatureSpec,
    FoldSpec,
    FramesSpec,
    Run,
    RunSpec,
    TrainingSpec,
    decisive,
    digest_of,
    runs_of,
)

RUN = Run(spec=RunSpec(corpus="c0ffee", model=MultilevelSpec()), fold=2, seed=3)


@dataclass(frozen=True, kw_only=True)
class Inner:
    size: int
    share: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    inner: Inner = Inner(size=1)
    kind: Literal["thin", "thick"] = "thin"
    limit: float | None = None
    is_on: bool = False


def test_keys_that_are_left_out_get_their_defaults() -> None:
    found = parse(Outer, {"name": "a", "inner": {"size": 3}, "limit": 2.5}, "study")
    assert found == Outer(name="a", inner=Inner(size=3, share=0.5), limit=2.5)


def test_whole_numbers_are_read_as_floats_where_floats_are_expected() -> None:
    found = parse(Outer, {"name": "a", "limit": 2, "inner": {"size": 3, "share": 1}}, "study")
    assert type(found.limit) is float
    assert type(found.inner.share) is float


def test_null_is_read_as_none_if_the_field_allows_it() -> None:
    assert parse(Outer, {"name": "a", "limit": None}, "study").limit is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "a", "lmit": 1}, "study: unknown key lmit; did you mean limit?"),
        ({"name": "a", "xyz": 1}, "study: unknown key xyz; known: name, inner, kind, limit, is_on"),
        ({"name": "a", "inner": {"siz": 1}}, "study.inner: unknown key siz; did you mean size?"),
        ({"name": "a", "inner": {}}, "study.inner: key size is missing"),
        ({}, "study: key name is missing"),
        ({"name": 3}, "study.name: expected str, got 3"),
        ({"name": "a", "inner": 3}, "study.inner: expected a mapping of keys, got 3"),
        ({"name": "a", "inner": {"size": "3"}}, "study.inner.size: expected int, got '3'"),
        ({"name": "a", "inner": {"size": 3.0}}, "study.inner.size: expected int, got 3.0"),
        ({"name": "a", "inner": {"size": True}}, "study.inner.size: expected int, got True"),
        ({"name": "a", "inner": {"size": None}}, "study.inner.size: expected int, got None"),
        ({"name": "a", "limit": True}, "study.limit: expected float, got True"),
        ({"name": "a", "limit": "1"}, "study.limit: expected float, got '1'"),
        ({"name": "a", "is_on": 1}, "study.is_on: expected bool, got 1"),
        ({"name": "a", "kind": "wide"}, "study.kind: expected one of thin, thick, got 'wide'"),
        ([1], "study: expected a mapping of keys, got [1]"),
        (None, "study: expected a mapping of keys, got None"),
    ],
)
def test_an_error_names_the_place_and_the_value(values: Any, message: str) -> None:
    with pytest.raises(UserError) as raised:
        parse(Outer, values, "study")
    assert str(raised.value) == message


def changes(value: Any) -> Iterator[Any]:
    """The dataclass `value` with one field changed, for every field at any depth."""
    for field in dataclasses.fields(value):
        old = getattr(value, field.name)
        if dataclasses.is_dataclass(old):
            new: list[Any] = list(changes(old))
        elif field.name == "dev":
            new = [0.2]  # the only text that is allowed is the default
        elif isinstance(old, bool):
            new = [not old]
        elif isinstance(old, str):
            new = [old + "x"]
        elif old == 0.0:
            new = [0.5]  # rates of dropout must be below 1
        else:
            new = [(old or 1) * 2]  # so that widths stay multiples of the number of heads
        more = {"kind": "encoder"} if field.name == "encoder" else {}  # no other kind has one,
        if field.name == "layer":
            more = {"kind": "encoder", "encoder": "x"}  # or layers
        for changed in new:
            yield replace(value, **{field.name: changed, **more})


def test_a_change_of_any_field_changes_the_digest() -> None:
    digests = [RUN.digest, *(run.digest for run in changes(RUN))]
    counted = [FoldSpec(), TrainingSpec(), MultilevelSpec(), FeatureSpec().frames]
    # Also nine fields of the features, and corpus, classes, recipe, fold and seed.
    assert len(digests) == 1 + sum(len(dataclasses.fields(c)) for c in counted) + 9 + 5
    assert len(set(digests)) == len(digests)


def test_a_later_addition_is_in_the_digest_unless_it_is_as_before() -> None:
    values = RUN.spec.as_dict()
    before = decisive(values)
    # As a store of before has it: no such key at all, and lists for tuples.
    assert decisive(json.loads(json.dumps(values))) == json.loads(json.dumps(before))
    for dotted, default in ADDED_LATER.items():
        *path, key = dotted.split(".")
        if path[:1] and path[0] in SYSTEMS:
            of_system = {f.name: f.default for f in dataclasses.fields(SYSTEMS[path[0]])}
            assert of_system[key] == default
            model = {"system": path[0], key: default}
            assert decisive({"model": model}) == {"model": {"system": path[0]}}
            continue
        section: Any = values
        was: Any = before
        for name in path:
            section, was = section[name], was[name]
        assert key in section
        assert key not in was


def test_equal_runs_have_equal_digests() -> None:
    assert replace(RUN, seed=3).digest == RUN.digest
    assert parse(MultilevelSpec, {"system": "multilevel"}, "m") == MultilevelSpec()


def test_a_digest_is_16_hex_digits_and_the_same_in_every_process() -> None:
    code = (
        "from mlt_ray.models.multilevel.values import MultilevelSpec\n"
        "from mlt_ray.spec import Run, RunSpec\n"
        "spec = RunSpec(corpus='c0ffee', model=MultilevelSpec())\n"
        "print(Run(spec=spec, fold=2, seed=3).digest)\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "4711"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == RUN.digest
    assert len(RUN.digest) == len(f"{int(RUN.digest, 16):016x}") == 16


def test_a_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest_of({"a": 1, "b": {"c": 2, "d": 3}}) == digest_of({"b": {"d": 3, "c": 2}, "a": 1})


def test_a_dataclass_has_the_digest_of_its_values() -> None:
    assert digest_of(Inner(size=3)) == digest_of({"size": 3, "share": 0.5})


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (
            TrainingSpec,
            {"batch_size": 0},
            "x.batch_size: expected a number from 1 to 1000000, got 0",
        ),
        (
            TrainingSpec,
            {"learning_rate": -1},
            "x.learning_rate: expected a number above 0 and at most 10000000000",
        ),
        (
            TrainingSpec,
            {"learning_rate": math.nan},
            "x.learning_rate: expected a number above 0 and at most 10000000000",
        ),
        (
            TrainingSpec,
            {"learning_rate": math.inf},
            "x.learning_rate: expected a number above 0 and at most 10000000000",
        ),
        (
            TrainingSpec,
            {"clip_norm": 0},
            "x.clip_norm: expected a number above 0 and at most 1000000, got 0",
        ),
        (
            FeatureSpec,
            {"frames_per_step": 0},
            "x.frames_per_step: expected a number from 1 to 10000",
        ),
        (FramesSpec, {"num_bins": 3}, "x.num_bins: expected at least 4 for log_mel, got 3"),
        (
            FramesSpec,
            {"window_ms": 10, "hop_ms": 12.5},
            "x.hop_ms: expected at most window_ms (10), got 12.5; what lies between",
        ),
        (FramesSpec, {"hop_ms": 0}, "x.hop_ms: expected a number from 1 to 1000"),
        (MultilevelSpec, {"dropout": 1.0}, "x.dropout: expected a number at least 0 and below 1"),
        (MultilevelSpec, {"num_heads": 3}, "x.width: expected a multiple of num_heads"),
        (MultilevelSpec, {"deep_fusion_layers": -1}, "x.deep_fusion_layers: expected a number"),
    ],
)
def test_numbers_out_of_bounds_are_refused(kind, values, message):
    with pytest.raises(UserError) as error:
        parse(kind, values, "x")
    assert str(error.value).startswith(message)


def test_the_runs_of_a_specification_are_each_fold_and_seed_once() -> None:
    spec = RunSpec(corpus="c", model=MultilevelSpec())
    runs = runs_of(spec, [(2, 7), (1, 7), (2, 7), (2, 9)])
    assert [(run.fold, run.seed) for run in runs] == [(2, 7), (1, 7), (2, 9)]
    assert {run.spec for run in runs} == {spec}


@pytest.mark.parametrize("seeds", [[1, 2, 3], [13, 14], [2]])
def test_without_a_seed_there_is_one_run_a_fold_whatever_the_seeds_are(seeds: list[int]) -> None:
    spec = RunSpec(corpus="c", model=ClassicalSpec(text="tfidf"))
    runs = runs_of(spec, [(fold, seed) for seed in seeds for fold in (1, 3)])
    assert runs == tuple(Run(spec=spec, fold=fold, seed=1) for fold in (1, 3))
