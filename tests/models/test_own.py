"""Models of one's own: what their files may hold, what is refused, and how they reach a worker."""

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest

from mlt_ray.batch import Batch, InputSizes
from mlt_ray.errors import UserError
from mlt_ray.models.faults import explained
from mlt_ray.models.own import Systems, file_of, load_systems
from mlt_ray.models.registry import SYSTEMS, build_model, is_network, parse_model
from mlt_ray.models.system import System
from mlt_ray.spec import ModelSpec, Run, RunSpec
from tests.models.checks import SystemChecks

EXAMPLE = Path(__file__).parents[2] / "docs/own_model/mean_frames.py"
TEXT = EXAMPLE.read_text()

MakeBatch = Callable[..., Batch]


def loaded(*names: str, folder: Path = EXAMPLE.parent) -> Systems:
    return load_systems(list(names), folder, "mine.models")


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Systems]:
    """The systems of a file ``mine.py`` with this text."""

    def write_and_load(text: str) -> Systems:
        (tmp_path / "mine.py").write_text(text)
        return loaded("mine.py", folder=tmp_path)

    return write_and_load


def spec_of(systems: Systems, **values: object) -> ModelSpec:
    return parse_model({"system": "mean_frames", **values}, "model", systems)


class TestMeanFrames(SystemChecks):
    """The documented example keeps to what every network must keep to."""

    specs: ClassVar = {"plain": spec_of(loaded("mean_frames.py"), width=16)}
    network: ClassVar = System

    def dropout_rates(self, spec: ModelSpec) -> list[float]:
        return [0.1]

    def by_heart(self, spec: ModelSpec) -> tuple[float, int]:
        return 3e-2, 300

    def test_a_system_is_built_from_its_name(self, spec: ModelSpec, sizes: InputSizes) -> None:
        assert type(build_model(spec, sizes)).__name__ == "MeanFrames"
        assert is_network(spec)


def test_the_documented_file_has_at_most_40_lines_and_stands_in_its_page() -> None:
    assert len(TEXT.splitlines()) <= 40
    assert f"```python\n{TEXT}```" in EXAMPLE.parents[1].joinpath("model.md").read_text()


def test_the_content_of_the_file_is_in_the_digest_and_its_folder_is_not(
    load: Callable[..., Systems], tmp_path: Path
) -> None:
    there, same = spec_of(loaded("mean_frames.py")), tmp_path / "other" / "mean_frames.py"
    same.parent.mkdir()
    same.write_text(TEXT)
    elsewhere = spec_of(loaded(str(same)))
    assert elsewhere == there
    same.write_text(TEXT + "#")
    changed = spec_of(loaded(str(same)))
    digests = [
        Run(spec=RunSpec(corpus="c", model=model), fold=1, seed=1).digest
        for model in (there, elsewhere, changed)
    ]
    assert digests[0] == digests[1] != digests[2]
    assert there != changed


def test_the_specification_names_the_file_and_that_of_our_systems_none() -> None:
    spec = RunSpec(corpus="c", model=spec_of(loaded("mean_frames.py")))
    name, _, digest = spec.as_dict()["model"]["source"].partition("@")
    assert (name, len(digest)) == ("mean_frames.py", 16)
    ours = RunSpec(corpus="c", model=SYSTEMS["multilevel"]())
    assert "source" not in ours.as_dict()["model"]


def test_another_process_gets_the_file_along_with_the_run(tmp_path: Path) -> None:
    path = tmp_path / "mean_frames.py"
    path.write_text(TEXT)
    run = Run(spec=RunSpec(corpus="c", model=spec_of(loaded(str(path)), width=24)), fold=2, seed=3)
    sent = tmp_path / "run"
    sent.write_bytes(pickle.dumps(run))
    path.unlink()
    code = (
        "import pickle, sys; from pathlib import Path\n"
        "run = pickle.loads(Path(sys.argv[1]).read_bytes())\n"
        "from dataclasses import replace\n"
        "print(replace(run).digest, run.spec.model.width, run.spec.model.can_be_packed)"
    )
    command = [sys.executable, "-c", code, str(sent)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.split() == [run.digest, "24", "True"]
    assert copy.deepcopy(run) == run


def test_the_file_is_run_once_in_a_process(load: Callable[..., Systems]) -> None:
    text = TEXT + "\nimport builtins\nbuiltins.times = getattr(builtins, 'times', 0) + 1\n"
    assert load(text)["mean_frames"] is load(text)["mean_frames"]
    assert vars(sys.modules["builtins"]).pop("times") == 1


def test_a_copy_of_the_file_is_known_by_its_source() -> None:
    file = file_of(spec_of(loaded("mean_frames.py")))
    assert file is not None
    assert file.content == EXAMPLE.read_bytes()
    assert file_of(SYSTEMS["multilevel"]()) is None


def test_several_systems_may_stand_in_a_file(load: Callable[..., Systems]) -> None:
    second = TEXT.partition("@dataclass")[2].replace("mean_frames", "second")
    second = second.replace("MeanFrames", "Second")
    systems = load(f"{TEXT}\n\n@dataclass{second}")
    assert set(systems) == {*SYSTEMS, "mean_frames", "second"}
    # A file whose text is another version of the same takes nothing from the first.
    assert set(load(TEXT)) == {*SYSTEMS, "mean_frames"}


def line_of(text: str) -> int:
    """The line of the example that holds a text."""
    return next(n for n, line in enumerate(TEXT.splitlines(), 1) if text in line)


SPEC_LINE = line_of("class MeanFramesSpec")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"mean_frames"', '"multilevel"', f"mine.py:{SPEC_LINE}: system multilevel is one of mlt_"),
        ("@builds(MeanFramesSpec)\n", "", "mine.py: expected a class with @builds(…) above, found"),
        ("def forward(", "def forward", f"mine.py:{line_of('def forward')}: SyntaxError: "),
        (
            "import torch\n",
            "import torhc\n",
            "mine.py:5: ModuleNotFoundError: No module named",
        ),
        ("import torch\n", "import torch\n1 / 0\n", "mine.py:6: ZeroDivisionError: division by z"),
        ("import torch\n", "raise SystemExit(3)\n", "mine.py:5: SystemExit: 3"),
        (", kw_only=True)", ")", None),
        ("frozen=True, ", "", f"mine.py:{SPEC_LINE - 1}: TypeError: cannot inherit non-frozen"),
        (
            "@dataclass(frozen=True, kw_only=True)\n",
            "",
            f"mine.py:{SPEC_LINE - 1}: MeanFramesSpec: expected @dataclass(frozen=True, kw_only=",
        ),
        ('    system: str = "mean_frames"\n', "", f"mine.py:{SPEC_LINE}: MeanFramesSpec: expected"),
        ("(System)", "(nn.Module)", f"mine.py:{line_of('@builds')}: TypeError: expected a subcla"),
        ("@builds(MeanFramesSpec)", "@builds", f"mine.py:{line_of('@builds')}: TypeError: expect"),
        (
            "@builds(MeanFramesSpec)",
            "from mlt_ray.models.yoon.values import YoonSpec\n@builds(YoonSpec)",
            f"mine.py:{line_of('@builds') + 1}: TypeError: expected values of its own for MeanFra",
        ),
        (
            "width: int = 64",
            "width: list[int] = None",
            f"mine.py:{SPEC_LINE}: MeanFramesSpec.width: expected int, float, str, bool, a Lite",
        ),
        (
            "width: int = 64",
            "source: str = ''",
            f"mine.py:{SPEC_LINE}: MeanFramesSpec.source: expected another name",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_a_line(
    load: Callable[..., Systems], old: str, new: str, message: str | None
) -> None:
    assert old in TEXT
    text = TEXT.replace(old, new)
    if message is None:
        assert "mean_frames" in load(text)
        return
    for _ in range(2):  # the first time leaves nothing behind
        with pytest.raises(UserError) as raised:
            load(text)
        assert str(raised.value).startswith(f"mine.models: {message}")
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("mine.py", "mine.models: expected a list such as [my_model.py], got 'mine.py'"),
        (["nowhere.py"], "mine.models: expected a Python file at .*nowhere.py, found none"),
        (["."], "mine.models: expected a Python file at .*, found none"),
        ([3], r"mine.models: expected a list such as \[my_model.py\], got \[3\]"),
    ],
)
def test_what_names_no_file_is_refused(names: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message.replace("list such as [", r"list such as \[")):
        load_systems(names, tmp_path, "mine.models")


def test_two_files_cannot_have_one_name_for_their_systems(tmp_path: Path) -> None:
    for name in ("one.py", "two.py"):
        (tmp_path / name).write_text(TEXT)
    with pytest.raises(UserError) as raised:
        loaded("one.py", "two.py", folder=tmp_path)
    assert str(raised.value) == (
        f"mine.models: two.py:{SPEC_LINE}: system mean_frames is one of one.py already; give it "
        "another name"
    )
    assert "mean_frames" in loaded("one.py", "one.py", folder=tmp_path)


def test_a_name_may_be_absolute_or_begin_at_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(EXAMPLE.parent))
    for name in ("~/mean_frames.py", str(EXAMPLE)):
        assert "mean_frames" in loaded(name, folder=tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"widht": 3}, "model: unknown key widht; did you mean width?"),
        ({"source": "x"}, "model: unknown key source; known: system, width, dropout"),
        ({"width": "wide"}, "model.width: expected int, got 'wide'"),
        (
            {"system": "mean_frame"},
            "model.system: unknown system mean_frame; did you mean mean",
        ),
    ],
)
def test_values_are_read_as_those_of_our_systems(values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as raised:
        spec_of(loaded("mean_frames.py"), **values)
    assert str(raised.value).startswith(message)


def test_an_input_that_is_not_known_is_refused(load: Callable[..., Systems]) -> None:
    extras = (
        "    @property\n    def extras(self):\n"
        "        from mlt_ray.models import ExtraInput\n"
        "        return (ExtraInput('prosodie'),)\n\n    @property\n    def reads_words"
    )
    systems = load(TEXT.replace("    @property\n    def reads_words", extras))
    with pytest.raises(UserError) as raised:
        spec_of(systems)
    assert str(raised.value) == "model.extras: unknown input prosodie; did you mean prosody?"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "self.dropout = Dropout(",
            "self.dropout = nn.Dropout(",
            ": dropout: expected mlt_ray",
        ),
        (
            "self.dropout = Dropout(spec.dropout)",
            "self.norm = nn.BatchNorm1d(3)",
            ": norm: expect",
        ),
        (
            "self.dropout = Dropout(spec.dropout)",
            "self.gru = nn.GRU(3, 5, num_layers=2, dropout=0.5)",
            ": gru: expected a GRU with dropout 0, got 0.5",
        ),
        ("sizes.frame_dim", "sizes.frame_dims", f":{line_of('self.hidden =')}: AttributeError: "),
    ],
)
def test_a_network_that_breaks_the_contract_is_not_built(
    load: Callable[..., Systems], sizes: InputSizes, old: str, new: str, message: str
) -> None:
    assert old in TEXT
    spec = spec_of(load(TEXT.replace(old, new)))
    with pytest.raises(UserError) as raised:
        build_model(spec, sizes)
    begin = "mine.py" if "AttributeError" in message else spec.source
    assert str(raised.value).startswith(f"{begin}{message}")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("sizes.num_classes", "5", "expected logits of shape (B, K) = (3, 4), a column for each"),
        (".sum(dim=1) / real.sum(dim=1)", "", "expected logits of shape (B, K) = (3, 4), a colum"),
    ],
)
def test_logits_of_another_shape_are_refused(
    load: Callable[..., Systems],
    sizes: InputSizes,
    make_batch: MakeBatch,
    old: str,
    new: str,
    message: str,
) -> None:
    spec = spec_of(load(TEXT.replace(old, new)), dropout=0.0)
    model, batch = build_model(spec, sizes), make_batch([13, 1, 7], [3, 7, 1])
    with pytest.raises(UserError) as raised:
        model.loss(batch)
    assert str(raised.value).startswith(f"{spec.source}: {message}")
    assert str(raised.value).endswith(("got (3, 5)", "got (3, 13, 4)"))


def test_an_error_in_the_forward_pass_is_told_with_its_line(
    load: Callable[..., Systems], sizes: InputSizes, make_batch: MakeBatch
) -> None:
    spec = spec_of(load(TEXT.replace("spec.width, sizes.num_classes", "3, sizes.num_classes")))
    model, batch = build_model(spec, sizes).eval(), make_batch([13, 1, 7], [3, 7, 1])
    with pytest.raises(UserError) as raised, explained(spec.source):
        model(batch)
    line = line_of("return self.classes(")
    assert str(raised.value).startswith(f"mine.py:{line}: RuntimeError: mat1 and mat2 shapes")


def test_an_error_that_has_not_passed_the_file_stays_as_it_is() -> None:
    for source in ("", spec_of(loaded("mean_frames.py")).source):
        with pytest.raises(ZeroDivisionError), explained(source):
            1 / 0  # noqa: B018


def test_values_of_our_systems_may_be_built_upon(load: Callable[..., Systems]) -> None:
    text = (
        "from dataclasses import dataclass\n"
        "from mlt_ray.models import builds\n"
        "from mlt_ray.models.xu.network import Xu\n"
        "from mlt_ray.models.xu.values import XuSpec\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class MySpec(XuSpec):\n    system: str = 'xu again'\n"
        "@builds(MySpec)\nclass Mine(Xu):\n    pass\n"
    )
    spec = parse_model({"system": "xu again"}, "model", load(text))
    assert spec.source
    assert SYSTEMS["xu"]().source == ""


NESTED = """
from __future__ import annotations
from dataclasses import dataclass, field
from typing import Literal
from mlt_ray.models import ModelSpec, System, builds

@dataclass(frozen=True)
class Inner:
    depth: int = 1

@dataclass(frozen=True, kw_only=True)
class MySpec(ModelSpec):
    system: str = "nested"
    kind: Literal["wide", "deep"] = "wide"
    inner: Inner = field(default_factory=Inner)
    limit: int | None = None

@builds(MySpec)
class Mine(System):
    pass
"""


def test_values_may_be_nested_and_reach_another_process(load: Callable[..., Systems]) -> None:
    values = {"system": "nested", "kind": "deep", "inner": {"depth": 3}, "limit": 5}
    spec = parse_model(values, "model", load(NESTED))
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert hash(copy.deepcopy(spec)) == hash(spec)


def test_nested_values_that_can_change_are_refused(load: Callable[..., Systems]) -> None:
    with pytest.raises(UserError, match=r"mine.py:12: MySpec.inner: expected int, float, .* froz"):
        load(NESTED.replace("@dataclass(frozen=True)\n", "@dataclass\n"))
