"""Finds every system by its name in study files, and builds networks.

A system NAME of this package is the folder ``mlt_ray/models/NAME``; one of a user's own is a file
that a study names (`mlt_ray.models.own`). Both register a network by ``@builds``.

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
from mlt_ray.libraries import ALWAYS, FEATURES
from mlt_ray.models.faults import explained
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

EXTRAS = tuple(name for name in FEATURES if name not in ALWAYS)
"""Inputs that a configuration can ask for by `ModelSpec.extras`."""


def parse_model(
    values: Mapping[str, Any], where: str, systems: Mapping[str, type[ModelSpec]] = SYSTEMS
) -> ModelSpec:
    """The configuration in `values`; their key ``system`` decides its class, one of `systems`.

    `UserError` for a missing or unknown system, an unknown key or a value out of bounds; it begins
    with `where`.
    """
    if not isinstance(values, Mapping):
        raise UserError(f"{where}: expected a mapping of keys, got {values!r}")
    if "system" not in values:
        raise UserError(f"{where}: key system is missing; known: {', '.join(systems)}")
    name = values["system"]
    if not isinstance(name, str) or name not in systems:
        raise unknown_key(f"{where}.system", name, systems, "system")
    kind = systems[name]
    with explained(kind.source):
        spec = parse(kind, values, where)
        unknown = [extra.name for extra in spec.extras if extra.name not in EXTRAS]
    if unknown:
        raise unknown_key(f"{where}.extras", unknown[0], EXTRAS, "input")
    return spec


def builds(values: type[ModelSpec]) -> Callable[[Network], Network]:
    """Decorator of a network: configurations of class `values` build it.

    It is called as ``Network(spec, sizes)``, with such a configuration and the `InputSizes`.
    `TypeError` for a class that is no `ModelSpec` or no `System`, or for values that belong to a
    system of this package.
    """
    if not (isinstance(values, type) and issubclass(values, ModelSpec)):
        raise TypeError(f"expected @builds(MySpec) with a subclass of ModelSpec, got {values!r}")
    owner = SYSTEMS.get(getattr(values, "system", ""))

    def register(network: Network) -> Network:
        from mlt_ray.models.system import System

        if not issubclass(network, System):
            raise TypeError(f"expected a subclass of mlt_ray.models.System, got {network.__name__}")
        if owner is values and not network.__module__.startswith(f"{__package__}."):
            raise TypeError(
                f"expected values of its own for {network.__name__}, got {values.__name__} of "
                f"mlt_ray; write a subclass of it with a system of its own"
            )
        _NETWORKS[values] = network
        return network

    return register


def build_model(spec: ModelSpec, sizes: "InputSizes") -> "System":
    """A new network on the current default device, its weights drawn by torch's global generator.

    `ValueError` for a system that is no network.
    """
    if not is_network(spec):
        raise ValueError(f"system {spec.system} is no network: there is no module to build")
    if not spec.source:
        importlib.import_module(_network_module(spec))
        return _NETWORKS[type(spec)](spec, sizes)
    from mlt_ray.models.contract import keep_to_contract

    with explained(spec.source):
        network = _NETWORKS[type(spec)](spec, sizes)
    keep_to_contract(network, spec.source, sizes.num_classes)
    return network


def is_network(spec: ModelSpec) -> bool:
    """True if the system is a network, which is trained step by step."""
    return bool(spec.source) or importlib.util.find_spec(_network_module(spec)) is not None


def registered(module: str) -> list[type[ModelSpec]]:
    """The configuration classes of a module for which a network is registered, in that order."""
    return [values for values in _NETWORKS if values.__module__ == module]


def forget(module: str) -> None:
    """Take back what a module has registered."""
    for values in registered(module):
        del _NETWORKS[values]


def _network_module(spec: ModelSpec) -> str:
    return f"{__package__}.{spec.system}.network"
