"""A user's request for studies, and what is said before anything is computed."""

import re
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from rich.console import Console

from mlt_ray.errors import UserError
from mlt_ray.labels import NAMED
from mlt_ray.models.bert.values import BertSpec
from mlt_ray.models.multilevel.values import MultilevelSpec
from mlt_ray.models.xu.values import XuSpec
from mlt_ray.planning.plan import Plan, PlannedRow
from mlt_ray.planning.resources import Resources
from mlt_ray.planning.workspace import Places
from mlt_ray.spec import ModelSpec, Run, RunSpec
from mlt_ray.storage.store import Store
from mlt_ray.studies.labels import parse_labels
from mlt_ray.studies.study import load_study, parse_study
from mlt_ray.workflows.run import Request, open_workspace, show_plan, tell_packs, tell_texts


def test_an_unknown_row_is_refused_with_the_nearest() -> None:
    places = Places(corpus=Path(), store=Store("unused"))
    request = Request(studies=[load_study("table1")], places=places, rows=["wrod only"])
    with pytest.raises(UserError, match=r"--rows: unknown row wrod only; did you mean word only\?"):
        _ = request.asked_rows


def test_this_machine_is_asked_before_the_corpus_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    asked = Resources(gpus_per_run=4096)
    places = Places(corpus=tmp_path / "none", store=Store(tmp_path), resources=asked)
    with pytest.raises(UserError, match=r"expected 1 CPU, 4096 GPU for a run, found"):
        open_workspace(places, [NAMED["four"]], Console(quiet=True))
    # What a cluster has, only the cluster knows: here the corpus is what is missing.
    monkeypatch.setenv("RAY_ADDRESS", "somewhere:6379")
    with pytest.raises(UserError, match="no such folder"):
        open_workspace(places, [NAMED["four"]], Console(quiet=True))


def test_a_guessed_encoding_is_said_with_the_corpus_and_unread_texts_with_rows(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    for name in "ab":
        sf.write(tmp_path / f"{name}.wav", rng.uniform(-0.5, 0.5, 1600), 16_000)
    lines = ["path,text,emotion,speaker", "a.wav,Olé.,angry,s", "b.wav,Hm.,sad,s"]
    labels = parse_labels(["angry", "sad"], "labels")
    manifest = tmp_path / "manifest.csv"
    places = Places(corpus=tmp_path, store=Store(tmp_path / "store"))
    console = Console(file=StringIO(), width=300)
    manifest.write_bytes("\n".join(lines).encode("cp1252"))
    open_workspace(places, [labels], console)
    manifest.write_text("\n".join([*lines[:2], "b.wav,我很生气,sad,s"]), "utf-8")
    workspace = open_workspace(places, [labels], console)
    row = {"name": "one", "labels": ["angry", "sad"], "model": {"system": "multilevel"}}
    rows = parse_study("mine", {"rows": [row]}).rows
    tell_texts([*rows, *rows], workspace, console)
    _, guess, _, unread = console.file.getvalue().splitlines()
    assert guess.startswith(
        "note: manifest.csv: expected UTF-8, got another encoding; Windows-1252"
    )
    expected = "note: 1 of 2 texts (50.0%) are in letters that training does not read, such as "
    assert unread == f"{expected}'我很生气' (b)"


def test_recordings_without_a_label_are_said_with_the_corpus(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in "abc":
        sf.write(tmp_path / f"{name}.wav", rng.uniform(-0.5, 0.5, 1600), 16_000)
    lines = ["path,text,emotion,speaker", "a.wav,Yes.,angry,s", "b.wav,Hm.,sad,s"]
    (tmp_path / "manifest.csv").write_text("\n".join(lines))
    console = Console(file=StringIO(), width=300)
    places = Places(corpus=tmp_path, store=Store(tmp_path / "store"))
    open_workspace(places, [parse_labels(["angry", "sad"], "labels")], console)
    _, note = console.file.getvalue().splitlines()
    assert note == (
        "note: 1 recording has no label and is left out: c.wav; "
        "mlt-ray corpus check --all names them"
    )


def planned(model: ModelSpec) -> PlannedRow:
    spec = RunSpec(corpus="c", model=model)
    runs = tuple(Run(spec=spec, fold=1, seed=seed) for seed in (1, 2, 3))
    labels = NAMED["four"]
    return PlannedRow(
        name=model.system, published=None, labels=labels, changes=(), runs=runs, asked=runs
    )


@pytest.mark.parametrize(
    ("models", "pack", "said"),
    [
        ((MultilevelSpec(), XuSpec()), 1, ""),
        ((MultilevelSpec(),), 15, "packs of up to 3 runs\n"),
        (
            (XuSpec(), BertSpec()),
            15,
            "one by one, since a pack gains nothing there: bert; xu\n",
        ),
        (
            (MultilevelSpec(), XuSpec()),
            2,
            "packs of up to 2 runs\none by one, since a pack gains nothing there: xu\n",
        ),
    ],
)
def test_a_plan_says_what_goes_side_by_side(
    models: tuple[ModelSpec, ...], pack: int, said: str
) -> None:
    rows = tuple(planned(model) for model in models)
    plan = Plan(study="s", title="t", corpus="c", fingerprint="f", rows=rows)
    console = Console(file=StringIO(), width=100)
    tell_packs([plan], Resources(pack=pack), console)
    assert console.file.getvalue() == said


WORDS = {"angry": "furious", "happy": "joyful", "neutral": "plain", "sad": "gloomy"}


def write_spoken(folder: Path, speakers: str, never_sad: str = "") -> None:
    """A corpus without sessions: two utterances of each class by each speaker, but sad by some."""
    folder.mkdir()
    lines = ["path,text,emotion,speaker"]
    for speaker in speakers:
        for emotion, word in WORDS.items():
            for number in range(2):
                if emotion != "sad" or speaker not in never_sad:
                    name = f"{speaker}_{emotion}{number}.wav"
                    noise = np.random.default_rng(len(lines)).uniform(-0.5, 0.5, 1600)
                    sf.write(folder / name, noise, 16_000)
                    lines.append(f"{name},so {word},{emotion},{speaker}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")


def plan_of(tmp_path: Path, changes: list[str], rows: list[str]) -> str:
    """What a dry run of a study of two classical rows prints."""
    path = tmp_path / "mine.yaml"
    model = "model: {system: classical, text: tfidf}"
    path.write_text(f"rows: [{{name: A, {model}}}, {{name: B, {model}}}]\n")
    study = load_study(str(path), changes, rows)
    places = Places(corpus=tmp_path / "corpus", store=Store(tmp_path / "store"))
    console = Console(file=StringIO(), width=200)
    show_plan(Request(studies=[study], places=places, rows=rows, seeds=[7, 8]), console)
    text: str = console.file.getvalue()
    return text


def test_a_row_is_planned_although_the_corpus_does_not_fit_the_others(tmp_path: Path) -> None:
    write_spoken(tmp_path / "corpus", "vwxyz")
    with pytest.raises(UserError, match=r"use --set folds\.by=speaker"):
        plan_of(tmp_path, [], ["A"])
    shown = plan_of(tmp_path, ["folds.by=speaker"], ["A"])
    # Of whatever seeds, since a classical row reads none.
    assert "1 distinct configurations, 5 runs, 5 to compute" in shown
    assert "note: train has the text of 100.0% of the test utterances" in shown


def test_a_plan_says_which_folds_lack_a_class_and_who_may_be_one_speaker(tmp_path: Path) -> None:
    write_spoken(tmp_path / "corpus", "vwxyZz", never_sad="vwx")
    shown = plan_of(tmp_path, ["folds.by=speaker"], ["A"])
    notes = [line for line in shown.splitlines() if line.startswith("note:")]
    assert re.match(r"note: 5 folds by speaker, 3/1/1: .*no sad in test of fold \d", notes[0])
    assert "UA there is the mean over the other classes" in notes[0]
    assert "train has the text of 100.0%" in notes[1]
    assert notes[2:] == ["note: speakers whose names are alike count as different ones: Z and z"]
