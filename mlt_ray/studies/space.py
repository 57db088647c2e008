"""Reads search spaces: a base configuration and the parameters that a search varies.

title: shown above the table
models: [my_model.py]      # as in a study
base: {...}                # as in a study: what every configuration shares
space:                     # a parameter is a key of a section, with one kind of values
  model.width: {choice: [64, 128, 256]}
  model.deep_fusion_layers: {int: [0, 3]}          # whole numbers, both ends included
  model.dropout: {float: [0.0, 0.5], step: 0.1}    # evenly spread; step is optional (int too)
  training.learning_rate: {log: [1e-5, 1e-2]}      # evenly spread on a logarithmic scale
search: {...}              # keys of SearchSpec
seeds: [1, 2, 3]           # of the best configurations, once they are found
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

from mlt_ray.errors import UserError
from mlt_ray.models.own import Systems, load_systems
from mlt_ray.models.registry import SYSTEMS
from mlt_ray.parsing import (
    FINITE,
    Range,
    check_keys,
    check_numbers,
    check_value,
    parse,
    shown,
    unknown_key,
)
from mlt_ray.spec import FOLDS, SECTIONS, FeatureSpec, FoldSpec, TrainingSpec
from mlt_ray.studies.files import is_space, load_yaml
from mlt_ray.studies.study import SETTINGS, Row, parse_row, parse_seeds

Sampler = Literal["tpe", "random", "grid", "cmaes"]
Pruner = Literal["median", "percentile", "halving", "none"]
Objective = Literal["dev_ua", "dev_wa", "dev_macro_f1", "num_parameters", "computed_s"]
MAXIMISED: frozenset[Objective] = frozenset(("dev_ua", "dev_wa", "dev_macro_f1"))

MOST_TRIALS: Final = 1_000_000
"""Configurations that a search may propose."""

MOST_BEST: Final = 10_000
"""Configurations that may be trained on all folds and seeds."""

MOST_IN_GRID: Final = 1_000_000
"""Configurations of a search that proposes all that there are."""

MOST_STEPS: Final = 1_000_000
"""Steps of a range of numbers that are not whole."""

Trials = Annotated[int, Range(0, MOST_TRIALS)]

_KEYS = ("title", "models", "base", "space", "search", "seeds")
_KINDS = ("choice", "int", "float", "log")


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One key that a search varies.

    `values` are the choices, or the lowest and the highest value of a range. `step` is the distance
    between two values of a range; None allows every number (an ``int`` always has a step).
    """

    key: str
    kind: Literal["choice", "int", "float", "log"]
    values: tuple[Any, ...]
    step: float | None = None

    @property
    def num_values(self) -> int | None:
        """Number of values; None for a range without a step."""
        if self.kind == "choice":
            return len(self.values)
        if self.step is None:
            return None
        low, high = self.values
        return math.floor((high - low) / self.step + 1e-9) + 1

    @property
    def grid(self) -> tuple[Any, ...] | None:
        """All values; None for a range without a step."""
        if self.kind == "choice" or self.step is None or self.num_values is None:
            return self.values if self.kind == "choice" else None
        low = self.values[0]
        step = int(self.step) if self.kind == "int" else self.step
        return tuple(low + n * step for n in range(self.num_values))


@dataclass(frozen=True, kw_only=True)
class SearchSpec:
    """How a space is searched; none of it is part of a run's digest.

    The `sampler` proposes `trials` configurations, each with one run (a "cell") per (fold, seed).
    Once `startup_trials` configurations are known, the `pruner` may end a poor one early. It
    compares the mean over the first n runs with that of earlier configurations, from n =
    `warmup_cells` on, and the learning curve of a run with those of the same fold and seed, from
    epoch `warmup_epochs` on. The `best` configurations by the first objective are then trained on
    all folds and seeds. The tables show the rows of the study `compare` beside them.
    """

    sampler: Sampler = "tpe"
    sampler_seed: Annotated[int, Range(0, 2**32 - 1)] = 0
    trials: Annotated[int, Range(1, MOST_TRIALS)] = 20
    pruner: Pruner = "median"
    startup_trials: Trials = 5
    warmup_cells: Annotated[int, Range(1, MOST_TRIALS)] = 1
    warmup_epochs: Trials = 5
    best: Annotated[int, Range(1, MOST_BEST)] = 3
    compare: str | None = None

    def __post_init__(self) -> None:
        check_numbers(self)


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """A validated search space.

    `folds` (empty: all that there are) and `cell_seeds` judge a configuration, `seeds` the best.
    """

    name: str
    title: str
    base: Mapping[str, Any]
    parameters: tuple[Parameter, ...]
    search: SearchSpec
    objectives: tuple[Objective, ...]
    folds: tuple[int, ...]
    cell_seeds: tuple[int, ...]
    seeds: tuple[int, ...]
    overrides: tuple[str, ...] = field(default=())
    systems: Systems = field(default_factory=lambda: SYSTEMS)

    @property
    def size(self) -> int | None:
        """Number of configurations; None if a parameter is a range without a step."""
        counts = [parameter.num_values for parameter in self.parameters]
        return None if None in counts else math.prod(filter(None, counts))

    def fold_seeds(self, num_folds: int) -> tuple[tuple[int, int], ...]:
        """The (fold, seed) pairs that judge a configuration; `UserError` for an unknown fold."""
        for fold in self.folds:
            if fold > num_folds:
                raise UserError(
                    f"{self.name}.search.folds: expected numbers from 1 to {num_folds}, got {fold}"
                )
        folds = self.folds or range(1, num_folds + 1)
        return tuple((fold, seed) for seed in self.cell_seeds for fold in folds)

    def grid(self) -> list[dict[str, Any]]:
        """All configurations; `UserError` if they are countless or more than `MOST_IN_GRID`."""
        if self.size is not None and self.size > MOST_IN_GRID:
            raise UserError(
                f"{self.name}.space: expected at most {MOST_IN_GRID:,} configurations for the "
                f"sampler grid, got {shown(self.size)}; narrow it, or set search.sampler"
            )
        grids = []
        for parameter in self.parameters:
            if parameter.grid is None:
                raise UserError(
                    f"{self.name}.space.{parameter.key}: expected a step or choices for the "
                    "sampler grid, got a range of all numbers; add step, or set search.sampler"
                )
            grids.append(parameter.grid)
        names = [parameter.key for parameter in self.parameters]
        return [dict(zip(names, values, strict=True)) for values in itertools.product(*grids)]

    @property
    def first_row(self) -> Row:
        """The row in which every parameter has its first value."""
        return self.row({p.key: p.values[0] for p in self.parameters})

    def row(self, values: Mapping[str, Any]) -> Row:
        """The row with these values of the parameters, by key, on top of the base."""
        nested: dict[str, Any] = {"name": "configuration"}
        for key, value in values.items():
            *path, leaf = key.split(".")
            place = nested
            for part in path:
                place = place.setdefault(part, {})
            place[leaf] = value
        return parse_row(self.name, nested, self.base, self.overrides, self.systems)


def describe(values: Mapping[str, Any]) -> str:
    """A configuration in a line, such as ``text_encoder_layers 1, width 128``."""
    return ", ".join(
        f"{key.rpartition('.')[2]} {value:.3g}"
        if isinstance(value, float)
        else f"{key.rpartition('.')[2]} {value}"
        for key, value in values.items()
    )


def load_space(name: str, overrides: Sequence[str] = ()) -> SearchSpace:
    """The search space of that name in `search_spaces`, or in the YAML file at that path.

    Raises `UserError`, which says where, for any value that is unknown, missing or of the wrong
    type, and for a space whose first configuration cannot be built.
    """
    path, values = load_yaml(name)
    if not is_space(values):
        raise UserError(f"{name}: expected a key space, found none; use mlt-ray run {name}")
    return parse_space(path, values, overrides)


def with_changes(space: SearchSpace, **changes: int | None) -> SearchSpace:
    """The space with other values of its `SearchSpec`; None leaves one as it is."""
    given = {key: value for key, value in changes.items() if value is not None}
    return replace(space, search=replace(space.search, **given))  # type: ignore[arg-type]


def parse_space(path: Path, values: Any, overrides: Sequence[str] = ()) -> SearchSpace:
    """The search space that a YAML file's values describe."""
    name = path.stem
    check_keys(name, values, _KEYS)
    base = values.get("base", {})
    check_keys(f"{name}.base", base, SETTINGS)
    space = values["space"]
    if not isinstance(space, Mapping) or not space:
        raise UserError(f"{name}.space: expected parameters by key, got {space!r}")
    parameters = tuple(_parameter(f"{name}.space", str(k), v) for k, v in space.items())
    search = dict(values.get("search", {}))
    known = ("objectives", "folds", "seeds", *(f.name for f in fields(SearchSpec)))
    check_keys(f"{name}.search", search, known)
    objectives = _objectives(f"{name}.search", search.pop("objectives", ["dev_ua"]))
    folds = _folds(f"{name}.search", search.pop("folds", []))
    seeds = parse_seeds(f"{name}.search", search.pop("seeds", [1]))
    spec = parse(SearchSpec, search, f"{name}.search")
    if len(objectives) > 1 and spec.pruner != "none":
        raise UserError(
            f"{name}.search.pruner: expected none with several objectives, got {spec.pruner}, "
            "which needs one; remove objectives or set pruner: none"
        )
    systems = load_systems(values.get("models", []), path.parent, f"{name}.models")
    parsed = SearchSpace(
        name=name,
        title=str(values.get("title", name)),
        base=base,
        parameters=parameters,
        search=spec,
        objectives=objectives,
        folds=folds,
        cell_seeds=seeds,
        seeds=parse_seeds(name, values.get("seeds", [1, 2, 3])),
        overrides=tuple(overrides),
        systems=systems,
    )
    if spec.sampler == "grid":
        parsed.grid()
    first = parsed.first_row  # refuses what cannot be built
    _check_values(parsed, {**_SECTIONS, "model": type(first.model)})
    return parsed


_SECTIONS: Final[Mapping[str, type]] = {
    "folds": FoldSpec,
    "features": FeatureSpec,
    "training": TrainingSpec,
}


def _check_values(space: SearchSpace, sections: Mapping[str, type]) -> None:
    """`UserError` for a choice, or an end of a range, that its key cannot have.

    A search that varies the system itself varies what a key of the model may be.
    """
    varies_system = any(parameter.key == "model.system" for parameter in space.parameters)
    for parameter in space.parameters:
        section, *path = parameter.key.split(".")
        if section == "model" and varies_system:
            continue
        for value in parameter.values:
            check_value(sections[section], path, value, f"{space.name}.space.{parameter.key}")


def _parameter(where: str, key: str, values: Any) -> Parameter:
    if key.partition(".")[0] not in SECTIONS or "." not in key:
        raise UserError(f"{where}.{key}: expected section.key, such as model.width")
    where = f"{where}.{key}"
    check_keys(where, values, (*_KINDS, "step"))
    kinds = [k for k in _KINDS if k in values]
    if len(kinds) != 1:
        raise UserError(f"{where}: expected one of {', '.join(_KINDS)}, got {values!r}")
    [kind] = kinds
    given, step = values[kind], values.get("step", 1 if kind == "int" else None)
    if not isinstance(given, list) or not given:
        raise UserError(f"{where}.{kind}: expected a list, got {given!r}")
    if kind == "choice":
        if not all(isinstance(v, str | int | float | bool | None) for v in given):
            raise UserError(f"{where}.choice: expected texts, numbers or null, got {shown(given)}")
        return Parameter(key=key, kind="choice", values=tuple(given))
    _check_range(where, kind, given, step)
    ends = [int(v) if kind == "int" else float(v) for v in given]
    return Parameter(key=key, kind=kind, values=tuple(ends), step=step)  # type: ignore[arg-type]


def _check_range(where: str, kind: str, ends: list[Any], step: Any) -> None:
    numbers = (int,) if kind == "int" else (int, float)
    right = len(ends) == 2 and all(type(v) in numbers for v in ends) and ends[0] < ends[1]
    if not right or not all(end in FINITE for end in ends):
        raise UserError(f"{where}.{kind}: expected [lowest, highest], got {shown(ends)}")
    if kind == "log" and (ends[0] <= 0 or step is not None):
        raise UserError(f"{where}.log: expected two numbers above 0 and no step, got {ends!r}")
    if step is not None and (type(step) not in numbers or not 0 < step <= ends[1] - ends[0]):
        raise UserError(
            f"{where}.step: expected a number up to {ends[1] - ends[0]}, got {shown(step)}"
        )
    if step is not None and kind == "float" and (ends[1] - ends[0]) / step > MOST_STEPS:
        raise UserError(
            f"{where}.step: expected at most {MOST_STEPS:,} steps from {ends[0]} to {ends[1]}, got "
            f"{step!r}; leave it out to allow every number"
        )


def _objectives(where: str, names: Any) -> tuple[Objective, ...]:
    known = get_args(Objective)
    if not isinstance(names, list) or not names or len(set(names)) < len(names):
        raise UserError(f"{where}.objectives: expected a list of names, got {names!r}")
    for name in names:
        if name not in known:
            raise unknown_key(f"{where}.objectives", name, known, "objective")
    return tuple(names)


def _folds(where: str, folds: Any) -> tuple[int, ...]:
    right = isinstance(folds, list) and all(type(f) is int and f in FOLDS for f in folds)
    if not right or len(set(folds)) < len(folds):
        raise UserError(
            f"{where}.folds: expected each fold once, a number {FOLDS}, got {shown(folds)}"
        )
    return tuple(folds)
