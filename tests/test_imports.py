"""Imports go downward only, and what is heavy is loaded by nobody who does not need it."""

import ast
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import mlt_ray
from tests.absent import ABSENT, GUARD

PACKAGE = Path(mlt_ray.__file__).parent

FLOORS = (
    {"errors", "labels", "logs", "masking", "machine", "signals"},
    {"parsing", "metrics", "libraries"},
    {"spec", "documents"},
    {"storage"},
    {"corpus", "batch"},
    {"encoders"},
    {"features", "models"},
    {"training", "studies"},
    {"inference"},
    {"planning", "reports"},
    {"scheduling", "tracking", "search"},
    {"display"},
    {"workflows"},
    {"cli"},
    {"__main__"},
)
"""The rooms from the ground up. A room imports itself and lower floors, never one beside it."""

FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

ENGINES = {
    "ray": {"scheduling"},
    "mlflow": {"tracking"},
    "optuna": {"search"},
    "transformers": {"encoders"},
    "opensmile": {"features"},
    "onnx": {"inference"},
    "onnxruntime": {"inference"},
}
"""Each engine, and the only rooms that import it."""

ORCHESTRATION = {"ray", "mlflow", "optuna"}

MOST_FILES = 16
"""Files in a folder, besides its `__init__.py`."""


def modules() -> list[Path]:
    return sorted(p.relative_to(PACKAGE) for p in PACKAGE.rglob("*.py") if p.name != "__init__.py")


def room_of(module: Path) -> str:
    """The folder under the package that a module stands in, or its own name."""
    return module.parts[0].removesuffix(".py")


def imported(module: Path) -> Iterator[str]:
    """Dotted names that a module imports, at its top or inside a function."""
    for node in ast.walk(ast.parse((PACKAGE / module).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports relatively"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_room_has_its_floor() -> None:
    assert {room_of(module) for module in modules()} == set(FLOOR)


@pytest.mark.parametrize("module", modules(), ids=str)
def test_a_module_imports_only_from_lower_floors(module: Path) -> None:
    own = room_of(module)
    for name in imported(module):
        top, _, rest = name.partition(".")
        if top == "mlt_ray" and rest and rest != "__version__":
            room = rest.split(".")[0]
            allowed = room == own or FLOOR[room] < FLOOR[own]
            assert allowed, f"{module} imports {name}, which is not below it"


@pytest.mark.parametrize("module", modules(), ids=str)
def test_an_engine_is_imported_in_its_own_room_alone(module: Path) -> None:
    for engine in {name.partition(".")[0] for name in imported(module)} & set(ENGINES):
        rooms = ENGINES[engine]
        assert room_of(module) in rooms, f"{module} imports {engine}, which is for {rooms} alone"


def test_every_engine_is_imported_by_some_room() -> None:
    """Else a rule above would hold a name that nobody uses any more."""
    everything = {name.partition(".")[0] for module in modules() for name in imported(module)}
    assert set(ENGINES) <= everything


def test_a_folder_has_few_files() -> None:
    counts = Counter(module.parent for module in modules())
    assert {str(f): n for f, n in counts.items() if n > MOST_FILES} == {}


def test_no_two_modules_import_each_other() -> None:
    """Not even through others, and not even inside a function."""
    names = {f"mlt_ray.{'.'.join(m.with_suffix('').parts)}": m for m in modules()}
    arrows = {
        name: {m for m in (*found, *(f.rpartition(".")[0] for f in found)) if m in names}
        for name, found in ((n, set(imported(m))) for n, m in names.items())
    }
    TopologicalSorter(arrows).prepare()  # raises CycleError, which names the circle


def loaded_by(*names: str) -> set[str]:
    """Top-level packages that a fresh process has loaded after importing `names`."""
    code = (
        f"import importlib, json, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        f"print(json.dumps(sorted({{m.split('.')[0] for m in sys.modules}})))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_training_loads_no_engine_of_orchestration() -> None:
    loaded = loaded_by(
        "mlt_ray.training.loop",
        "mlt_ray.models.registry",
        "mlt_ray.features.batching",
        "mlt_ray.corpus.readers.read",
    )
    assert {"torch", "mlt_ray"} <= loaded
    assert not loaded & ORCHESTRATION


WHAT_TRAINS = {room for room, floor in FLOOR.items() if floor <= FLOOR["training"]}


def test_what_trains_is_imported_without_what_only_makes_features_or_plans() -> None:
    """A machine that only trains needs torch and transformers, and nothing of `ABSENT`."""
    names = [
        f"mlt_ray.{'.'.join(module.with_suffix('').parts)}"
        for module in modules()
        if room_of(module) in WHAT_TRAINS
    ]
    assert "mlt_ray.training.loop" in names
    code = f"{GUARD}\nimport importlib\nfor name in {names!r}: importlib.import_module(name)\n"
    code += f"assert not set({ABSENT!r}) & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_command_line_starts_without_the_heavy_libraries() -> None:
    loaded = loaded_by("mlt_ray.cli.app")
    assert "mlt_ray" in loaded
    assert not loaded & (ORCHESTRATION | {"torch", "pandas", "sklearn", "transformers"})


def test_the_package_itself_loads_nothing_but_its_errors() -> None:
    loaded = loaded_by("mlt_ray")
    assert not loaded & (ORCHESTRATION | {"torch", "pandas", "numpy", "rich", "yaml"})


def test_planning_reports_and_the_driver_need_no_torch() -> None:
    stories = ("mlt_ray.workflows.notebook", "mlt_ray.workflows.search")
    loaded = loaded_by("mlt_ray.planning.backlog", "mlt_ray.reports.tables", *stories)
    assert not loaded & (ORCHESTRATION | {"torch", "pandas", "sklearn", "transformers"})
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
