"""Imports go downward only, and what is heavy is loaded by nobody who does not need it."""

import ast
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import mlt_ray
from tests.absent import ABSENT, GUARD

PACKAGE = Path(mlt_ray.__file__).parent

LAYERS = (
    {"errors", "labels"},
    {"parsing", "metrics"},
    {"spec", "documents"},
    {"storage"},
    {"corpus", "batch"},
    {"encoders"},
    {"features", "models"},
    {"training", "studies"},
    {"reports-or-above"},
)
"""From low to high. A part imports itself and lower layers, never a part beside it."""

LEVELS = {part: level for level, parts in enumerate(LAYERS) for part in parts}

ABOVE = {
    *("reports", "planning", "scheduling", "tracking", "search", "display", "workflows", "cli"),
}

ORCHESTRATORS = {"ray", "mlflow", "optuna"}
MAY_ORCHESTRATE = {"reports-or-above"}


def modules() -> list[Path]:
    return sorted(p.relative_to(PACKAGE) for p in PACKAGE.rglob("*.py") if p.name != "__init__.py")


def part_of(module: Path) -> str:
    """The layer's name for a module: its folder under the package, or its own name."""
    part = module.parts[0].removesuffix(".py")
    return "reports-or-above" if part in ABOVE else part


def imported(module: Path) -> Iterator[str]:
    """Dotted names that a module imports, at its top or inside a function."""
    for node in ast.walk(ast.parse((PACKAGE / module).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports relatively"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_part_of_the_package_has_its_layer() -> None:
    assert {part_of(m) for m in modules()} <= set(LEVELS)


@pytest.mark.parametrize("module", modules(), ids=str)
def test_a_module_imports_only_from_lower_layers(module: Path) -> None:
    own = part_of(module)
    for name in imported(module):
        top, _, rest = name.partition(".")
        if top == "mlt_ray" and rest and rest != "__version__":
            part = part_of(Path(*rest.split(".")))
            allowed = part == own or LEVELS[part] < LEVELS[own]
            assert allowed, f"{module} imports {name}, which is not below it"


@pytest.mark.parametrize("module", modules(), ids=str)
def test_below_orchestration_nothing_knows_ray_mlflow_or_optuna(module: Path) -> None:
    if part_of(module) in MAY_ORCHESTRATE:
        return
    assert not ORCHESTRATORS & {name.split(".")[0] for name in imported(module)}


def loaded_by(*names: str) -> set[str]:
    """Top-level packages that a fresh process has loaded after importing `names`."""
    code = (
        f"import importlib, json, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        f"print(json.dumps(sorted({{m.split('.')[0] for m in sys.modules}})))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_training_loads_no_orchestration() -> None:
    loaded = loaded_by(
        "mlt_ray.training.loop",
        "mlt_ray.models.registry",
        "mlt_ray.features.batching",
        "mlt_ray.corpus.readers.read",
    )
    assert {"torch", "mlt_ray"} <= loaded
    assert not loaded & ORCHESTRATORS


BELOW_ORCHESTRATION = {
    part for part, level in LEVELS.items() if level <= LEVELS["training"]
} - MAY_ORCHESTRATE


def test_what_trains_is_imported_without_what_only_makes_features_or_plans() -> None:
    """A machine that only trains needs torch and transformers, and nothing of `ABSENT`."""
    names = [
        f"mlt_ray.{'.'.join(module.with_suffix('').parts)}"
        for module in modules()
        if part_of(module) in BELOW_ORCHESTRATION
    ]
    assert "mlt_ray.training.loop" in names
    code = f"{GUARD}\nimport importlib\nfor name in {names!r}: importlib.import_module(name)\n"
    code += f"assert not set({ABSENT!r}) & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_command_line_starts_without_the_heavy_libraries() -> None:
    loaded = loaded_by("mlt_ray.cli.app")
    assert "mlt_ray" in loaded
    assert not loaded & (ORCHESTRATORS | {"torch", "pandas", "sklearn", "transformers"})


def test_planning_reports_and_the_driver_need_no_torch() -> None:
    loaded = loaded_by("mlt_ray.studies.study", "mlt_ray.reports.tables", "mlt_ray.workflows.run")
    assert not loaded & (ORCHESTRATORS | {"torch", "pandas", "sklearn", "transformers"})
    driver = loaded_by("mlt_ray.scheduling.execute")
    assert "ray" in driver
    assert "torch" not in driver


def test_a_store_in_a_folder_loads_nothing_that_speaks_to_a_network() -> None:
    code = (
        "import sys; from mlt_ray.storage.store import Store\n"
        "from mlt_ray.storage.lease import acquire\n"
        "acquire(Store(sys.argv[1]), 'run', 'owner').release()\n"
        "print({'pyarrow', 'fsspec', 'mlt_ray.storage.remote'} & set(sys.modules))"
    )
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", code, folder]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
