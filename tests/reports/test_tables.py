"""Tables in every format: published and measured scores side by side, never confused."""

import csv
import io
import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mlt_ray.corpus.utterance import Corpus
from mlt_ray.errors import UserError
from mlt_ray.labels import FOUR
from mlt_ray.reports.collect import (
    Table,
    TableRow,
    different_versions,
    find_record,
    never_run,
)
from mlt_ray.reports.results import results_of
from mlt_ray.reports.statistics import Aggregate, Statistic
from mlt_ray.reports.tables import (
    FILES,
    as_csv,
    as_json,
    as_latex,
    as_markdown,
    as_terminal,
    caption,
    legend,
    row_cells,
    write_tables,
)
from mlt_ray.storage.files import write_json
from mlt_ray.storage.record import RowRecord
from mlt_ray.storage.store import Store
from tests.planning.three_rows import CORPUS
from tests.stored import report_with

MEASURED = Aggregate(
    wa=Statistic(mean=0.6412, std_repeats=0.0123, std_folds=0.0234, std_runs=0.0345, pooled=0.6512),
    ua=Statistic(mean=0.6618, std_repeats=0.0156, std_folds=0.0267, std_runs=0.0378, pooled=0.6718),
    done=13,
    planned=15,
)
BY_SESSION = "5 folds by session, 3/1/1"

BOTH = TableRow(
    name="both",
    published={"wa": (0.73, 0.003), "ua": (0.741, None)},
    measured=MEASURED,
    runs_done=13,
    runs_planned=15,
    folds=BY_SESSION,
    classes=FOUR,
)
ONLY_PUBLISHED = TableRow(
    name="only published",
    published={"wa": (0.719, 0.002), "ua": (0.727, 0.004)},
    measured=None,
    runs_done=0,
    runs_planned=15,
    folds=BY_SESSION,
    classes=FOUR,
)
ONLY_MEASURED = TableRow(
    name="only measured",
    published=None,
    measured=MEASURED,
    runs_done=13,
    runs_planned=15,
    folds=BY_SESSION,
    classes=FOUR,
)
TABLE = Table(
    study="table1",
    title="Table 1: rows & columns",
    corpus="iemocap_100%",
    rows=(BOTH, ONLY_PUBLISHED, ONLY_MEASURED),
)
# published WA, published UA, measured WA, measured UA, runs
CELLS = {
    "both": ["0.730 ± 0.003", "0.741", "0.641 ± 0.012", "0.662 ± 0.016", "13/15"],
    "only published": ["0.719 ± 0.002", "0.727 ± 0.004", "", "", "0/15"],
    "only measured": ["", "", "0.641 ± 0.012", "0.662 ± 0.016", "13/15"],
}


def in_terminal(table: Table, width: int = 200) -> str:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(as_terminal(table))
    return console.export_text()


def test_the_terminal_shows_every_cell_in_its_column() -> None:
    lines = in_terminal(TABLE).splitlines()
    above, head = next((a, b) for a, b in pairwise(lines) if b.split()[:1] == ["row"])
    assert above.split() == ["published", "published", "measured", "measured"]
    assert head.split() == ["row", "WA", "UA", "WA", "UA", "runs"]
    ends = [found.end() for found in re.finditer("WA|UA|runs", head)]
    for name, expected in CELLS.items():
        (line,) = (x for x in lines if x.strip().startswith(name + " "))
        starts = [0, *ends[:-1]]
        found = [line[a:b].strip() for a, b in zip(starts, ends, strict=True)]
        found[0] = found[0].removeprefix(name).strip()
        assert found == [cell.replace(" ", "") for cell in expected]


def test_long_names_are_broken_into_lines_and_numbers_are_not() -> None:
    name = "a system whose name is longer than the column has room for"
    table = Table(
        study="s",
        title="t",
        corpus="c",
        rows=(replace(BOTH, name=name),),
    )
    shown = in_terminal(table, width=80)
    for cell in CELLS["both"]:
        assert cell.replace(" ", "") in shown
    assert all(word in shown for word in name.split())
    assert "…" not in shown


def test_the_terminal_shows_a_name_in_brackets_as_it_is() -> None:
    table = Table(study="s", title="[red]t", corpus="[c]", rows=(named("[laughter]"),))
    shown = in_terminal(table)
    assert "[red]t" in shown
    assert "on [c]," in shown
    assert "[laughter]" in shown


@pytest.mark.parametrize("name", ["highway network", "w/o deep fusion module"])
def test_a_row_fits_into_eighty_characters(name: str) -> None:
    published = {"wa": (0.73, 0.003), "ua": (0.741, 0.001)}
    row = replace(BOTH, name=name, published=published)
    lines = in_terminal(replace(TABLE, rows=(row,)), width=80).splitlines()
    (line,) = (x for x in lines if x.strip().startswith(name))
    cells = ["0.730±0.003", "0.741±0.001", "0.641±0.012", "0.662±0.016", "13/15"]
    assert line.removeprefix(f" {name}").split() == cells


def test_every_format_says_what_the_numbers_were_measured_on() -> None:
    plain = "Measured: on iemocap_100%, 5 folds by session, 3/1/1."
    assert plain in " ".join(in_terminal(TABLE).split())
    assert plain in as_markdown([TABLE])
    assert r"on iemocap\_100\%, 5 folds by session, 3/1/1." in as_latex([TABLE])


def test_markdown_has_every_cell_and_all_deviations() -> None:
    lines = as_markdown([TABLE]).splitlines()
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in lines if "|" in line]
    head, rule, *body = rows
    expected = ["row", "published WA", "published UA", "measured WA", "measured UA", "runs"]
    over = ["WA ± over folds", "UA ± over folds", "WA ± over runs", "UA ± over runs"]
    assert head == [*expected, *over, "pooled WA", "pooled UA"]
    assert len(rule) == len(head)
    more = ["0.023", "0.027", "0.035", "0.038", "0.651", "0.672"]
    assert body == [
        ["both", *CELLS["both"], *more],
        ["only published", *CELLS["only published"], *[""] * 6],
        ["only measured", *CELLS["only measured"], *more],
    ]


def test_markdown_escapes_a_bar_in_a_name() -> None:
    table = Table(study="s", title="t", corpus="c", rows=(named("a|b"),))
    assert r"| a\|b | " in as_markdown([table])


def named(name: str) -> TableRow:
    return TableRow(
        name=name,
        published=None,
        measured=None,
        runs_done=0,
        runs_planned=15,
        folds=BY_SESSION,
        classes=FOUR,
    )


def test_latex_has_every_cell() -> None:
    lines = as_latex([TABLE]).splitlines()
    rows = [line.removesuffix(r" \\").split(" & ") for line in lines if line.endswith(r"\\")]
    expected = [[n, *(c.replace("±", r"$\pm$") for c in cells)] for n, cells in CELLS.items()]
    assert rows[1:] == expected
    assert len(rows[0]) == 6


def test_latex_escapes_special_characters() -> None:
    table = Table(
        study="s",
        title="50% & more_of #1",
        corpus="c",
        rows=(named(r"$5 \alpha {x} a~b a^b"),),
    )
    text = as_latex([table])
    assert r"\caption{50\% \& more\_of \#1. " in text
    escaped = r"\$5 \textbackslash{}alpha \{x\} a\textasciitilde{}b a\textasciicircum{}b & "
    assert escaped in text


def test_csv_has_all_digits_and_empty_cells_for_missing_values() -> None:
    both, published, measured = csv.DictReader(io.StringIO(as_csv([TABLE])))
    assert both["study"] == "table1"
    assert (both["published_wa_mean"], both["published_wa_std"]) == ("0.73", "0.003")
    assert (both["published_ua_mean"], both["published_ua_std"]) == ("0.741", "")
    assert both["measured_wa_mean"] == "0.6412"
    assert both["measured_ua_std_repeats"] == "0.0156"
    assert both["measured_wa_std_folds"] == "0.0234"
    assert both["measured_wa_std_runs"] == "0.0345"
    assert both["measured_ua_pooled"] == "0.6718"
    assert (both["runs_done"], both["runs_planned"]) == ("13", "15")
    assert {v for k, v in published.items() if k.startswith("measured")} == {""}
    assert {v for k, v in measured.items() if k.startswith("published")} == {""}


def test_no_text_in_csv_is_a_formula_for_a_spreadsheet() -> None:
    table = replace(TABLE, rows=(replace(BOTH, name="=row", changes=("--encoder minilm",)),))
    [row] = csv.DictReader(io.StringIO(as_csv([table])))
    assert (row["row"], row["changed"]) == ("'=row", "'--encoder minilm")


def test_json_has_exactly_this_structure() -> None:
    found = json.loads(as_json([TABLE]))
    scores = {
        "wa_mean": 0.6412,
        "wa_std": 0.0123,
        "wa_std_folds": 0.0234,
        "wa_std_runs": 0.0345,
        "wa_pooled": 0.6512,
        "ua_mean": 0.6618,
        "ua_std": 0.0156,
        "ua_std_folds": 0.0267,
        "ua_std_runs": 0.0378,
        "ua_pooled": 0.6718,
    }
    assert found == {
        "tables": [
            {
                "study": "table1",
                "title": "Table 1: rows & columns",
                "rows": [
                    {
                        "name": "both",
                        "published": {"wa": [0.73, 0.003], "ua": [0.741, None]},
                        "measured": scores,
                        "runs_done": 13,
                        "runs_planned": 15,
                        "changed": [],
                        "gaps": [],
                    },
                    {
                        "name": "only published",
                        "published": {"wa": [0.719, 0.002], "ua": [0.727, 0.004]},
                        "measured": None,
                        "runs_done": 0,
                        "runs_planned": 15,
                        "changed": [],
                        "gaps": [],
                    },
                    {
                        "name": "only measured",
                        "published": None,
                        "measured": scores,
                        "runs_done": 13,
                        "runs_planned": 15,
                        "changed": [],
                        "gaps": [],
                    },
                ],
                "notes": [],
            }
        ]
    }


def test_a_published_score_is_never_shown_as_measured() -> None:
    """In every format, each published score of a row appears exactly once."""
    table = Table(study="s", title="t", corpus="c", rows=(ONLY_PUBLISHED,))
    rendered = [in_terminal(table), *(render([table]) for render in FILES.values())]
    assert len(rendered) == 5
    for text in rendered:
        assert len(re.findall(r"0\.719", text)) == 1
        assert len(re.findall(r"0\.727", text)) == 1


def test_every_format_says_which_settings_were_changed_in_which_rows() -> None:
    """Changes of all measured rows are named once, others by row. Rows without runs have none."""
    frames, encoder = "features.frames_per_step=8", "--encoder minilm"
    rows = (
        replace(BOTH, changes=(frames, encoder)),
        replace(ONLY_MEASURED, changes=(frames,)),
        replace(ONLY_PUBLISHED, changes=("training.max_epochs=1",)),
    )
    table = replace(TABLE, rows=rows)
    said = f"Changed from the study: {frames}; both: {encoder}."
    assert said in caption(table)
    assert said in as_markdown([table])
    assert "Changed from the study" in as_latex([table])
    assert "Changed from the study" in " ".join(in_terminal(table).split())
    changed = [row["changed"] for row in csv.DictReader(io.StringIO(as_csv([table])))]
    assert changed[:2] == [f"{frames}, {encoder}", frames]
    [found] = json.loads(as_json([table]))["tables"]
    assert [row["changed"] for row in found["rows"]][:2] == [[frames, encoder], [frames]]
    assert "Changed" not in caption(TABLE)


def test_several_tables_follow_one_another() -> None:
    other = Table(study="demo", title="Demo", corpus="c", rows=(BOTH,))
    assert as_markdown([TABLE, other]).count("\n## ") + 1 == 2
    assert as_latex([TABLE, other]).count(r"\begin{table}") == 2
    assert [t["study"] for t in json.loads(as_json([TABLE, other]))["tables"]] == ["table1", "demo"]
    assert [r["study"] for r in csv.DictReader(io.StringIO(as_csv([TABLE, other])))] == [
        *["table1"] * 3,
        "demo",
    ]


def test_every_format_is_written_to_a_file(tmp_path: Path) -> None:
    paths = write_tables([TABLE], tmp_path / "reports")
    assert sorted(p.name for p in paths) == [
        "tables.csv",
        "tables.json",
        "tables.md",
        "tables.tex",
    ]
    assert json.loads((tmp_path / "reports" / "tables.json").read_text())["tables"]
    assert "±" in (tmp_path / "reports" / "tables.md").read_text(encoding="utf-8")


def collect(study: str, store: Store) -> Table:
    """The table of a study that was run in a store."""
    [table] = results_of([find_record(study, store)], store).tables
    return table


def write_plan(
    store: Store, rows: dict[str, list[str]], published: Any = None, model: Any = None
) -> None:
    """Write a plan into the store. `rows`: name of a row → digests of its runs."""
    values = {
        "study": "mine",
        "title": "Mine",
        "corpus": {"name": "spoken", "fingerprint": "c0ffee"},
        "rows": [
            {
                "name": name,
                "published": published,
                "overrides": [],
                "spec": {"corpus": "c0ffee", "folds": {"by": by}, "model": model or {}},
                "runs": [
                    {"digest": d, "fold": 1 + n % 5, "seed": 1 + n // 5}
                    for n, d in enumerate(digests)
                ],
            }
            for (name, digests), by in zip(rows.items(), ("session", "speaker"), strict=False)
        ],
    }
    write_json(store.study("mine"), values)


def test_a_row_shows_that_thirteen_of_fifteen_runs_are_finished(tmp_path: Path) -> None:
    store = Store(tmp_path)
    digests = [f"{n:016x}" for n in range(15)]
    write_plan(store, {"one": digests, "none": ["f" * 16]}, {"wa": [0.7, None], "ua": [0.8, 0.1]})
    assert [row.folds for row in collect("mine", store).rows] == [
        BY_SESSION,
        "5 folds by speaker, 3/1/1",
    ]
    for n, digest in enumerate(digests[:13]):
        run = report_with(1 + n % 5, 1 + n // 5, wa=0.5 + 0.01 * (n // 5), ua=0.25, digest=digest)
        store.write_run(run, {}, b"", {})
    table = collect("mine", store)
    # Nothing is measured by speaker.
    assert (table.title, table.corpus) == ("Mine", "spoken")
    one, none = table.rows
    assert (one.runs_done, one.runs_planned) == (13, 15)
    assert one.measured is not None
    assert one.measured.wa.mean == pytest.approx((5 * 0.50 + 5 * 0.51 + 3 * 0.52) / 13)
    assert one.measured.wa.std_repeats == pytest.approx(0.01 / 2**0.5)
    assert (none.measured, none.runs_done, none.runs_planned) == (None, 0, 1)
    assert none.published == {"wa": (0.7, None), "ua": (0.8, 0.1)}
    assert "13/15" in in_terminal(table)


def test_the_error_for_a_study_that_was_never_run_names_those_that_were(tmp_path: Path) -> None:
    store = Store(tmp_path)
    write_plan(store, {"one": ["f" * 16]})
    with pytest.raises(UserError, match="runs of study emodb, found those of: mine; run mlt-ray"):
        collect("emodb", store)
    with pytest.raises(UserError, match="runs of study table1, found those of: mine; run mlt-ray"):
        collect("table1", store)
    with pytest.raises(UserError, match=r"unknown study tabel1; did you mean table1\?"):
        collect("tabel1", store)


NO_SAD = replace(MEASURED, gaps=("no sad in test of fold 3",))


def test_a_ua_over_fewer_classes_is_marked_in_every_format() -> None:
    """No format shows it as an ordinary UA. WA is the same whatever classes there are."""
    table = replace(TABLE, rows=(replace(BOTH, measured=NO_SAD), ONLY_PUBLISHED, ONLY_MEASURED))
    said = "* Not a mean over all classes: both: no sad in test of fold 3."
    shown = " ".join(in_terminal(table).split())
    assert "0.662±0.016*" in shown
    assert said in shown
    cells = ["0.730 ± 0.003", "0.741", "0.641 ± 0.012", "0.662 ± 0.016*", "13/15"]
    markdown = as_markdown([table])
    assert f"| both | {' | '.join(cells)} |" in markdown
    assert said in markdown
    assert r"0.662 $\pm$ 0.016* & 13/15" in as_latex([table])
    assert said in as_latex([table])
    both, *others = csv.DictReader(io.StringIO(as_csv([table])))
    assert both["gaps"] == "no sad in test of fold 3"
    [found] = json.loads(as_json([table]))["tables"]
    assert found["rows"][0]["gaps"] == ["no sad in test of fold 3"]
    # The other rows are not marked.
    assert shown.count("0.662±0.016*") == 1
    assert markdown.count("*") == 2
    assert {row["gaps"] for row in others} == {""}
    assert "*" not in as_markdown([TABLE])


def test_gaps_of_all_rows_are_named_once() -> None:
    rows = tuple(replace(row, measured=NO_SAD) for row in (BOTH, ONLY_MEASURED))
    table = replace(TABLE, rows=(*rows, ONLY_PUBLISHED))
    assert caption(table).endswith("* Not a mean over all classes: no sad in test of fold 3.")


def test_speakers_who_may_be_one_are_named_beside_the_table(tmp_path: Path) -> None:
    store = Store(tmp_path)
    write_plan(store, {"one": ["f" * 16]})
    said = "Speakers whose names are alike count as different ones: F1 and f1."
    assert collect("mine", store).notes == ()
    utterance = CORPUS.utterances[0]
    pair = (replace(utterance, id="a", speaker="F1"), replace(utterance, id="b", speaker="f1"))
    values = Corpus(name="spoken", utterances=pair).as_dict()
    write_json(store.corpus("c0ffee"), values)
    table = collect("mine", store)
    for text in (caption(table), as_markdown([table]), as_latex([table])):
        assert said in text
    assert json.loads(as_json([table]))["tables"][0]["notes"] == [said[0].lower() + said[1:-1]]


def test_rows_of_different_versions_of_a_library_are_told() -> None:
    def row(name: str, torch: str, opensmile: str = "") -> RowRecord:
        spec = {
            "features": {"libraries": f"numpy 2.4.6{opensmile}, torch {torch}"},
            "training": {"libraries": f"numpy 2.4.6, torch {torch}"},
        }
        return RowRecord(name=name, spec=spec, runs=())

    old, new = row("old", "2.11.0"), row("new", "2.12.0", ", opensmile 2.6.0")
    assert different_versions([old, row("other", "2.11.0", ", opensmile 2.6.0")]) == ""
    expected = "rows were computed with different versions: torch 2.11.0 and 2.12.0"
    assert different_versions([old, new]) == expected
    assert different_versions([replace(old, spec={"features": {}, "training": {}}), new]) == ""


def test_a_row_that_an_earlier_version_repeated_without_a_seed_has_one_run_a_fold(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path)
    digests = [f"{n:016x}" for n in range(15)]
    write_plan(store, {"words": digests}, model={"system": "classical", "text": "tfidf"})
    for n, digest in enumerate(digests):
        store.write_run(report_with(1 + n % 5, 1 + n // 5, ua=0.25, digest=digest), {}, b"", {})
    table = collect("mine", store)
    [row] = table.rows
    assert (row.runs_done, row.runs_planned) == (5, 5)
    assert row.measured is not None
    assert row.measured.ua.std_repeats is None
    assert row_cells(row, table) == ["0.500", "0.250", "5/5"]
    assert legend([table]) == (
        "WA = correct / all; UA = mean over classes of recall.",
        "A row that reads no seed is run once a fold, and has no ±.",
    )


def test_columns_of_published_scores_stand_only_where_there_are_any() -> None:
    measured = replace(TABLE, rows=tuple(row for row in TABLE.rows if not row.published))
    head = ["row", "measured WA", "measured UA", "runs"]
    [first] = [line for line in as_markdown([measured]).splitlines() if "measured UA" in line]
    assert [cell.strip() for cell in first.strip("|").split("|")][:4] == head
    assert " & ".join(head) in as_latex([measured])
    assert "published" not in as_latex([measured]) + as_markdown([measured])
    assert legend([measured])[1].endswith("of the mean over all folds.")
    assert legend([TABLE])[1].endswith("the published ± is taken to be the same.")


@pytest.mark.parametrize(
    ("given", "command"),
    [
        ("{folder}/emodb.yaml", "mlt-ray run {folder}/emodb.yaml"),
        ("{folder}/widths.yaml", "mlt-ray search {folder}/widths.yaml"),
        ("emodb", "mlt-ray run emodb.yaml"),
        ("table1", "mlt-ray run table1"),
        ("layers", "mlt-ray search layers"),
    ],
)
def test_the_remedy_for_a_study_that_was_never_run_is_a_command_that_runs_it(
    tmp_path: Path, given: str, command: str
) -> None:
    (tmp_path / "emodb.yaml").write_text("rows: []\n")
    (tmp_path / "widths.yaml").write_text("space: {}\n")
    given, command = given.format(folder=tmp_path), command.format(folder=tmp_path)
    error = never_run(given, Store(tmp_path / "store"))
    assert f"; run {command} --corpus CORPUS first, or name another --store" in str(error)


def test_what_most_rows_have_in_common_is_said_without_their_names() -> None:
    names = ["a", "b", "c", "d", "e"]
    rows = [replace(BOTH, name=name) for name in names]
    rows[1] = replace(rows[1], folds="5 folds by speaker, 3/1/1")
    for n in (0, 1, 3):
        rows[n] = replace(rows[n], changes=("--encoder mine",))
    rows[4] = replace(rows[4], changes=("training.max_epochs=4",))
    text = caption(replace(TABLE, rows=tuple(rows)))
    assert "b: 5 folds by speaker, 3/1/1; the others: 5 folds by session, 3/1/1." in text
    assert "all but c and e: --encoder mine; e: training.max_epochs=4." in text
