"""The report page: what it says of a study, and that it needs nothing from elsewhere."""

import re
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from mlt_ray.reports.page.content import contents_of
from mlt_ray.reports.page.provenance import commands
from mlt_ray.reports.page.render import render, write_page
from mlt_ray.reports.search import ConfigurationResult, write_search
from mlt_ray.storage.store import Store
from mlt_ray.studies.space import parse_space
from tests.reports.made_up import SKILLS, corpus, fill
from tests.reports.reading import check_it_asks_nobody, words

MOST_BYTES = 2_000_000


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    results = fill(Store(tmp_path_factory.mktemp("store")))
    return render(
        contents_of(results),
        ["made: good, fold 1, seed 9: the loss is nan", "other: bad, fold 1, seed 1: killed"],
    )[0]


def test_the_page_asks_nobody_for_anything(page: str) -> None:
    check_it_asks_nobody(page)
    assert len(page.encode()) < MOST_BYTES


def test_names_and_texts_of_a_corpus_are_no_markup(page: str) -> None:
    assert "<b>poor" not in page
    assert "<left>" not in page
    said = words(page)
    assert "<b>poor</b> & slow" in said
    assert 'He said "no" & <left>' in said
    assert "Made <up>" in said


def test_a_poor_row_is_told_and_rows_as_good_are_within_noise(page: str) -> None:
    said = words(page)
    for name in SKILLS:
        assert name in said
    assert "within noise" in said
    assert "lower" in said
    assert "higher" not in said


def test_published_scores_stand_in_columns_of_their_own(page: str) -> None:
    [row] = re.findall(
        r'<tr><th scope="row">good</th>(?:(?!</tr>).)*?70\.0 ± 1\.0.*?</tr>', page, re.S
    )
    cells = re.findall(r"<td.*?>(.*?)</td>", row)
    assert cells[3:5] == ["70.0 ± 1.0", "71.0"]
    measured = float(cells[1].split()[0])
    assert float(cells[5].replace("−", "-")) == pytest.approx(measured - 71.0, abs=0.11)


def test_what_nobody_finds_is_listed_with_its_text(page: str) -> None:
    [row] = re.findall(r'<tr><th scope="row">u000</th>(.*?)</tr>', page, re.S)
    assert [re.findall(r">(.*?)</td>", row)[n] for n in (0, 2)] == ["s0", "angry"]


def test_failed_runs_are_told(page: str) -> None:
    assert "made: good, fold 1, seed 9: the loss is nan" in words(page)
    assert "killed" not in words(page)


def test_runs_that_are_missing_are_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    results = fill(store, {"good": 0.8, "none": 0.5})
    rows = {row.name: row for row in results.records[0].rows}
    for run in (*rows["none"].runs, rows["good"].runs[1]):
        (store.run_file(run.digest, "report.json")).unlink()
    from mlt_ray.reports.results import results_of

    said = words(render(contents_of(results_of(results.records, store)))[0])
    assert "none: none of 15 runs" in said
    assert f"good: {rows['good'].runs[1]}" in said


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    results = fill(Store(tmp_path / "store"), {"good": 0.8})
    first = write_page(contents_of(results), tmp_path / "one", with_figures=True)
    write_page(contents_of(results), tmp_path / "two", with_figures=True)
    assert [path.name for path in first.written] == ["report.html", "figures"]
    files = [p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*.*")]
    assert {f.suffix for f in files} == {".html", ".pdf", ".svg"}
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def configurations() -> list[ConfigurationResult]:
    """Four complete ones and a pruned one; the first and the third are the best."""
    scores = (0.41, 0.30, 0.405, 0.35, None)
    return [
        ConfigurationResult(
            number=n,
            values={"training.learning_rate": 0.0008357 * (n + 1), "model.width": 32},
            state="complete" if score else "pruned",
            reason="" if score else "poor after fold 1",
            runs_done=3 if score else 1,
            runs_planned=3,
            means={"dev_ua": score} if score else {},
            place={0: 1, 2: 2}.get(n),
        )
        for n, score in enumerate(scores)
    ]


def test_a_search_stands_above_its_best(tmp_path: Path) -> None:
    store = Store(tmp_path)
    results = fill(store, {"best 1: configuration 0": 0.8, "best 2: configuration 2": 0.7})
    space = parse_space(
        Path("made.yaml"),
        {
            "base": {"model": {"system": "multilevel"}},
            "space": {
                "training.learning_rate": {"log": [0.0001, 0.01]},
                "model.width": {"choice": [32, 64]},
            },
            "search": {"trials": 5, "best": 2},
        },
    )
    shares = {"training.learning_rate": 0.9, "model.width": 0.1}
    write_search(space, configurations(), store.report_dir("made"), (), shares)
    [content] = contents_of(results)
    assert content.search is not None
    assert content.search.best_so_far == (0.41, 0.41, 0.41, 0.41)
    page = render([content])[0]
    said = words(page)
    assert "4 complete, 1 pruned" in said
    assert "no nested cross-validation" in said
    assert "dev UA, %" in said
    assert "by 4 configurations (fANOVA)" in said
    assert "mlt-ray search made.yaml --corpus CORPUS" in said
    row = re.findall(r'<tr><th scope="row">0</th>(.*?)</tr>', page, re.S)[0]
    assert re.findall(r">([^<]*)</td>", row) == [
        "0.0008357",
        "32",
        "3/3",
        "41.0",
        "complete: best 1",
    ]
    row = re.findall(r'<tr><th scope="row">4</th>(.*?)</tr>', page, re.S)[0]
    assert re.findall(r">([^<]*)</td>", row)[-2:] == ["", "pruned: poor after fold 1"]


def test_a_class_that_nobody_predicts_is_told_and_its_utterances_are_not_called_mislabelled(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path)
    results = fill(store, {"good": 0.8})
    predictions = results.predictions
    never = predictions["predicted"] == "sad"
    frame = predictions.assign(predicted=predictions["predicted"].mask(never, "angry"))
    confusions = []
    for matrix in results.runs["test_confusion"]:
        moved = [list(row) for row in matrix]
        for row in moved:
            row[0] += row[3]
            row[3] = 0
        confusions.append(moved)
    changed = replace(results, runs=results.runs.assign(test_confusion=confusions))
    vars(changed)["predictions"] = frame
    [content] = contents_of(changed)
    assert content.never == ("sad",)
    assert "sad" not in set(content.wrong["emotion"])
    said = words(render([content])[0])
    assert "Classes that a row never predicts: good: sad." in said
    assert "Those of sad, which nobody ever predicts, are left out." in said


def test_names_with_signs_of_mathematics_and_of_any_length_are_drawn(tmp_path: Path) -> None:
    names = {r"loss $\foo$": 0.8, "$5 and $10": 0.5, "very long " * 30: 0.4, "情感 行": 0.3}
    contents = contents_of(fill(Store(tmp_path / "store"), names))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page = write_page(contents, tmp_path, with_figures=True)
    said = words(page.path.read_text())
    assert all(name.strip() in said for name in names)
    assert b"\\foo" in (tmp_path / "figures/made-rows.svg").read_bytes()


def test_a_study_of_one_fold_of_one_speaker_has_a_page(tmp_path: Path) -> None:
    store = Store(tmp_path)
    results = fill(store, {"good": 0.8, "poor": 0.3})
    [record] = results.records
    lone = {u.id for u in corpus().utterances if u.speaker == "s0"}
    one = results.predictions[results.predictions["utterance"].isin(lone)]
    bare = replace(corpus(), utterances=tuple(replace(u, dialog=None) for u in corpus().utterances))
    store.write_json(store.corpus(record.fingerprint), bare.as_dict())
    folds = set(one[one["part"] == "test"]["fold"])
    changed = replace(results, runs=results.runs[results.runs["fold"].isin(folds)])
    vars(changed)["predictions"] = one
    said = words(render(contents_of(changed))[0])
    assert "too few runs to say" in said
    assert "utterances of only 1 speakers" in said


def test_a_search_of_before_is_not_that_of_a_study_of_its_name(tmp_path: Path) -> None:
    store = Store(tmp_path)
    results = fill(store, {"good": 0.8})
    store.write_json(store.report_dir("made") / "search.json", {"objectives": {"dev_ua": "max"}})
    [content] = contents_of(results)
    assert content.search is None


def test_the_command_has_seeds_folds_and_quoted_changes(tmp_path: Path) -> None:
    [content] = contents_of(fill(Store(tmp_path), {"good": 0.8}))
    record = content.record
    [row] = record.rows
    runs = tuple(run for run in row.runs if run.fold < 3 and run.seed > 1)
    changes = ("--encoder my folder", "model.width=64")
    changed = replace(record, rows=(replace(row, runs=runs, changes=changes),))
    first, *_ = commands(replace(content, record=changed))
    assert first.partition("    #")[0] == (
        "mlt-ray run made.yaml --corpus CORPUS --encoder 'my folder' --set model.width=64 "
        "--seeds 2,3 --folds 1,2"
    )


def test_published_scores_of_another_corpus_are_not_to_be_compared(page: str) -> None:
    said = words(page)
    assert "Here others were tested" in said
    assert "What differs from the paper" in said


def test_of_many_rows_the_best_on_dev_have_figures_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlt_ray.reports.page.sections.MOST_DRAWN", 2)
    contents = contents_of(fill(Store(tmp_path), {"good": 0.8, "poor": 0.1, "as good": 0.79}))
    html, [album] = render(contents)
    assert "The 2 of 3 rows whose UA on dev is highest." in html
    drawn = {name.removeprefix("made-confusion-") for name in album.figures if "confusion" in name}
    assert drawn == {"good", "as-good"}
