import csv
import io
import re
from pathlib import Path

import pytest

import mlt_ray
from mlt_ray.storage.report import Epoch, curve_csv
from mlt_ray.storage.spreadsheet import csv_rows, csv_text


def cells(text):
    return list(csv.reader(io.StringIO(text)))


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0d"])
def test_a_text_that_a_spreadsheet_would_compute_gets_an_apostrophe(first):
    text = f'{first}HYPERLINK("http://x","y")'
    written = csv_text([text, "'" + text], [])
    assert cells(written) == [["'" + text, "''" + text]]
    assert csv_rows(written) == [[text, "'" + text]]


@pytest.mark.parametrize("text", ["'", "'a", "''", "a=1", " =1", "", "0.5", "Ses01F_impro01-F000"])
def test_other_texts_stay_as_they_are(text):
    written = csv_text(["name", "more"], [[text, 1]])
    assert cells(written)[1] == csv_rows(written)[1] == [text, "1"]


def test_numbers_stay_numbers_and_nothing_is_an_empty_cell():
    written = csv_text(["a", "b", "c", "d"], [[-0.5, -3, None, 1e-5]])
    assert written == "a,b,c,d\n-0.5,-3,,1e-05\n"
    epoch = Epoch(epoch=1, train_loss=-0.5, dev_loss=0.25, dev_wa=0.5, dev_ua=0.5, ended_ms=7)
    assert cells(curve_csv((epoch,)))[1] == ["1", "-0.5", "0.25", "0.5", "0.5", "", "7"]


def test_no_other_module_writes_csv():
    modules = Path(mlt_ray.__file__).parent.rglob("*.py")
    writers = {path.name for path in modules if re.search(r"csv\.\w*[wW]riter", path.read_text())}
    assert writers == {"spreadsheet.py"}
