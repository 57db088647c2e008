"""A whole round on a small corpus, by the commands that the pages show, one after another."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT, blocks, tables
from tests.docs.test_blocks import names_in
from tests.docs.test_commands import COMMANDS, MENTIONED
from tests.end_to_end.conftest import mlt_ray

pytestmark = pytest.mark.slow

STUDY = "docs/own_model/beside_highway.yaml"
SMALL = ("--set", "training.max_epochs=2", "--folds", "1-2")


@dataclass(frozen=True)
class Step:
    """A command as a page shows it, what stands for its placeholders, and what makes it small.

    `prints` is a part of what it prints.
    """

    page: str
    shown: str
    prints: str
    here: Mapping[str, str] = field(default_factory=dict)
    more: tuple[str, ...] = ()

    def words(self) -> list[str]:
        """The command to run; an error if the page does not show it."""
        found = [
            command.words
            for command in (*COMMANDS, *MENTIONED)
            if str(command.place).startswith(f"{self.page}:")
            and " ".join(command.words) == self.shown
        ]
        assert found, f"{self.page}: expected the command {self.shown}"
        return [self.here.get(word, word) for word in found[0]] + list(self.more)


IEMOCAP = {"IEMOCAP_full_release": "corpus", "CORPUS": "corpus"}
OF_OURS = {"STUDY…": "beside_highway", "STUDY": "beside_highway"}
ROWS = {"ROW": "mean of frames", "OTHER": "highway network"}
RUN = f"mlt-ray run {STUDY} --corpus CORPUS"

HEARD = dict.fromkeys(
    ("AUDIO…", "CLIP", "clip.wav"),
    "corpus/Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav",
)
ROW = {"STUDY/ROW": "beside_highway/highway network"}
SAID = ("--model", ROW["STUDY/ROW"], "--text", "they were early")

ROUND = (
    Step("docs/store.md", "mlt-ray corpus demo", "100 utt", more=("corpus", "--utterances", "100")),
    Step("docs/studies.md", "mlt-ray corpus check IEMOCAP_full_release", "100", IEMOCAP),
    Step("docs/store.md", "mlt-ray studies", "table1"),
    Step(
        "docs/studies.md",
        "mlt-ray run table1 --corpus IEMOCAP_full_release --dry-run",
        "120 runs, 120 to compute",
        IEMOCAP,
    ),
    Step("docs/model.md", RUN, "mean of frames", IEMOCAP, SMALL),
    Step("docs/model.md", RUN, "4 in the store, 0 to compute", IEMOCAP, SMALL),
    Step(
        "docs/first_study.md",
        "mlt-ray run hearing.yaml --corpus CORPUS",
        "what one would try first",
        IEMOCAP,
        ("--folds", "1-2", "--seeds", "1", "--set", "training.max_epochs=2"),
    ),
    Step(
        "docs/first_study.md",
        "mlt-ray compare hearing text and audio text alone",
        "for this comparison alone",
    ),
    Step("docs/store.md", "mlt-ray report STUDY…", "highway network", OF_OURS),
    Step("docs/report.md", "mlt-ray compare STUDY ROW OTHER", "UA", OF_OURS | ROWS),
    Step(
        "docs/model.md",
        "mlt-ray search docs/own_model/widths.yaml --corpus CORPUS",
        "width",
        IEMOCAP,
        ("--dry-run",),
    ),
    Step("docs/store.md", "mlt-ray predict AUDIO…", "neutral", HEARD, SAID),
    Step("docs/store.md", "mlt-ray explain CLIP", "explain-Ses01F_impro01_F000.html", HEARD, SAID),
    Step(
        "docs/store.md",
        "mlt-ray export STUDY/ROW --to folder",
        "predict.py",
        ROW,
        ("--out", "mine"),
    ),
    Step(
        "docs/predict.md",
        "mlt-ray predict clip.wav --model my-model",
        "neutral",
        HEARD | {"my-model": "mine"},
        SAID[2:],
    ),
    Step("docs/store.md", "mlt-ray sync", "beside_highway"),
    Step("docs/store.md", "mlt-ray doctor", "nothing to remove", more=("--sweep",)),
)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the round was run, as in a checkout."""
    room = tmp_path_factory.mktemp("round")
    (room / "docs").symlink_to(DOCS)
    [hearing] = [b for b in blocks(DOCS / "first_study.md") if b.language == "yaml"]
    (room / "hearing.yaml").write_text(hearing.text)
    for step in ROUND:
        program, *rest = step.words()
        assert program == "mlt-ray"
        done = mlt_ray(*rest, cwd=room)
        assert done.returncode == 0, f"{step.shown}: {done.stdout}{done.stderr}"
        assert step.prints in done.stdout, f"{step.shown}: {done.stdout}"
    return room


def test_the_round_leaves_the_files_that_the_page_on_reports_names(room: Path) -> None:
    [table] = [found for found in tables(DOCS / "report.md") if found[0] == ["file", "is"]]
    named = [name for row in table[1:] for name in re.findall("`([^`]+)`", row[0])]
    files = {f"tables{name}" if name.startswith(".") else name.strip("/") for name in named}
    folder = room / "runs/reports/beside_highway"
    assert {path.name for path in folder.iterdir()} == files
    assert {path.suffix for path in (folder / "figures").iterdir()} == {".pdf", ".svg"}


def test_the_store_holds_what_its_page_shows_and_no_more(room: Path) -> None:
    [tree] = [block for block in blocks(DOCS / "store.md") if block.text.startswith("runs/<")]
    shown = {name.partition("/")[0] for name in names_in(tree)}
    there = {path.name for path in (room / "runs").iterdir() if not path.name.startswith(".")}
    assert {"runs", "features", "studies", "models", "corpora", "mlflow.db", "reports"} <= there
    assert there - shown == set()


def test_a_finished_run_has_the_files_that_the_page_names(room: Path) -> None:
    page = (DOCS / "store.md").read_text()
    runs = list((room / "runs/runs").iterdir())
    # Two rows beside the highway network, and three of the first study, of which one draws nothing.
    assert len(runs) == 4 + 6
    for run in runs:
        names = {path.name for path in run.iterdir()}
        assert {"report.json", "predictions.csv", "curve.csv", "inputs.json"} <= names
        assert len(names & {"weights.safetensors", "classical.skops"}) == 1
        assert [name for name in names if name not in page] == []


def test_the_copy_of_the_model_s_file_is_in_the_store(room: Path) -> None:
    copies = [path.read_bytes() for path in (room / "runs/models").glob("*.py")]
    assert (ROOT / "docs/own_model/mean_frames.py").read_bytes() in copies
