"""Every system by its name in study files: the folder `mlt_ray/models/NAME`.

Its `values.py` holds the configuration, which needs no torch; its `network.py`, if the system is a
network, the module that `builds` it. The module is imported when the first one is built.
"""

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mlt_ray.errors import UserError
from mlt_ray.parsing import parse, unknown_key
from mlt_ray.spec import ModelSpec

if TYPE_CHECKING:
    from mlt_ray.batch import InputSizes
    from mlt_ray.models.system import System

Network = TypeVar("Network", bound="type[System]")

_NETWORKS: "dict[type[ModelSpec], Callable[[Any, InputSizes], System]]" = {}


def _values(system: str) -> type[ModelSpec]:
    """The configuration class of a system: the one in its `values.py` that bears its name."""
    module = importlib.import_module(f"{__package__}.{system}.values")
    found = [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type)
        and issubclass(kind, ModelSpec)
        and getattr(kind, "system", None) == system
    ]
    if len(found) != 1:
        raise TypeError(
            f"{module.__name__}: expected one ModelSpec with system = {system!r}, "
            f"found {len(found)}"
        )
    return found[0]


SYSTEMS: Mapping[str, type[ModelSpec]] = {
    file.parent.name: _values(file.parent.name)
    for file in sorted(Path(__file__).parent.glob("*/values.py"))
}
"""Configuration classes by the name of their system."""


def parse_model(values: Mapping[str, Any], where: str) -> ModelSpec:
    """The configuration that `values` describe; its class follows from their key ``system``."""
    if "system" not in values:
        raise UserError(f"{where}: key system is missing; known: {', '.join(SYSTEMS)}")
    name = values["system"]
    if not isinstance(name, str) or name not in SYSTEMS:
        raise unknown_key(f"{where}.system", name, SYSTEMS, "system")
    return parse(SYSTEMS[name], values, where)


def builds(values: type[ModelSpec]) -> Callable[[Network], Network]:
    """Decorator: registers a network as what configurations of class `values` build.

    The network is called with the configuration and the `InputSizes`.
    """

    def register(network: Network) -> Network:
        _NETWORKS[values] = network
        return network

    return register


def build_model(spec: ModelSpec, sizes: "InputSizes") -> "System":
    """A freshly initialised module; its weights come from torch's global generator.

    `ValueError` for a system that is no network.
    """
    if not is_network(spec):
        raise ValueError(f"system {spec.system} is no network: there is no module to build")
    importlib.import_module(_network_module(spec))
    return _NETWORKS[type(spec)](spec, sizes)


def is_network(spec: ModelSpec) -> bool:
    """True if the system has a module to build, which is trained step by step."""
    return importlib.util.find_spec(_network_module(spec)) is not None


def _network_module(spec: ModelSpec) -> str:
    return f"{__package__}.{spec.system}.network"
