"""Finds every system by its name in study files: the folder ``mlt_ray/models/NAME``.

``values.py`` in the folder holds the configuration: one subclass of `ModelSpec` with the field
``system: str = "NAME"``. All of them are imported at once, so they import no torch.
``network.py`` holds the network, a class with ``@builds(NameSpec)`` above; a system that is
no network has no such file, but an entry in `mlt_ray.training.fit.FITTERS`. The file is imported
when the first network is built. `mlt_ray.models.system.System` says what a network must keep to.
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
    """The configuration class in ``values.py`` whose field `system` is the folder's name."""
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
"""Configuration classes by the name of their system, in alphabetical order."""


def parse_model(values: Mapping[str, Any], where: str) -> ModelSpec:
    """The configuration in `values`; their key ``system`` decides its class.

    `UserError` for a missing or unknown system, an unknown key or a value out of bounds; it begins
    with `where`.
    """
    if "system" not in values:
        raise UserError(f"{where}: key system is missing; known: {', '.join(SYSTEMS)}")
    name = values["system"]
    if not isinstance(name, str) or name not in SYSTEMS:
        raise unknown_key(f"{where}.system", name, SYSTEMS, "system")
    return parse(SYSTEMS[name], values, where)


def builds(values: type[ModelSpec]) -> Callable[[Network], Network]:
    """Decorator of a network: configurations of class `values` build it.

    It is called as ``Network(spec, sizes)``, with such a configuration and the `InputSizes`.
    """

    def register(network: Network) -> Network:
        _NETWORKS[values] = network
        return network

    return register


def build_model(spec: ModelSpec, sizes: "InputSizes") -> "System":
    """A new network on the current default device, its weights drawn by torch's global generator.

    `ValueError` for a system that is no network.
    """
    if not is_network(spec):
        raise ValueError(f"system {spec.system} is no network: there is no module to build")
    importlib.import_module(_network_module(spec))
    return _NETWORKS[type(spec)](spec, sizes)


def is_network(spec: ModelSpec) -> bool:
    """True if the system is a network, which is trained step by step."""
    return importlib.util.find_spec(_network_module(spec)) is not None


def _network_module(spec: ModelSpec) -> str:
    return f"{__package__}.{spec.system}.network"
