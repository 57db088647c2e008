"""Reads study files: validated rows, each with its published score.

title: shown above the table
models: [my_model.py]      # models of one's own (`mlt_ray.models.own`), beside this file
seeds: [1, 2, 3]
base:                      # what the rows share
  labels: four             # which emotions count (`mlt_ray.studies.labels`)
  protocol: paper          # a name for values of folds (`mlt_ray.corpus.protocols`)
  folds: {by: session}
  features: {...}
  model: {system: multilevel, ...}
  training: {...}
rows:
  - name: highway network
    published: {wa: [0.730, 0.003], ua: [0.741, 0.001]}   # mean, deviation or null
    model: {text: highway}                                # what differs from the base
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlt_ray.corpus.espeak import check_language
from mlt_ray.corpus.protocols import parse_protocol
from mlt_ray.errors import UserError
from mlt_ray.labels import Labels
from mlt_ray.models.own import Systems, load_systems
from mlt_ray.models.registry import SYSTEMS, parse_model
from mlt_ray.parsing import check_keys, parse, shown
from mlt_ray.spec import DEFAULT, SECTIONS, SEEDS, FeatureSpec, FoldSpec, ModelSpec, TrainingSpec
from mlt_ray.studies.files import is_space, load_yaml
from mlt_ray.studies.labels import parse_labels
from mlt_ray.studies.overrides import WHOLE, merge, parse_overrides

_KEYS = ("title", "models", "seeds", "base", "rows")
SETTINGS = (*WHOLE, *SECTIONS)
"""Keys of base and of rows that decide numbers."""

_ROW_KEYS = ("name", "published", *SETTINGS)


@dataclass(frozen=True, kw_only=True)
class Published:
    """Scores that a paper prints: (mean, deviation or None), shares in 0–1."""

    wa: tuple[float, float | None]
    ua: tuple[float, float | None]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a table: a configuration, and its published score.

    `changes` are the options of the command, such as ``model.width=64``, that replaced values of
    the file.
    """

    name: str
    published: Published | None
    labels: Labels
    folds: FoldSpec
    features: FeatureSpec
    model: ModelSpec
    training: TrainingSpec
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Study:
    """A table to compute: its rows, and the seeds that each row is repeated with."""

    name: str
    title: str
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]


def load_study(
    name: str, overrides: Sequence[str] = (), rows: Collection[str] | None = None
) -> Study:
    """The study of that name in `search_spaces`, or in the YAML file at that path.

    `overrides` are ``section.key=value``, applied to the `rows` of these names (None: to all).
    Raises `UserError`, which says where, for any value that is unknown, missing or of the wrong
    type.
    """
    path, values = load_yaml(name)
    if is_space(values):
        raise UserError(f"{name}: expected rows, got a search space; use mlt-ray search {name}")
    return parse_study(path.stem, values, overrides, rows, path.parent)


def parse_study(
    name: str,
    values: Any,
    overrides: Sequence[str] = (),
    changed: Collection[str] | None = None,
    folder: Path = Path(),
) -> Study:
    """The study that a YAML file's values describe; `overrides` change the rows named `changed`.

    Names of models' files are relative to `folder`.
    """
    for key in SETTINGS:
        if isinstance(values, Mapping) and key in values:
            raise UserError(f"{name}.{key}: expected it in base or in a row; move it there")
    check_keys(name, values, _KEYS)
    rows = values.get("rows")
    if not isinstance(rows, list) or not rows:
        raise UserError(f"{name}.rows: expected a list of rows, got {rows!r}")
    base = values.get("base", {})
    check_keys(f"{name}.base", base, SETTINGS)
    parse_overrides(overrides)
    systems = load_systems(values.get("models", []), folder, f"{name}.models")
    parsed = tuple(
        _row(name, n, row, base, overrides, changed, systems) for n, row in enumerate(rows, start=1)
    )
    names = [r.name for r in parsed]
    for row_name in names:
        if names.count(row_name) > 1:
            raise UserError(f"{name}.rows: two rows are called {row_name}; give each its own name")
    return Study(
        name=name,
        title=str(values.get("title", name)),
        seeds=parse_seeds(name, values.get("seeds", [1, 2, 3])),
        rows=parsed,
    )


def parse_seeds(where: str, seeds: Any) -> tuple[int, ...]:
    """The seeds of a file; `UserError` if they are no list of whole numbers, each once."""
    if not isinstance(seeds, list) or not all(type(s) is int for s in seeds) or not seeds:
        raise UserError(f"{where}.seeds: expected a list of whole numbers, got {shown(seeds)}")
    for seed in seeds:
        if seed not in SEEDS:
            raise UserError(f"{where}.seeds: expected numbers {SEEDS}, got {shown(seed)}")
    if len(set(seeds)) < len(seeds):
        raise UserError(f"{where}.seeds: expected each seed once, got {shown(seeds)}")
    return tuple(seeds)


def _row(
    study: str,
    number: int,
    values: Any,
    base: Mapping[str, Any],
    overrides: Sequence[str],
    changed: Collection[str] | None,
    systems: Systems,
) -> Row:
    where = f"{study}.rows[{number}]"
    check_keys(where, values, _ROW_KEYS)
    name = values.get("name")
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise UserError(f"{where}.name: expected a text of one line, got {name!r}")
    is_changed = changed is None or values["name"] in changed
    return parse_row(study, values, base, overrides if is_changed else (), systems)


def _of_system(layers: Sequence[Mapping[str, Any]]) -> Iterator[bool]:
    """Of each layer, whether its model is of the system that the last one to name one names.

    A layer that names none has its model for the system that those before have named.
    """
    named: list[Any] = []
    for layer in layers:
        model = layer.get("model")
        own = model.get("system") if isinstance(model, Mapping) else None
        named.append(own or (named[-1] if named else None))
    return (system in (None, named[-1]) for system in named)


def parse_row(
    study: str,
    values: Mapping[str, Any],
    base: Mapping[str, Any],
    overrides: Sequence[str] = (),
    systems: Systems = SYSTEMS,
) -> Row:
    """The row of `values` on top of `base`, with `overrides` on top of both.

    Its model is one of the `systems`, and has no values that were meant for another one.
    """
    where = f"{study}.{values['name']}"
    own = {k: v for k, v in values.items() if k in SETTINGS}
    merged: dict[str, Any] = {s: {} for s in SECTIONS}
    labels: Any = "four"
    layers = (base, own, parse_overrides(overrides))
    for layer, is_of_system in zip(layers, _of_system(layers), strict=True):
        labels = layer.get("labels", labels)
        if "protocol" in layer:
            named = parse_protocol(layer["protocol"], f"{where}.protocol")
            merged["folds"] = merge(merged["folds"], named)
        sections = (k for k in SECTIONS if k in layer and (k != "model" or is_of_system))
        merged = merge(merged, {k: layer[k] for k in sections})
    folds = parse(FoldSpec, merged["folds"], f"{where}.folds")
    features = parse(FeatureSpec, merged["features"], f"{where}.features")
    if not features.is_english:
        check_language(features.language, f"{where}.features.language")
    set_by_planning = {"folds.members": folds.members, "features.vectors": features.vectors}
    set_by_planning["features.phonemizer"] = features.phonemizer
    if "num_folds" in merged["folds"]:
        set_by_planning["folds.num_folds"] = str(folds.num_folds)
    for key, value in set_by_planning.items():
        if value != DEFAULT:
            raise UserError(f"{where}.{key}: expected no value, since planning sets it; remove it")
    model = parse_model(merged["model"], f"{where}.model", systems)
    _check_states(model, features, f"{where}.features")
    return Row(
        name=values["name"],
        published=_published(values.get("published"), f"{where}.published"),
        labels=parse_labels(labels, f"{where}.labels"),
        folds=folds,
        features=features,
        model=model,
        training=parse(TrainingSpec, merged["training"], f"{where}.training"),
        changes=tuple(overrides),
    )


def _check_states(model: ModelSpec, features: FeatureSpec, where: str) -> None:
    """`UserError` if what reads an encoder's states would not get them as it must."""
    if model.frames is not None and features.frames.kind != "log_mel":
        raise UserError(
            f"{where}.frames.kind: expected none where the model reads states of its own "
            f"speech_encoder, got {features.frames.kind}; remove it"
        )
    if model.normalises_frames:
        return
    if features.frames_per_step != 1:
        raise UserError(
            f"{where}.frames_per_step: expected 1 where an encoder is fine-tuned, which reads "
            f"every state, got {features.frames_per_step}; set it to 1"
        )
    if features.pad_to_30s:
        raise UserError(
            f"{where}.pad_to_30s: expected false where an encoder is fine-tuned, which hears the "
            "recording alone, got true; remove it"
        )


def _published(values: Any, where: str) -> Published | None:
    if values is None:
        return None
    check_keys(where, values, ("wa", "ua"))
    scores = {}
    for key in ("wa", "ua"):
        pair = values.get(key)
        if not (isinstance(pair, list) and len(pair) == 2 and _is_share(pair[0])):
            raise UserError(f"{where}.{key}: expected [share in 0-1, deviation], got {pair!r}")
        if not (pair[1] is None or _is_share(pair[1])):
            raise UserError(f"{where}.{key}: expected a deviation in 0-1 or null, got {pair[1]!r}")
        scores[key] = (pair[0], pair[1])
    return Published(**scores)


def _is_share(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1
