"""CSV files of texts become lines to be spoken; mistakes in them are named by file and line."""

import csv
from pathlib import Path

import pytest

from mlt_ray.corpus.synthetic.lines import Line, read_texts
from mlt_ray.errors import UserError


def write_csv(path: Path, *rows: tuple[str, ...]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("session", "speaker", "emotion", "text"), *rows])
    return path


def test_texts_are_read_with_other_columns_ignored(tmp_path: Path) -> None:
    path = tmp_path / "texts.csv"
    path.write_text(
        '\ufeffid,session,speaker,emotion,text\na,1,Ses01M,angry,"Well, no."\nb,2,Ses02F,exc,Yes\n',
        encoding="utf-8",
    )
    assert read_texts(path) == [
        Line(speaker="Ses01M", emotion="angry", text="Well, no."),
        Line(speaker="Ses02F", emotion="happy", text="Yes"),
    ]


def test_other_names_of_speakers_become_f_and_m_in_their_order(tmp_path: Path) -> None:
    path = write_csv(
        tmp_path / "texts.csv",
        ("4", "zoe", "sad", "no"),
        ("4", "adam", "sad", "no"),
        ("5", "adam", "sad", "no"),
    )
    assert [line.speaker for line in read_texts(path)] == ["Ses04M", "Ses04F", "Ses05F"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("6", "Ses06F", "sad", "x"), r"texts\.csv:3: expected a session from 1 to 5, got '6'"),
        (("1", "Ses01F", "bored", "x"), r"texts\.csv:3: expected an emotion out of .*got 'bored'"),
        (("1", "Ses01F", "calm", "x"), r"texts\.csv:3: expected an emotion .*got 'calm'"),
        (("1", "Ses01F", "fru", "x"), r"texts\.csv:3: expected an emotion .*got 'fru'"),
        (("1", "", "sad", "x"), r"texts\.csv:3: expected a speaker such as Ses01F"),
        (("1", "Ses02F", "sad", "x"), r"texts\.csv:3: expected a speaker of session 1, got Ses02F"),
        (("1", "Ses01F", "sad"), r"texts\.csv:3: expected as many cells"),
        (("1", "Ses01F", "sad", "x", "y"), r"texts\.csv:3: expected as many cells"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path: Path, row: tuple[str, ...], message: str) -> None:
    path = write_csv(tmp_path / "texts.csv", ("1", "Ses01M", "sad", "fine"), row)
    with pytest.raises(UserError, match=message) as caught:
        read_texts(path)
    assert "\n" not in str(caught.value)


def test_a_third_speaker_in_a_session_is_refused(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "texts.csv", *(("2", name, "sad", "x") for name in "abc"))
    with pytest.raises(UserError, match=r"at most two speakers in session 2, got 3 \(a, b, c"):
        read_texts(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"expected columns .*got an empty file"),
        (b"session,text\n1,x\n", r"texts\.csv: .*add speaker, emotion to the first line"),
        (b"session,speaker,emotion,text\n", "at least one row"),
        (b"session,speaker,emotion,text\n1,Ses01F,sad,\xff\xfe\n", "expected UTF-8"),
        (b'session,speaker,emotion,text\n1,Ses01F,sad,"a"b\n', "expected CSV"),
        (None, r"texts\.csv: expected a CSV file .*got none"),
    ],
)
def test_a_file_that_is_no_table_of_texts_is_refused(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "texts.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_texts(path)
