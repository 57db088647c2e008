"""Tables of any separator and encoding: read where that is safe, else said in one line."""

import gzip
import re

import pytest

from mlt_ray.corpus.readers.table import open_table, read_table
from mlt_ray.errors import UserError

TABLE = 'key,text,other\na,"Well, yes.",1\nb,Olé,2\n'
ROWS = [{"key": "a", "text": "Well, yes."}, {"key": "b", "text": "Olé"}]
COLUMNS = ("key", "text")


@pytest.fixture
def write(tmp_path):
    def build(content):
        path = tmp_path / "table.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return build


def notes(path):
    rows, found = read_table(path, COLUMNS)
    assert rows == ROWS
    return [note.reason for note in found]


@pytest.mark.parametrize(
    ("separator", "noun"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")]
)
def test_other_separators_than_commas_are_read_and_said(write, separator, noun):
    lines = ("key", "text", "other"), ("a", "Well, yes.", "1"), ("b", "Olé", "2")
    path = write("\n".join(map(separator.join, lines)))
    assert notes(path) == [f"expected commas between cells, reads {noun}"]


def test_commas_go_before_other_separators(write):
    path = write("key,text,a;b\na,x;y,\n")
    assert read_table(path, COLUMNS) == ([{"key": "a", "text": "x;y"}], [])


def test_a_separator_that_does_not_give_all_columns_is_not_guessed(write):
    with pytest.raises(UserError, match=r"expected columns key, text, got key;word; add key, text"):
        read_table(write("key;word\na;b\n"), COLUMNS)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_a_byte_order_mark_says_the_encoding(write, encoding):
    [note] = notes(write(TABLE.encode(encoding)))
    assert note == f"expected UTF-8, reads {encoding.upper()}, as its byte-order mark says"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_utf_8_needs_no_note(write, encoding):
    assert notes(write(TABLE.encode(encoding))) == []


def test_latin_1_is_a_note(write):
    [note] = notes(write(TABLE.encode("latin-1")))
    assert note.startswith("expected UTF-8, got another encoding; Windows-1252 reads 'Olé'")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "expected columns key, text, got an empty file; add key, text to the first line"),
        (b"\n\n", "expected columns key, text, got an empty file; add key, text to the first line"),
        (
            TABLE.encode("utf-16-le"),
            "got what looks like UTF-16 without a byte-order mark; save",
        ),
        (
            TABLE.encode("utf-16-be"),
            "got what looks like UTF-16 without a byte-order mark; save",
        ),
        (TABLE.encode("utf-16")[:-1], "expected UTF-8, got damaged UTF-16 (truncated data); save"),
        (
            b"key,text\na,b\nc,d\0e\n",
            ", line 3: expected text, got a NUL byte; write the file",
        ),
        (b"key,text,Key\na,b,c\n", "column key stands there twice; remove one"),
        (b'key,text\na,"b\nc,d\n', ", line 2: expected CSV, got: a quote that is not closed; put"),
        (b"key,text\na,b,c\n", ", line 2: has more cells than the first line"),
        (b"key,text\n" + b"x" * 200_000, ", line 2: expected CSV, got: field larger than"),
        (b"PK\x03\x04rest", "expected CSV in UTF-8, got an Excel workbook or another ZIP archive"),
        (
            gzip.compress(b"key,text\n", mtime=0),
            "expected CSV in UTF-8, got a gzip archive; save it as CSV",
        ),
    ],
)
def test_what_is_no_table_is_said_in_one_line(write, content, line):
    path = write(content)
    with pytest.raises(UserError, match=re.escape(line)) as error:
        read_table(path, COLUMNS)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_no_file_is_said(tmp_path):
    with pytest.raises(UserError, match="expected a CSV file with columns key, text, got none"):
        read_table(tmp_path / "nowhere.csv", COLUMNS)


def test_quoted_line_breaks_and_carriage_returns_are_read(write):
    path = write('key,text\r\na,"Well,\nyes."\r\nb,No\r\n')
    assert [row["text"] for row in read_table(path, COLUMNS)[0]] == ["Well,\nyes.", "No"]
    assert [line for line, _ in open_table(path, COLUMNS).rows()] == [3, 4]


def test_a_quote_inside_of_a_cell_is_read_unless_it_is_refused(write):
    path = write('key,text\na,"No" is "no"\n')
    assert read_table(path, COLUMNS)[0][0]["text"] == 'No is "no"'
    with pytest.raises(UserError, match="line 2: expected CSV, got: ',' expected after"):
        list(open_table(path, COLUMNS, is_strict=True).rows())
