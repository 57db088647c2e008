"""Every block of YAML and Python in the pages is read, and what else they show is still so."""

import csv
import io
import json
import math
import pkgutil
import re
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import mlt_ray
from mlt_ray.corpus.protocols import PROTOCOLS
from mlt_ray.corpus.readers.manifest import REQUIRED
from mlt_ray.documents import parse_yaml
from mlt_ray.errors import UserError
from mlt_ray.inference.prediction import Prediction
from mlt_ray.models.registry import SYSTEMS
from mlt_ray.planning.states import StatesLeft
from mlt_ray.spec import FeatureSpec, FoldSpec, FramesSpec, TrainingSpec
from mlt_ray.studies.files import is_space
from mlt_ray.studies.space import parse_space
from mlt_ray.studies.study import SETTINGS, load_study, parse_study
from tests.docs import settings
from tests.docs.pages import DOCS, PAGES, ROOT, Block, Code, Place, blocks, codes, tables
from tests.docs.test_commands import is_shell
from tests.test_imports import FLOOR

BLOCKS = [block for page in PAGES for block in blocks(page)]
OWN_MODEL = DOCS / "own_model"
MODEL = {"model": {"system": "multilevel"}}


def shown_at(page: str, block: Block) -> bool:
    return block.place.page == ROOT / page


# YAML


def read_block(block: Block) -> None:
    """Reads a whole study, a space, a study without rows, or settings, alone or a line each."""
    lines = [line for line in block.text.splitlines() if line]
    if len({line.partition(":")[0] for line in lines}) == 1 and len(lines) > 1:
        for line in lines:  # one setting after another: a choice of values
            read_values(parse_yaml(line, str(block)), block)
    else:
        read_values(parse_yaml(block.text, str(block)), block)


def read_values(values: Any, block: Block | Code) -> None:
    name = block.place.page.stem
    if not isinstance(values, dict):
        raise UserError(f"{block}: expected a mapping, got {values!r}")
    keys = set(values)
    if is_space(values):
        parse_space(OWN_MODEL / "shown.yaml", values)
    elif "rows" in keys:
        parse_study(name, values, folder=OWN_MODEL)
    elif keys == {"base"}:
        parse_study(name, {**values, "rows": [{"name": "one", **MODEL}]})
    elif keys == {"models"}:
        rows = [{"name": "one", "model": {"system": "mean_frames"}}]
        parse_study(name, {**values, "rows": rows}, folder=OWN_MODEL)
    elif keys <= set(SETTINGS):
        parse_study(name, {"base": MODEL, "rows": [{"name": "one", **values}]})
    else:
        raise UserError(f"{block}: no study, space or settings of a row: {', '.join(keys)}")


YAML = [block for block in BLOCKS if block.language == "yaml"]


@pytest.mark.parametrize("block", YAML, ids=str)
def test_every_block_of_yaml_is_read(block: Block) -> None:
    read_block(block)


def made_up(text: str) -> Block:
    return Block(Place(DOCS / "studies.md", 7), "yaml", text)


@pytest.mark.parametrize(
    "text",
    [
        "seed: 3",
        "rows:\n  - name: one\n    model: {system: multilevle}",
        "base:\n  training: {class_weigths: balanced}",
        "training:\n  learning_rates: 1e-3",
        "labels: four\nlabels: seven",
        "labels: four\nlabels: [angry]",
        "space: {model.width: {choices: [1]}}",
        "folds: {by: sessions}",
        "models: [no.py]",
        "one",
    ],
)
def test_a_block_that_cannot_be_read_is_noticed(text: str) -> None:
    with pytest.raises(UserError):
        read_block(made_up(text))


SECTIONS: tuple[Callable[[Any], dict[str, Any]], ...] = (
    lambda values: values,
    lambda values: {"folds": values},
    lambda values: {"features": values},
    lambda values: {"features": {"frames": {"kind": "encoder", "encoder": "E", **values}}},
    lambda values: {"training": values},
    *(lambda values, system=system: {"model": {"system": system, **values}} for system in SYSTEMS),
)
"""Where a value that a text names alone may stand."""

SETTING = re.compile(r"\{?[a-z_]+: \S|(?:folds|features|training|model|resources)\.[a-z_]+")
IN_A_LINE = [
    code
    for page in PAGES
    if page.name != "CONTRIBUTING.md"  # it shows how Python is written
    for code in codes(page)
    if SETTING.match(code.text)
]


def read_in_a_line(code: Code) -> None:
    """Reads a setting as one of a row, or of a section of a row; else the first error is raised."""
    text = re.sub(r",? *…", "", code.text)
    errors: list[UserError] = []
    for wrapped in SECTIONS:
        try:
            read_values(wrapped(parse_yaml(text, str(code))), code)
        except UserError as error:
            errors.append(error)
        else:
            return
    raise errors[0]


@pytest.mark.parametrize("code", IN_A_LINE, ids=str)
def test_every_setting_in_a_line_can_be_made(code: Code) -> None:
    dotted = re.fullmatch(r"([a-z]+)\.([a-z0-9_.]+)(?:=.*|: .*)?", code.text)
    if dotted is None:
        read_in_a_line(code)
        return
    section, key = dotted[1], dotted[2]
    if section == "resources":
        from mlt_ray.planning.resources import Resources

        assert key in {field.name for field in fields(Resources)}
        return
    if section == "features" and key.startswith("frames."):
        section, key = "features.frames", key.removeprefix("frames.")
    specs = {"folds": [FoldSpec], "features": [FeatureSpec], "training": [TrainingSpec]}
    specs["features.frames"] = [FramesSpec]
    kinds = specs.get(section, list(SYSTEMS.values()))
    assert key in {field.name for kind in kinds for field in fields(kind)} | {"source"}
    if value := re.search(r"[=:] *(.+)", code.text):
        parse_study("shown", {"rows": [{"name": "one", **MODEL}]}, [f"{section}.{key}={value[1]}"])


@pytest.mark.parametrize("text", ["fine_tune: most", "model: {system: sppech}", "headd: states"])
def test_a_setting_that_cannot_be_made_is_noticed(text: str) -> None:
    with pytest.raises(UserError):
        read_in_a_line(Code(Place(DOCS / "studies.md", 7), text))


def test_the_table_of_protocols_says_what_each_is() -> None:
    [table] = [found for found in tables(DOCS / "protocols.md") if "protocol" in found[0][0]]
    shown = {row[0].strip("`"): parse_yaml(row[1].strip("`"), row[0]) for row in table[1:]}
    # A fold of a corpus's own has no number of its own.
    assert shown == {name: dict(values) for name, values in PROTOCOLS.items()}


# Python


PYTHON = [block for block in BLOCKS if block.language == "python"]

RUN_BY = {
    "docs/python.md": "tests/end_to_end/test_notebook.py",
    "docs/model.md": "tests/models/test_own.py",
    "docs/predict.md": "tests/inference/test_predict.py",
}
"""Which test runs the program of a page."""


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_every_block_of_python_compiles_and_is_run_by_a_test(block: Block) -> None:
    compile(block.text, str(block), "exec")
    page = block.place.page.relative_to(ROOT).as_posix()
    assert page in RUN_BY, f"{block}: no test runs it"
    assert Path(page).name in (ROOT / RUN_BY[page]).read_text()


def test_the_block_of_a_model_of_one_s_own_is_its_file() -> None:
    [block] = [block for block in PYTHON if shown_at("docs/model.md", block)]
    assert block.text == (OWN_MODEL / "mean_frames.py").read_text()


def test_names_of_the_package_in_a_line_are_there() -> None:
    """Such as `mlt_ray.run` and `help(mlt_ray.models.System)`."""
    named = {
        name
        for page in PAGES
        for code in codes(page)
        for name in re.findall(r"(?:^|\()(mlt_ray(?:\.[A-Za-z]\w*)+)\)?$", code.text)
    }
    assert {"mlt_ray.run", "mlt_ray.models.System"} <= named
    for name in named:
        assert pkgutil.resolve_name(name) is not None


# What is neither YAML nor Python nor commands


def check_demo_table(block: Block) -> None:
    """What the demo prints: its rows in their order, with the published scores of its file.

    Below, which of them differ from the best: each row stands there once.
    """
    rows = load_study("demo").rows
    table, _, verdicts = block.text.partition("\n\n")
    found = re.fullmatch(
        r"UA against (.+), the best on dev \(.*?\): (.*)", verdicts.replace("\n", " ")
    )
    assert found is not None
    told = [name for part in found[2].split("; ") for name in part.partition(": ")[2].split(", ")]
    assert sorted([found[1], *map(str.strip, told)]) == sorted(row.name for row in rows)
    lines = table.splitlines()[3:]
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        assert line.startswith(f" {row.name} ")
        published = [row.published.wa, row.published.ua] if row.published else []
        texts = [f"{mean:.3f}±{deviation:.3f}" for mean, deviation in published]
        assert line.removeprefix(f" {row.name}").split()[: len(texts)] == texts
        assert len(line.removeprefix(f" {row.name}").split()) == len(texts) + 3


def check_states(block: Block) -> None:
    """What `run` says of states that are left, of as many bytes as they take."""
    recordings, minutes, states, width = (671, 41, 124_204, 512 * 7)
    left = StatesLeft(
        encoder="whisper-base@0",
        layers="all 7 layers",
        is_padded=False,
        num_recordings=recordings,
        minutes=minutes,
        num_bytes=2 * states * width + 2 * 8 * recordings * width,
        num_states=states,
        width=width,
    )
    assert block.text.strip() == f"states: {left}"


def rooms_in(block: Block) -> Iterator[tuple[str, str]]:
    """Rooms of the package in a tree of it, and what is said of each; the last has no name."""
    tree = block.text.partition("mlt_ray/\n")[2]
    for entry in re.split(r"\n  (?! )", "\n" + re.split(r"\n(?! )", tree)[0])[1:]:
        room, slash, text = entry.partition("/")
        yield (room, text) if slash and room.isidentifier() else ("", entry)


def check_tree(block: Block) -> None:
    """The tree names every module, and each where it is; systems of models have files alike."""
    package = Path(mlt_ray.__file__).parent
    rooms = dict(rooms_in(block))
    assert set(rooms) - {""} == {p.parent.name for p in package.glob("*/__init__.py")}
    for room, text in rooms.items():
        deep = room not in ("", "models")
        found = (package / room).rglob("*.py") if deep else (package / room).glob("*.py")
        there = {path.stem for path in found} - {"__init__"}
        assert there - set(re.findall(r"\w+", text)) == set(), f"{block}: {room}"
        there |= {path.name for path in (package / room).iterdir() if path.is_dir()}
        listed = {
            name.strip()
            for part in re.split(r"[:;\n]", text)
            if " · " in part
            for name in part.split(" · ")
        }
        assert {name for name in listed if name.isidentifier()} <= there, f"{block}: {room}"
    for line in block.text.splitlines():
        if found := re.match(r"([a-z_]+)/ ", line):
            assert (ROOT / found[1]).is_dir(), f"{block}: {line}"


def check_floors(block: Block) -> None:
    """The rooms of the package, from top to bottom; the last line names files."""
    lines = [re.split(r" {2,}|…", line)[0] for line in block.text.splitlines()]
    named = [[name.strip() for name in line.split(" · ")] for line in lines]
    assert {name for line in named for name in line} <= set(FLOOR)
    rooms = [name for line in named[:-1] for name in line]
    assert set(rooms) == {
        p.parent.name for p in Path(mlt_ray.__file__).parent.glob("*/__init__.py")
    }
    floors = [FLOOR[room] for room in rooms]
    assert floors == sorted(floors, reverse=True)


def check_store(block: Block) -> None:
    """Its folders are read where they are made: see test_round.py."""
    assert {"runs", "features", "reports"} <= {name.partition("/")[0] for name in names_in(block)}


def names_in(block: Block) -> set[str]:
    """Files and folders at the beginnings of the lines of a store's tree."""
    begins = (re.split(r" {2,}", line)[0] for line in block.text.splitlines() if line[:1] != " ")
    return {name for begin in begins for name in re.split(r", | ", begin)}


def check_manifest(block: Block) -> None:
    """Its first line names the columns that a manifest must have, and each other one fills them."""
    head, *lines = csv.reader(io.StringIO(block.text))
    assert tuple(head) == REQUIRED
    assert lines
    assert {len(line) for line in lines} == {len(head)}


def check_prediction(block: Block) -> None:
    """A line of ``mlt-ray predict --format json``, whose probabilities sum to 1."""
    found = json.loads(block.text)
    assert tuple(found) == tuple(f.name for f in fields(Prediction) if f.name != "windows")
    shares = found["probabilities"]
    assert math.isclose(sum(shares.values()), 1)
    assert found["label"] == max(shares, key=shares.get)


SHOWN: dict[tuple[str, str], Callable[[Block], None]] = {
    ("README.md", "                          published"): check_demo_table,
    ("docs/speech_encoders.md", "states: "): check_states,
    ("docs/corpus.md", "path,text"): check_manifest,
    ("docs/first_study.md", "path,text"): check_manifest,
    ("docs/code.md", "mlt_ray/\n"): check_tree,
    ("CONTRIBUTING.md", "cli  "): check_floors,
    ("docs/store.md", "runs/<digest>/"): check_store,
    ("docs/predict.md", '{"audio"'): check_prediction,
}
"""Blocks that show what is printed or stored, by page and beginning, and how they are checked."""


def check_of(block: Block) -> Callable[[Block], None] | None:
    page = block.place.page.relative_to(ROOT).as_posix()
    found = [
        check for (at, begin), check in SHOWN.items() if at == page and block.text.startswith(begin)
    ]
    return found[0] if found else None


OTHERS = [b for b in BLOCKS if b.language not in ("yaml", "python") and not is_shell(b.text)]


@pytest.mark.parametrize("block", OTHERS, ids=str)
def test_every_other_block_shows_what_is_so(block: Block) -> None:
    check = check_of(block)
    assert check is not None, f"{block}: neither YAML, Python, commands nor listed in SHOWN"
    check(block)


def test_every_block_that_is_listed_is_there() -> None:
    found = {
        key
        for key in SHOWN
        for block in OTHERS
        if shown_at(key[0], block) and block.text.startswith(key[1])
    }
    assert set(SHOWN) == found


@pytest.mark.parametrize("key", SHOWN, ids=lambda key: key[0])
def test_a_block_that_shows_what_is_not_so_is_noticed(key: tuple[str, str]) -> None:
    changes = {
        check_demo_table: ("0.730±0.003", "0.731±0.003"),
        check_states: ("929 MB", "930 MB"),
        check_tree: ("· compare ·", "·"),
        check_floors: ("storage ", "stores "),
        check_store: ("features/", "feature/"),
        check_manifest: ("emotion,speaker", "emotion"),
        check_prediction: ("0.73", "0.74"),
    }
    old, new = changes[SHOWN[key]]
    for block in OTHERS:
        if shown_at(key[0], block) and block.text.startswith(key[1]):
            assert old in block.text
            with pytest.raises(AssertionError):
                SHOWN[key](Block(block.place, "", block.text.replace(old, new)))


def test_the_page_of_settings_is_made_from_the_classes() -> None:
    """Otherwise: python -m tests.docs.settings."""
    assert settings.PAGE.read_text() == settings.text()
