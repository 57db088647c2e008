"""Nothing that the package reads can hold code that is run: no pickle, no eval, no unsafe YAML.

Stores, corpora, encoders and databases come from shared folders and buckets. Reading a pickle runs
whatever its writer put into it.

What may run is the file of a model that the user's own study names (`OWN`), and a file of an
installed package (`RUNS_FILES`).
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import mlt_ray
from mlt_ray.documents import Loader

PACKAGE = Path(mlt_ray.__file__).parent

UNPICKLING = {
    "_pickle", "cloudpickle", "dill", "joblib", "jsonpickle", "marshal", "pickle", "shelve",
}  # fmt: skip
"""Modules, at the top or inside another package, that make objects of what they read."""

FORBIDDEN = {
    "eval", "exec", "compile", "__import__",
    "read_pickle", "unsafe_load", "full_load", "unsafe_load_all", "full_load_all",
    "CmaEsSampler", "JournalStorage",  # Optuna's: they unpickle what a study's storage holds
    "spec_from_file_location", "spec_from_loader", "exec_module", "load_module", "SourceFileLoader",
    "SourcelessFileLoader", "run_path", "run_module",
    "Tuner.restore", "torch.hub.load", "torch.jit.load", "KeyedVectors.load",
}  # fmt: skip
"""Names of functions and classes, with or without what stands before them."""

OWN = PACKAGE / "models" / "own.py"
"""The module that runs the files which a study names; it knows no store."""

RUNS_FILES = {
    OWN: ("spec_from_loader", "exec_module"),
    # g2p_en's own code for numbers, whose package cannot be imported without its data.
    PACKAGE / "corpus" / "words.py": ("spec_from_file_location", "exec_module"),
}
"""The modules that run files, and what they may call for that."""

REQUIRED = {
    "torch.load": ("weights_only", "True"),
    "yaml.load": ("Loader", "Loader"),
    "from_pretrained": ("trust_remote_code", "False"),
}
"""Calls that are safe with a certain argument only."""

REFUSED = {"allow_pickle": "False", "trust_remote_code": "False", "trusted": "()"}
"""Arguments that may have no other value, in any call (`trusted` are types that skops makes)."""


def complaints(source: str) -> Iterator[str]:
    """What in a module's source could run code that stands in data."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None) or ""
            for alias in node.names:
                name = f"{module}.{alias.name}"
                if set(name.split(".")) & (UNPICKLING | FORBIDDEN):
                    yield f"line {node.lineno}: imports {name.lstrip('.')}"
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            given = {k.arg: ast.unparse(k.value) for k in node.keywords}
            if any(_is_named(called, name) for name in FORBIDDEN):
                yield f"line {node.lineno}: calls {called}"
            for name, (argument, value) in REQUIRED.items():
                if _is_named(called, name) and given.get(argument) != value:
                    yield f"line {node.lineno}: {called} without {argument}={value}"
            for argument, value in REFUSED.items():
                if given.get(argument, value) != value:
                    yield f"line {node.lineno}: {called} with {argument}={given[argument]}"


def _is_named(called: str, name: str) -> bool:
    # Builtins have nothing before them: `model.eval()` and `re.compile()` are other functions.
    if name in ("eval", "exec", "compile", "__import__"):
        return called in (name, f"builtins.{name}")
    return called == name or called.endswith(f".{name}")


@pytest.mark.parametrize(
    "module", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_no_module_runs_code_that_stands_in_data(module: Path) -> None:
    found = list(complaints(module.read_text()))
    assert [c for c in found if not c.endswith(RUNS_FILES.get(module, ()))] == []


def test_what_runs_a_model_s_file_reads_no_store() -> None:
    assert "storage" not in OWN.read_text()
    users = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if "load_systems" in path.read_text() and path != OWN
    }
    assert users == {"studies/study.py", "studies/space.py", "inference/trained.py"}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from ray import cloudpickle",
        "import ray.cloudpickle as store",
        "from joblib import load",
        "from optuna.samplers import CmaEsSampler",
        "sampler = optuna.samplers.CmaEsSampler(seed=1)",
        "value = eval(text)",
        "exec(compile(text, '', 'exec'))",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text, Loader=yaml.Loader)",
        "yaml.unsafe_load(text)",
        "AutoModel.from_pretrained(folder)",
        "AutoModel.from_pretrained(folder, trust_remote_code=True)",
        "io.loads(content, trusted=types)",
        "tune.Tuner.restore(path, trainable)",
        "pd.read_pickle(path)",
        "importlib.util.spec_from_file_location(name, path)",
        "spec.loader.exec_module(module)",
        "runpy.run_path(path)",
    ],
)
def test_the_rule_finds_what_it_forbids(source: str) -> None:
    assert list(complaints(source))


def test_the_rule_lets_pass_what_runs_nothing() -> None:
    source = "model.eval(); re.compile('a'); np.load(path, allow_pickle=False); np.load(path)"
    assert list(complaints(source)) == []


def test_the_loader_of_yaml_makes_plain_values_only() -> None:
    assert issubclass(Loader, yaml.SafeLoader)
    with pytest.raises(yaml.constructor.ConstructorError):
        yaml.load("!!python/object/apply:os.getcwd []", Loader=Loader)
