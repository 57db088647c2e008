"""A user's request for studies, and what is said before anything is computed."""

from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import soundfile
from rich.console import Console

from mlt_ray.errors import UserError
from mlt_ray.models.bert.values import BertSpec
from mlt_ray.models.multilevel.values import MultilevelSpec
from mlt_ray.models.xu.values import XuSpec
from mlt_ray.planning.plan import Plan, PlannedRow
from mlt_ray.planning.resources import Resources
from mlt_ray.planning.workspace import Places
from mlt_ray.spec import ModelSpec, Run, RunSpec
from mlt_ray.storage.store import Store
from mlt_ray.studies.study import load_study
from mlt_ray.workflows.run import Request, open_workspace, tell_packs


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
        open_workspace(places, Console(quiet=True))
    # What a cluster has, only the cluster knows: here the corpus is what is missing.
    monkeypatch.setenv("RAY_ADDRESS", "somewhere:6379")
    with pytest.raises(UserError, match="no such folder"):
        open_workspace(places, Console(quiet=True))


def test_a_guessed_encoding_and_unread_texts_are_said_with_the_corpus(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in "ab":
        soundfile.write(tmp_path / f"{name}.wav", rng.uniform(-0.5, 0.5, 1600), 16_000)
    lines = ["path,text,emotion,speaker", "a.wav,Olé.,sad,s", "b.wav,Hm.,sad,s"]
    manifest = tmp_path / "manifest.csv"
    places = Places(corpus=tmp_path, store=Store(tmp_path / "store"))
    console = Console(file=StringIO(), width=300)
    manifest.write_bytes("\n".join(lines).encode("cp1252"))
    open_workspace(places, console)
    manifest.write_text("\n".join([*lines[:2], "b.wav,我很生气,sad,s"]), "utf-8")
    open_workspace(places, console)
    _, guess, _, unread = console.file.getvalue().splitlines()
    assert guess.startswith(
        "note: manifest.csv: expected UTF-8, got another encoding; Windows-1252"
    )
    expected = "note: 1 of 2 texts (50.0%) are in letters that training does not read, such as "
    assert unread == f"{expected}'我很生气' (b)"


def planned(model: ModelSpec) -> PlannedRow:
    spec = RunSpec(corpus="c", model=model)
    runs = tuple(Run(spec=spec, fold=1, seed=seed) for seed in (1, 2, 3))
    return PlannedRow(name=model.system, published=None, changes=(), runs=runs, asked=runs)


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
