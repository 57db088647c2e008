"""Every command in the pages is one that the program named has, with options that it has."""

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from mkdocs.__main__ import cli as mkdocs_cli
from typer.main import get_command

from mlt_ray.cli.app import app
from mlt_ray.cli.run import parse_numbers
from mlt_ray.cli.search import parse_duration
from mlt_ray.documents import parse_yaml
from mlt_ray.models.registry import SYSTEMS
from mlt_ray.planning.profile import load_profile
from mlt_ray.studies.files import file_names, space_names, study_name, study_names
from mlt_ray.studies.labels import parse_labels
from mlt_ray.studies.space import load_space
from mlt_ray.studies.study import load_study, parse_study
from tests.docs.pages import (
    DOCS,
    PAGES,
    ROOT,
    Block,
    Code,
    Command,
    Place,
    blocks,
    codes,
    commands_in,
    commands_of,
    tables,
)

PLACEHOLDER = re.compile(r"[A-Z]+(?:\.(?:yaml|csv))?…?|…")
"""What a user puts something of their own in the place of: STUDY, CORPUS, STUDY…, STUDY.yaml."""

WRITTEN = {"hearing": DOCS / "first_study.md"}
"""Studies that the reader has written by then, by name, and the page that shows their file."""

OWN_FILES = {"mine.yaml": "the user's own study, in the text around it"}
"""Names in commands that look like files of this project, and are none."""

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
MAIN = get_command(app)


def verb_of(words: Sequence[str]) -> tuple[Any, str, list[str]]:
    """The verb that the words behind `mlt-ray` name, its name, and what follows."""
    verb, rest, name = MAIN, list(words), "mlt-ray"
    while hasattr(verb, "commands"):
        name = rest.pop(0)
        assert name in verb.commands, f"no verb {name}; known: {', '.join(verb.commands)}"
        verb = verb.commands[name]
    return verb, name, rest


def check_mlt_ray(words: Sequence[str]) -> None:
    verb, name, rest = verb_of(words)
    given = verb.make_context(name, rest).params
    named = given.get("studies") or [given.get(key) for key in ("space", "study") if key in given]
    rows = [row for text in given.get("rows") or [] for row in text.split(",")]
    changes = list(given.get("overrides") or [])
    if name == "compare":
        rows = [given["row"], given["other"]]
    if name == "evaluate":
        for study, _, row in (text.partition("/") for text in given["rows"]):
            check_study("run", study, [] if PLACEHOLDER.fullmatch(row) else [row], changes)
    for study in named:
        check_study(name, study, [row for row in rows if not PLACEHOLDER.fullmatch(row)], changes)
    if given.get("labels"):
        parse_labels(parse_yaml(given["labels"], "--labels"), "--labels")
    for option in ("folds", "seeds"):
        parse_numbers(f"--{option}", given.get(option) or "")
    if given.get("timeout"):
        parse_duration("--timeout", given["timeout"])
    if given.get("profile"):
        load_profile(given["profile"])


def check_study(verb: str, study: str, rows: Sequence[str], changes: Sequence[str]) -> None:
    """It is shipped, or a file that is here, and has these rows; changes can be made in it."""
    if PLACEHOLDER.fullmatch(study) or study in OWN_FILES:
        for change in changes:
            check_change(change)
    elif verb == "search":
        spaces = shipped()[1]
        assert study in spaces or (ROOT / study).is_file(), f"no search space {study}"
        load_space(study if study in spaces else str(ROOT / study), changes)
    elif study_name(study) in WRITTEN:
        [block] = [b for b in blocks(WRITTEN[study_name(study)]) if b.language == "yaml"]
        found = parse_study(study, parse_yaml(block.text, str(block)), changes)
        assert {row.strip() for row in rows} <= {row.name for row in found.rows}
    else:
        studies = shipped()[0]
        assert study in studies or (ROOT / study).is_file(), f"no study {study}"
        found = load_study(study if study in studies else str(ROOT / study), changes)
        assert {row.strip() for row in rows} <= {row.name for row in found.rows}


@cache
def shipped() -> tuple[list[str], list[str]]:
    """Names of the shipped studies and search spaces, read once: it takes a fifth of a second."""
    return study_names(), space_names()


def check_change(change: str) -> None:
    """A value of `--set` is one that some system can have."""
    errors = []
    for system in SYSTEMS:
        row = {"name": "one", "model": {"system": system}}
        try:
            parse_study("mine", {"rows": [row]}, [change])
        except Exception as error:
            errors.append(error)
        else:
            return
    raise errors[0]


def check_pip(words: Sequence[str]) -> None:
    assert words[0] == "install"
    rest = list(words[1:])
    while rest:
        word = rest.pop(0)
        if word == "-c":
            assert (ROOT / rest.pop(0)).is_file()
        elif found := re.fullmatch(r"\.(?:\[([a-z,]+)\])?", word):
            assert found[1] is None or set(found[1].split(",")) <= set(EXTRAS)
        elif word not in ("-e", "--no-deps"):
            # The same version as where this project is checked.
            assert word in (ROOT / ".ci/run").read_text().split()


def check_python(words: Sequence[str]) -> None:
    assert words[0] == "-m"
    module, *rest = words[1:]
    package, _, last = module.rpartition(".")
    if PLACEHOLDER.fullmatch(last):
        assert find_spec(package) is not None
        return
    assert module == "venv" or module.startswith("tests."), "a module of this project"
    if module == "venv":
        return
    known = options_of(module)
    assert {word.partition("=")[0] for word in rest if word.startswith("--")} <= known


def options_of(module: str) -> set[str]:
    """The options that a module of the tests reads, by its text: to import it takes long."""
    found = find_spec(module)
    assert found is not None, module
    path = Path(str(found.origin)) if found.origin else ROOT / module.replace(".", "/") / "x"
    path = path if path.is_file() and path.stem != "__init__" else path.parent / "__main__.py"
    return set(re.findall(r"add_argument\(\s*\"(--[a-z0-9-]+)\"", path.read_text()))


def check_pytest(words: Sequence[str]) -> None:
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "-m":
            markers = [
                m.partition(":")[0] for m in PROJECT["tool"]["pytest"]["ini_options"]["markers"]
            ]
            assert rest.pop(0).removeprefix("not ") in markers
        elif word == "-n":
            assert rest.pop(0).isdecimal()
        else:
            assert (ROOT / word).exists()


def check_bash(words: Sequence[str]) -> None:
    [script] = words
    subprocess.run(["bash", "-n", ROOT / script], check=True)


def check_source(words: Sequence[str]) -> None:
    assert list(words) == [".venv/bin/activate"]


def check_ray(words: Sequence[str]) -> None:
    """What a job runs stands behind two hyphens."""
    if "--" in words:
        check(tuple(words[words.index("--") + 1 :]))


def check_docker(words: Sequence[str]) -> None:
    """An image is built as the file's own comment says."""
    dockerfile = ROOT / words[list(words).index("-f") + 1]
    assert f"#   docker {' '.join(words)}\n" in dockerfile.read_text()


def check_mkdocs(words: Sequence[str]) -> None:
    mkdocs_cli.commands[words[0]].make_context(words[0], list(words[1:]))


def check_installed(words: Sequence[str]) -> None:
    """Only that the package of the extra `test` or of the project has such a program."""


@dataclass(frozen=True)
class Program:
    """How a program's arguments are checked, and why the command is not run as it stands."""

    check: Callable[[Sequence[str]], None]
    not_run: str


PROGRAMS = {
    "mlt-ray": Program(
        check_mlt_ray, "takes hours on a corpus; tests/docs/test_round.py runs some"
    ),
    "pip": Program(check_pip, "fetches packages; .ci/run does it"),
    "python": Program(check_python, "a benchmark takes minutes; tests/benchmarks runs them small"),
    "python3": Program(check_python, "makes a virtual environment; .ci/run does it"),
    "source": Program(check_source, "changes the shell; .ci/run does it"),
    "pytest": Program(check_pytest, "this is it"),
    "ruff": Program(check_installed, ".ci/run does it"),
    "mypy": Program(check_installed, ".ci/run does it"),
    "bash": Program(
        check_bash, "starts a cluster that stays; tests/end_to_end/test_job.py does it"
    ),
    "ray": Program(check_ray, "wants a cluster; its options are read in a slow test below"),
    "curl": Program(check_installed, "asks a server; tests/end_to_end/test_export.py does it"),
    "printf": Program(
        check_installed, "writes a request; tests/end_to_end/test_export.py sends one"
    ),
    "arecord": Program(check_installed, "wants a microphone; a stream is read in tests/cli"),
    "mlflow": Program(check_installed, "a server that stays; its options are read in a slow test"),
    "mkdocs": Program(check_mkdocs, "a server that stays; test_site.py builds the same pages"),
    "optuna-dashboard": Program(check_installed, "a server that stays"),
    "docker": Program(check_docker, "wants Docker; tests/clusters reads the file"),
    "kubectl": Program(check_installed, "wants Kubernetes; tests/clusters reads the file"),
    "sbatch": Program(check_installed, "wants Slurm; tests/clusters/test_slurm.py plays it"),
}
"""Every program that the pages name. What is not run as it stands is only checked."""

ELSEWHERE = {
    "docker",
    "kubectl",
    "sbatch",
    "curl",
    "arecord",
    "printf",
    "source",
    "bash",
    "python",
    "python3",
}
"""Programs that are not in the environment of the tests, or are there by another name."""


def check(words: Sequence[str]) -> None:
    program, *rest = words
    assert program in PROGRAMS, f"{program}: how its commands are checked stands nowhere"
    if program not in ELSEWHERE:
        assert (Path(sys.executable).with_name(program)).exists()
    if program == "bash":
        assert shutil.which("bash")
    PROGRAMS[program].check(rest)


def is_shell(text: str) -> bool:
    """Whether a block's first line, or a code, begins with a program that the pages name."""
    first = re.sub(r"^(?:time |[A-Z_]+=\S+ )*", "", text).split()
    return bool(first) and first[0] in PROGRAMS


COMMANDS = [
    command
    for page in PAGES
    for block in blocks(page)
    if block.language in ("", "sh", "bash") and is_shell(block.text)
    for command in commands_in(block)
] + [
    command
    for page in PAGES
    for block in blocks(page)
    if not is_shell(block.text)
    for line in block.text.splitlines()
    if is_shell(line.partition(": ")[2])
    for command in commands_of(block.place, line.partition(": ")[2])
]
"""Those of whole blocks, and those behind a colon in what is shown, such as a store's folders."""

MENTIONED = [
    command
    for page in PAGES
    for code in codes(page)
    if is_shell(code.text)
    for command in commands_of(code.place, code.text)
]


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_every_command_of_a_block_can_be_given(command: Command) -> None:
    check(command.words)


@pytest.mark.parametrize("command", MENTIONED, ids=str)
def test_every_command_in_a_line_can_be_given_or_names_a_verb(command: Command) -> None:
    program, *rest = command.words
    if program == "mlt-ray" and (not rest or names_a_verb(rest)):
        return
    if len(command.words) > 1:
        check(command.words)


def names_a_verb(words: Sequence[str]) -> bool:
    """Whether the words are a verb's name and no more."""
    *_, rest = verb_of(words)
    return not rest


def test_the_pages_have_commands_of_every_program() -> None:
    """Else the table above would hold a name that no page uses."""
    named = {command.words[0] for command in (*COMMANDS, *MENTIONED)}
    clusters = "".join(p.read_text() for p in (ROOT / "clusters").rglob("*") if p.is_file())
    assert {name for name in set(PROGRAMS) - named if f" {name} " not in clusters} == set()
    assert len(COMMANDS) > 15
    assert len(MENTIONED) > 30


@pytest.mark.parametrize(
    "text",
    [
        "mlt-ray rnu table1 --corpus C",
        "mlt-ray run table9 --corpus C",
        "mlt-ray run layers --corpus C",
        "mlt-ray run table1 --corpsu C",
        "mlt-ray run --corpus C",
        "mlt-ray run table1",
        "mlt-ray run table1 --corpus C --workers two",
        "mlt-ray run table1 --corpus C --rows 'highway'",
        "mlt-ray run table1 --corpus C --set training.presicion=tf32",
        "mlt-ray run STUDY --corpus C --set folds.by=sessoin",
        "mlt-ray run table1 --corpus C --folds 1,,2",
        "mlt-ray run table1 --corpus C --profile one_gpus",
        "mlt-ray search table1 --corpus C",
        "mlt-ray search layers --corpus C --timeout 2x",
        "mlt-ray compare table1 concatenation",
        "mlt-ray compare table1 concatenation highways",
        "mlt-ray evaluate demo/highways --corpus C",
        "mlt-ray evaluate demo/concatenation --corpus C --labels seven",
        "mlt-ray corpus check C --labels seven",
        "mlt-ray corpus check C D",
        "mlt-ray studies table1",
        "pip install -c constraint.txt .",
        "pip install '.[tests]'",
        "pip install --no-deps Resemblyzer==0.1.3",
        "python -m tests.benchmarks.nothing",
        "python -m tests.gpu run FOLDER --jsn FILE",
        "pytest -m 'not slwo'",
        "pytest tests/nothing",
        "ray job submit -- mlt-ray run table9 --corpus C",
        "pip install '.[demo,opensmil]'",
        "docker build -f clusters/Dockerfile -t mlt-ray:0.2.0 .",
        "mkdocs srve",
        "npm install",
    ],
)
def test_a_command_that_cannot_be_given_is_noticed(text: str) -> None:
    [command] = commands_of(Place(DOCS, 1), text)
    with pytest.raises(Exception, match=r".*"):
        check(command.words)


def test_a_script_that_is_not_there_is_noticed(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        check(["bash", "clusters/local/heads.sh"])


def test_comments_settings_and_line_ends_are_no_part_of_a_command() -> None:
    text = "A=1 time ray job submit -- \\\n    mlt-ray doctor  # it's\nruff check . && mypy\n"
    found = list(commands_in(Block(Place(DOCS, 1), "", text)))
    assert [command.words for command in found] == [
        ("ray", "job", "submit", "--", "mlt-ray", "doctor"),
        ("ruff", "check", "."),
        ("mypy",),
    ]
    assert [command.place.line for command in found] == [1, 3, 3]


OPTIONS = [
    code for page in PAGES for code in codes(page) if re.match(r"--[a-z]", code.text) and code.text
]


def verbs() -> list[Any]:
    corpus = MAIN.commands["corpus"].commands.values()
    return [verb for verb in (*MAIN.commands.values(), *corpus) if not hasattr(verb, "commands")]


@pytest.mark.parametrize("code", OPTIONS, ids=str)
def test_options_in_a_line_belong_to_one_verb_or_to_a_script_of_the_page(code: Code) -> None:
    named = set(re.findall(r"(?:^| )(--[a-z0-9-]+)", code.text))
    known = [{o for p in verb.params for o in (*p.opts, *p.secondary_opts)} for verb in verbs()]
    modules = set(
        re.findall(r"tests\.(?:benchmarks\.[a-z]+|gpu|crashes)\b", code.place.page.read_text())
    )
    assert any(named <= options for options in (*known, *map(options_of, modules)))


@pytest.mark.parametrize(
    "code", [code for code in OPTIONS if code.text.startswith(("--set ", "--profile "))], ids=str
)
def test_values_of_options_in_a_line_are_read(code: Code) -> None:
    option, value = code.text.split(" ", 1)
    if option == "--profile":
        assert PLACEHOLDER.fullmatch(value)
    elif value != "section.key=value":
        check_change(value.replace("…", "64"))


def test_the_page_of_commands_names_every_verb() -> None:
    [table] = [found for found in tables(DOCS / "store.md") if found[0][0] == "command"]
    named = {tuple(command.words[1:]) for row in table[1:] for command in commands_of_cell(row[0])}
    assert {words[:2] if words[0] == "corpus" else words[:1] for words in named} == {
        *((name,) for name in MAIN.commands if name != "corpus"),
        *(("corpus", name) for name in MAIN.commands["corpus"].commands),
    }


def commands_of_cell(cell: str) -> list[Command]:
    place = Place(DOCS / "store.md", 1)
    return [c for text in re.findall("`([^`]+)`", cell) for c in commands_of(place, text)]


@pytest.mark.parametrize("page", [ROOT / "README.md", DOCS / "studies.md"], ids=lambda p: p.name)
def test_the_tables_of_studies_name_all_that_come_along(page: Path) -> None:
    [table] = [found for found in tables(page) if found[0] == ["study", "rows"]]
    named = {name for row in table[1:] for name in re.findall("`([a-z0-9_]+)`", row[0])}
    assert named == {name for name in file_names() if not name.startswith("demo")}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "command",
    [command for command in (*COMMANDS, *MENTIONED) if command.words[0] in ("ray", "mlflow")],
    ids=str,
)
def test_ray_and_mlflow_have_the_commands_and_options(command: Command) -> None:
    """Slow, since to import both takes seconds."""
    from mlflow.cli import cli as mlflow_cli
    from ray.scripts.scripts import cli as ray_cli

    found: Any = {"ray": ray_cli, "mlflow": mlflow_cli}[command.words[0]]
    rest = list(command.words[1:])
    is_mentioned = len(rest) < 3
    while hasattr(found, "commands"):
        name = rest.pop(0)
        found = found.get_command(None, name)
        assert found is not None, name
    if not is_mentioned:
        found.make_context(name, rest)
