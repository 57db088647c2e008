"""Every system has a test file of its own; that of a network holds the checks of `SystemChecks`."""

import importlib
from pathlib import Path

import pytest

from mlt_ray.models import registry
from mlt_ray.models.classical.values import ClassicalSpec
from mlt_ray.models.registry import SYSTEMS, is_network
from tests.models.checks import SystemChecks

FOLDERS = sorted(file.parent for file in Path(registry.__file__).parent.glob("*/values.py"))


@pytest.mark.parametrize("system", SYSTEMS)
def test_what_is_no_network_draws_nothing_at_random(system: str) -> None:
    """A network draws its first weights. Who adds another system says what is true of it here."""
    spec = ClassicalSpec(text="tfidf") if system == "classical" else SYSTEMS[system]()
    assert spec.reads_seed == is_network(spec)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_system_has_a_test_file_of_its_own(folder: Path) -> None:
    name = folder.name
    file = Path(__file__).with_name(f"test_{name}.py")
    assert file.exists(), f"system {name} has no tests/models/{file.name}"
    if not (folder / "network.py").exists():
        return
    found = [
        kind
        for kind in vars(importlib.import_module(f"tests.models.{file.stem}")).values()
        if isinstance(kind, type) and issubclass(kind, SystemChecks) and kind is not SystemChecks
    ]
    assert found, f"system {name}: no class in tests/models/{file.name} subclasses SystemChecks"
    specs = [spec for checks in found for spec in checks.specs.values()]
    assert specs, f"system {name}: the specs in tests/models/{file.name} are empty"
    assert {type(spec) for spec in specs} == {SYSTEMS[name]}
    assert all(kind.__name__.startswith("Test") for kind in found)
