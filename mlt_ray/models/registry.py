"""Every system by its name in study files."""

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from mlt_ray.errors import UserError
from mlt_ray.models.specs import (
    BertSpec,
    ClassicalSpec,
    LiSpec,
    MultigranularitySpec,
    MultilevelSpec,
    XuSpec,
    YoonSpec,
)
from mlt_ray.parsing import parse, unknown_key
from mlt_ray.spec import ModelSpec

if TYPE_CHECKING:
    from mlt_ray.batch import InputSizes
    from mlt_ray.models.system import System


class Entry(NamedTuple):
    """A configuration class, and the network that it configures; None where it is none.

    The network is named, ``module:class``: importing one takes torch, which takes a second.
    """

    spec: type[ModelSpec]
    network: str | None


SYSTEMS = {
    "multilevel": Entry(MultilevelSpec, "mlt_ray.models.multilevel:Multilevel"),
    "yoon": Entry(YoonSpec, "mlt_ray.models.yoon:Yoon"),
    "xu": Entry(XuSpec, "mlt_ray.models.xu:Xu"),
    "li": Entry(LiSpec, "mlt_ray.models.li:Li"),
    "bert": Entry(BertSpec, "mlt_ray.models.bert:Bert"),
    "multigranularity": Entry(
        MultigranularitySpec, "mlt_ray.models.multigranularity:Multigranularity"
    ),
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


def build_model(spec: ModelSpec, sizes: "InputSizes") -> "System":
    """A freshly initialised module; its weights come from torch's global generator.

    `ValueError` for a system that is no network.
    """
    network = SYSTEMS[spec.system].network
    if network is None:
        raise ValueError(f"system {spec.system} is no network: there is no module to build")
    module, _, name = network.partition(":")
    system: System = getattr(importlib.import_module(module), name)(spec, sizes)
    return system


def is_network(spec: ModelSpec) -> bool:
    """Whether there is a module to build, and so something to train step by step."""
    return SYSTEMS[spec.system].network is not None
