"""Two commands of one study in one store at once: each prints the table of what it asked for."""

import itertools
import json
import os
import shutil
import statistics

import pytest

from tests.end_to_end.conftest import reports, start_mlt_ray

pytestmark = pytest.mark.slow

TIMES = int(os.environ.get("MLT_RAY_TIMES", "1"))
"""How often each pair is started; more than once to look for a rare failure."""

AUDIO, HIGHWAY = "audio only", "highway network"
SHORT = "training.max_epochs=2"
PAIRS = {
    "seeds": (
        ("--rows", AUDIO, "--seeds", "11,12", "--folds", "1"),
        ("--rows", AUDIO, "--seeds", "13", "--folds", "1"),
    ),
    "settings": (
        ("--rows", AUDIO, "--seeds", "1", "--folds", "1-2", "--set", SHORT),
        ("--rows", AUDIO, "--seeds", "1", "--folds", "1-2"),
    ),
    "rows": (
        ("--rows", AUDIO, "--seeds", "1", "--folds", "3"),
        ("--rows", HIGHWAY, "--seeds", "1", "--folds", "3", "--set", SHORT),
    ),
}
"""What two users ask for of one study."""


@pytest.mark.parametrize("time", range(TIMES))
@pytest.mark.parametrize("pair", PAIRS)
def test_each_of_two_drivers_prints_its_own_rows(pair, time, undisturbed, corpus, study, tmp_path):
    store = tmp_path / "store"
    for part in ("features", "corpora"):
        shutil.copytree(undisturbed / part, store / part)
    outs = [tmp_path / f"out{number}" for number in range(2)]
    places = ("--corpus", corpus, "--store", store)
    processes = [
        start_mlt_ray("run", study, *places, *asked, "--out", out)
        for asked, out in zip(PAIRS[pair], outs, strict=True)
    ]
    printed = [process.communicate(timeout=400) for process in processes]
    for process, (shown, errors) in zip(processes, printed, strict=True):
        assert process.returncode == 0, shown + errors
        assert "cannot be written" not in errors
    for asked, out, (shown, _) in zip(PAIRS[pair], outs, printed, strict=True):
        check_table(asked, json.loads((out / "tables.json").read_text()), shown, store)


def check_table(asked, tables, shown, store):
    """The row that was asked for has the mean of runs with its settings, its own among them."""
    name, seeds, folds = asked[1], numbers(asked[3]), numbers(asked[5])
    changes = [SHORT] if SHORT in asked else []
    [row] = (row for row in tables["tables"][0]["rows"] if row["name"] == name)
    assert row["changed"] == changes
    assert (SHORT in " ".join(shown.split())) == any(
        SHORT in row["changed"] and row["measured"] for row in tables["tables"][0]["rows"]
    )
    found = [json.loads(text) for text in reports(store).values()]
    own = [r for r in found if setting(r) == (name, 2 if changes else 3)]
    assert {(r["fold"], r["seed"]) for r in own} >= {(f, s) for f in folds for s in seeds}
    # Another driver may have added runs to the row before or after this table was printed.
    mine = [r["scores"]["test"]["ua"] for r in own if r["seed"] in seeds]
    others = [r["scores"]["test"]["ua"] for r in own if r["seed"] not in seeds]
    assert len(mine) <= row["runs_done"] <= len(own)
    added = itertools.combinations(others, row["runs_done"] - len(mine))
    means = [statistics.fmean((*mine, *more)) for more in added]
    assert any(row["measured"]["ua_mean"] == pytest.approx(mean) for mean in means)


def setting(report):
    """Name of the row, and number of epochs, of a report."""
    values = report["spec"]
    row = AUDIO if values["model"]["inputs"] == "audio" else HIGHWAY
    return row, values["training"]["max_epochs"]


def numbers(text):
    """Numbers of a text such as 1-2 or 11,12."""
    first, _, last = text.partition("-")
    return list(range(int(first), int(last) + 1)) if last else [int(n) for n in text.split(",")]
