"""Every system by its name in study files."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from mlt_ray.batch import InputSizes
from mlt_ray.errors import UserError
from mlt_ray.models.bert import Bert, BertSpec
from mlt_ray.models.classical import ClassicalSpec
from mlt_ray.models.li import Li, LiSpec
from mlt_ray.models.multigranularity import Multigranularity, MultigranularitySpec
from mlt_ray.models.multilevel import Multilevel, MultilevelSpec
from mlt_ray.models.system import System
from mlt_ray.models.xu import Xu, XuSpec
from mlt_ray.models.yoon import Yoon, YoonSpec
from mlt_ray.spec import ModelSpec, parse, unknown_key


class Entry(NamedTuple):
    """A configuration class and the module that it configures; None where it is no network."""

    spec: type[ModelSpec]
    module: type[System] | None


SYSTEMS = {
    "multilevel": Entry(MultilevelSpec, Multilevel),
    "yoon": Entry(YoonSpec, Yoon),
    "xu": Entry(XuSpec, Xu),
    "li": Entry(LiSpec, Li),
    "bert": Entry(BertSpec, Bert),
    "multigranularity": Entry(MultigranularitySpec, Multigranularity),
    "classical": Entry(ClassicalSpec, None),
}


def parse_model(values: Mapping[str, Any], where: str) -> ModelSpec:
    """The configuration that `values` describe; its class follows from their key ``system``."""
    if "system" not in values:
        raise UserError(f"{where}: key system is missing; known: {', '.join(SYSTEMS)}")
    name = values["system"]
    if not isinstance(name, str) or name not in SYSTEMS:
        raise unknown_key(f"{where}.system", name, SYSTEMS, "system")
    return parse(SYSTEMS[name].spec, values, where)


def build_model(spec: ModelSpec, sizes: InputSizes) -> System:
    """A freshly initialised module; its weights come from torch's global generator.

    `ValueError` for a system that is no network.
    """
    module = SYSTEMS[spec.system].module
    if module is None:
        raise ValueError(f"system {spec.system} is no network: there is no module to build")
    return module(spec, sizes)


def is_network(spec: ModelSpec) -> bool:
    """Whether there is a module to build, and so something to train step by step."""
    return SYSTEMS[spec.system].module is not None


def packs(spec: ModelSpec) -> bool:
    """Whether runs of this configuration are stepped by one call where they are a pack."""
    entry = SYSTEMS.get(spec.system)  # None: a system that its user has added to the fits
    return entry is not None and entry.module is not None and entry.module.vectorises(spec)
