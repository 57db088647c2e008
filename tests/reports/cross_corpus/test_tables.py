"""What the tables of another corpus say, in every format."""

import csv
import io
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pandas import concat
from rich.console import Console

from mlt_ray.labels import FOUR
from mlt_ray.reports.cross_corpus.cells import difference_lines, legend
from mlt_ray.reports.cross_corpus.files import (
    FILES,
    PREDICTIONS,
    as_csv,
    as_json,
    classes_csv,
    differences_csv,
    write_files,
)
from mlt_ray.reports.cross_corpus.scores import CrossCorpus, cross_corpus
from mlt_ray.reports.cross_corpus.tables import as_latex, as_markdown, as_terminal
from tests.reports.cross_corpus.elsewhere import answers


@pytest.fixture(scope="module")
def found() -> CrossCorpus:
    return cross_corpus([answers("row"), answers("a_row & <another>")], ["A note."])


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def printed(found: CrossCorpus, width: int = 80) -> str:
    console = Console(width=width, file=io.StringIO())
    for table in as_terminal(found):
        console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_terminal_shows_the_scores_of_both_corpora_in_80_characters(found: CrossCorpus) -> None:
    text = printed(found)
    assert max(map(len, text.splitlines())) <= 80
    lines = [line.split() for line in text.splitlines()]
    assert ["Trained", "on", "own,", "tested", "on", "other"] in lines
    own = lines.index(["own,", "own", "test", "parts", "0.650±0.071", "0.400±0.000", "0.960±0.000"])
    assert lines[own - 1] == ["made/row"]
    runs, folds, interval, ensemble, _ = lines[own + 1 : own + 6]
    assert runs[:6] == ["other,", "mean", "of", "4/5", "runs", "0.500±0.424"]
    assert folds[:4] == ["±", "over", "folds", "0.000"]
    assert interval[:2] == ["95", "%"]
    assert ensemble[:5] == ["other,", "ensemble", "0.800", "0.833*", "0.889*"]


def test_markdown_says_which_scores_are_of_which_corpus(found: CrossCorpus) -> None:
    lines = as_markdown(found).splitlines()
    assert (
        "| made/row | own, own test parts | 0.650 ± 0.071 | 0.400 ± 0.000 | 0.960 ± 0.000 |  |"
        in lines
    )
    assert any(
        line.startswith("|  | other, ensemble | 0.800 | 0.833* | 0.889* |") for line in lines
    )
    assert "| sad | 2 | 0.375 | 0.500 | 0 | 0 | 1 | 1 |" in lines
    assert "| neutral | 0 |  |  | 0 | 0 | 0 | 0 |" in lines
    assert "- made/row: trained on own, 2 folds by speaker, 0/1/1." in lines


def test_the_legend_says_what_ua_is_and_that_no_t_test_was_made(found: CrossCorpus) -> None:
    text = "\n".join(legend(found))
    assert "Always answering the most frequent class of other: WA 0.400, UA 0.333." in text
    assert (
        "* Means over the classes that other has; a prediction may be another class, too. It "
        "lacks neutral." in text
    )
    assert "of draws of 2 speakers, with replacement; too narrow with so few" in text
    assert "no t test over folds" in text
    assert text.endswith("A note.")


def test_a_single_row_has_no_differences() -> None:
    alone = cross_corpus([answers()])
    assert "ifference" not in printed(alone) + as_markdown(alone) + as_latex(alone)
    assert "no t test" not in "\n".join(legend(alone))
    assert read(differences_csv(alone)) == []


def test_differences_are_in_points_and_zero_has_no_minus(found: CrossCorpus) -> None:
    [first, *_] = difference_lines(found)
    assert first == [
        "made/row minus made/a_row & <another>",
        "means of runs",
        "+0.0 (+0.0 to +0.0)",
        "+0.0 (+0.0 to +0.0)",
    ]
    less = replace(found.differences[0], scores={"wa": -0.0001, "ua": -0.0123})
    [cells] = difference_lines(replace(found, differences=(less,)))
    assert cells[2:] == ["+0.0 (+0.0 to +0.0)", "-1.2 (+0.0 to +0.0)"]


def test_csv_has_all_digits_of_each_kind_of_score(found: CrossCorpus) -> None:
    own, runs, ensemble, *others = read(as_csv(found))
    assert len(others) == 3
    assert [line["of"] for line in (own, runs, ensemble)] == ["own test parts", "runs", "ensemble"]
    assert [line["tested_on"] for line in (own, runs, ensemble)] == ["own", "other", "other"]
    assert float(runs["ua_mean"]) == found.rows[0].runs.scores["ua"].mean
    assert float(runs["ua_std_folds"]) == found.rows[0].runs.scores["ua"].std_folds
    assert ensemble["ua_std_repeats"] == own["calibration_error"] == own["wa_low"] == ""
    assert runs["absent"] == "neutral"
    counts = read(classes_csv(found))
    assert sum(int(line["count"]) for line in counts) == 2 * (20 + 5)
    [one] = read(differences_csv(found))[:1]
    assert float(one["difference"]) == 0


def test_json_has_everything(found: CrossCorpus) -> None:
    values = json.loads(as_json(found))
    [row, _] = values["rows"]
    assert row["ensemble"]["scores"]["wa"]["mean"] == 0.8
    assert row["runs"]["confusion"][0] == [5, 0, 3, 0]
    assert row["own_test_scores"]["macro_f1"]["mean"] == pytest.approx(0.96)
    assert row["absent"] == ["neutral"]
    assert values["tested_on"] == "other"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_latex_compiles(found: CrossCorpus, tmp_path: Path) -> None:
    (tmp_path / "tables.tex").write_text(as_latex(found))
    document = (
        r"\documentclass{article}\usepackage{booktabs}\begin{document}\input{tables}\end{document}"
    )
    (tmp_path / "paper.tex").write_text(document)
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:]


def test_all_files_are_written_with_the_predictions_of_every_run(
    found: CrossCorpus, tmp_path: Path
) -> None:
    made = answers()
    frames = [made.predictions, made.ensemble]
    other = made.ensemble.rename(columns={"p_happy": "p_excited"})
    written = write_files(found, concat([*frames, other], ignore_index=True), tmp_path)
    assert [path.name for path in written] == [*FILES, PREDICTIONS]
    lines = read((tmp_path / PREDICTIONS).read_text())
    assert len(lines) == 30
    assert lines[0]["run"] == made.runs[0].report.digest
    assert [float(lines[0][f"p_{name}"]) for name in FOUR] == pytest.approx([0.7, 0.1, 0.1, 0.1])
    assert lines[-1]["p_happy"] == lines[0]["p_excited"] == ""
    assert np.isclose(float(lines[20]["p_angry"]), 0.575)
