import pytest

from mlt_ray.corpus.labelling import select
from mlt_ray.corpus.readers.manifest import read_manifest
from mlt_ray.corpus.readers.read import read_corpus
from mlt_ray.errors import UserError
from mlt_ray.labels import NAMED

HEADER = "path,text,emotion,speaker"


@pytest.fixture
def write(tmp_path, noise):
    """Writes a manifest of the given lines and three recordings a.wav, b.flac and c.wav."""
    for seed, name in enumerate(("a.wav", "b.flac", "c.wav")):
        noise(tmp_path / "audio" / name, seed, num_samples=1600 * (seed + 1))

    def build(*lines, encoding="utf-8", end="\n"):
        text = end.join([*lines, ""])
        (tmp_path / "manifest.csv").write_bytes(text.encode(encoding))
        return tmp_path

    return build


def test_a_minimal_manifest_is_read(write):
    corpus = read_corpus(write(HEADER, 'audio/b.flac,"Well, yes.",sad,s1', "audio/a.wav,,angry,s2"))
    first, second = corpus.utterances
    assert corpus.problems == ()
    assert (first.id, first.text, first.emotion, first.speaker) == ("audio/a", "", "angry", "s2")
    assert (second.id, second.text, second.emotion) == ("audio/b", "Well, yes.", "sad")
    assert second.duration_s == pytest.approx(0.2)
    assert (first.session, first.dialog, first.alignment) == (None, None, None)


def test_optional_columns_are_read_and_others_ignored(write):
    root = write(
        "licence,speaker,id,session,dialog,alignment,path,text,emotion",
        "CC0,s1,one,4,tea,a.wdseg,audio/a.wav,Hm.,sad",
        "CC0,s1,two,,,,audio/c.wav,Hm.,sad",
    )
    (root / "a.wdseg").touch()
    first, second = read_manifest(root).utterances
    assert (first.id, first.session, first.dialog) == ("one", "4", "tea")
    assert first.alignment == root / "a.wdseg"
    assert (second.session, second.dialog, second.alignment) == (None, None, None)


def test_an_alignment_that_the_manifest_does_not_name_is_not_used(write):
    root = write(HEADER, "audio/a.wav,Hm.,sad,s1")
    (root / "audio" / "a.wdseg").touch()
    assert read_manifest(root).utterances[0].alignment is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_encodings_and_line_ends_do_not_matter(write, encoding, end):
    root = write(HEADER, "audio/a.wav,Olé.,sad,s1", encoding=encoding, end=end)
    (utterance,) = read_manifest(root).utterances
    assert (utterance.text, utterance.speaker) == ("Olé.", "s1")


def test_a_guessed_encoding_is_a_note(write):
    corpus = read_manifest(write(HEADER, "audio/a.wav,Olé.,sad,s1", encoding="cp1252"))
    [note] = corpus.problems
    assert not note.fatal
    assert str(note).startswith("manifest.csv: expected UTF-8, got another encoding; Windows-1252")


def test_a_manifest_in_other_letters_that_is_not_utf_8_is_refused(write):
    root = write(HEADER, "audio/a.wav,我很生气。,sad,s1", encoding="gb2312")
    with pytest.raises(UserError, match=r"manifest\.csv: expected UTF-8.*; save it as UTF-8$"):
        read_manifest(root)


@pytest.mark.parametrize(
    ("written", "read"),
    [("Angry", "angry"), ("exc", "happy"), ("EXCITED", "happy"), (" neu ", "neutral")],
)
def test_emotions_may_be_classes_or_codes_in_any_case(write, written, read):
    corpus = read_manifest(write(HEADER, f"audio/a.wav,Hm.,{written},s1"))
    assert [u.emotion for u in corpus.utterances] == [written.strip()]
    assert [u.emotion for u in select(corpus, NAMED["four"]).utterances] == [read]


def test_emotions_that_do_not_count_are_counted_and_may_lack_their_recordings(write):
    lines = ("audio/a.wav,,FRU,s1", "audio/b.flac,,elated,s1", "y,,xxx,s1")
    corpus = read_manifest(write(HEADER, *lines))
    assert [problem.emotion for problem in corpus.problems] == ["xxx"]
    selected = select(corpus, NAMED["four"])
    assert selected.left_out == {"FRU": 1, "elated": 1, "xxx": 1}
    assert selected.problems == ()


def test_a_column_of_splits_is_the_part_of_one_fold(write):
    lines = ("audio/a.wav,,sad,s1,Train", "audio/b.flac,,sad,s1,valid", "audio/c.wav,,sad,s1,test")
    corpus = read_manifest(write(f"{HEADER},split", *lines))
    assert [u.parts for u in corpus.utterances] == [("train",), ("dev",), ("test",)]
    other = read_manifest(write(f"{HEADER},split", "audio/a.wav,,sad,s1,", "audio/c.wav,,sad,s1,x"))
    assert [u.parts for u in other.utterances] == [("",)]
    assert other.problems[0].reason == "expected train, dev or test as split, got 'x'"


def test_a_column_of_folds_names_the_fold_that_tests_an_utterance(write):
    lines = ("audio/a.wav,,sad,s1,10", "audio/b.flac,,sad,s1,9", "audio/c.wav,,sad,s1,")
    corpus = read_manifest(write(f"{HEADER},fold", *lines))
    # In natural order, fold 9 is the first.
    assert [u.parts for u in corpus.utterances] == [("train", "test"), ("test", "train"), ("", "")]


def test_split_and_fold_exclude_each_other(write):
    with pytest.raises(UserError, match="expected one of the columns split and fold, got both"):
        read_manifest(write(f"{HEADER},split,fold"))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("audio/a.wav,Hm.,,s1", "emotion is empty"),
        ("audio/a.wav,Well, yes.,sad,s1", "another number of cells"),
        ("audio/a.wav,Hm.,sad,", "speaker is empty"),
        (",Hm.,sad,s1", "path is empty"),
    ],
)
def test_a_line_that_cannot_be_used_is_a_fatal_problem(write, line, reason):
    corpus = read_manifest(write(HEADER, "audio/c.wav,Hm.,sad,s1", "", line))
    (problem,) = corpus.problems
    assert problem.where == "manifest.csv, line 4"
    assert reason in problem.reason
    assert problem.fatal
    assert len(corpus) == 1


def test_a_missing_recording_and_a_missing_alignment_are_fatal_problems(write):
    corpus = read_manifest(
        write(HEADER + ",alignment", "audio/z.wav,Hm.,sad,s1,", "audio/a.wav,Hm.,sad,s1,a.wdseg")
    )
    alignment, recording = corpus.problems
    assert "alignment a.wdseg is missing" in alignment.reason
    assert str(recording) == "audio/z (z.wav): audio file is missing"
    assert len(corpus) == 0


def test_an_id_that_occurs_twice_is_a_fatal_problem(write, noise):
    root = write(HEADER, "audio/a.wav,Hm.,sad,s1", "audio/c.wav,Hm.,sad,s1", "audio/a.wav,,sad,s1")
    corpus = read_manifest(root)
    assert [str(p) for p in corpus.problems] == [
        "manifest.csv, lines 2, 4: id audio/a stands there 2 times; add a column id or remove lines"
    ]
    assert [u.id for u in corpus.utterances] == ["audio/c"]


def test_missing_columns_are_named_with_a_remedy(write):
    with pytest.raises(UserError, match="got path, text; add emotion, speaker to the first line"):
        read_manifest(write("path,text", "audio/a.wav,Hm."))


def test_a_missing_manifest_is_named(tmp_path):
    with pytest.raises(UserError, match=r"manifest\.csv: no such file"):
        read_manifest(tmp_path)


def test_the_manifest_itself_may_be_named(write):
    root = write(HEADER, "audio/a.wav,Hm.,sad,s1")
    assert len(read_corpus(root / "manifest.csv")) == 1


def test_the_fingerprint_does_not_depend_on_the_place(write, tmp_path):
    root = write(HEADER, "audio/a.wav,Hm.,sad,s1")
    before = read_manifest(root).fingerprint
    assert read_manifest(root.rename(tmp_path.parent / "moved")).fingerprint == before


@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_manifest_of_a_spreadsheet_is_read_and_said(write, separator, encoding):
    cells = (HEADER.split(","), ["audio/a.wav", "Olé, yes.", "sad", "s1"])
    root = write(*map(separator.join, cells), encoding=encoding)
    corpus = read_manifest(root)
    assert [u.text for u in corpus.utterances] == ["Olé, yes."]
    assert len(corpus.problems) == 1 + (encoding == "utf-16")
    assert not any(problem.fatal for problem in corpus.problems)


def test_a_quote_that_is_closed_lines_later_is_a_note(write):
    lines = ('audio/a.wav,"Hm.,sad,s1', 'audio/b.flac,Hm.",sad,s1', "audio/c.wav,Hm.,sad,s1")
    corpus = read_manifest(write(HEADER, *lines))
    assert len(corpus) == 2
    [note] = corpus.problems
    assert not note.fatal
    assert "1 rows hold line breaks, such as the one that ends in line 3" in note.reason


def test_recordings_that_no_line_names_are_counted(write, noise):
    root = write(HEADER, "audio/a.wav,Hm.,sad,s1")
    noise(root / "audio" / "A.FLAC", 7)
    noise(root / "elsewhere" / "d.wav", 8)
    (root / "audio" / "notes.txt").touch()
    corpus = read_manifest(root)
    # A.FLAC has the name of a.wav, and the folder elsewhere is not the manifest's.
    assert corpus.unlisted == ("audio/b.flac", "audio/c.wav")
    assert select(corpus, NAMED["four"]).unlisted == corpus.unlisted


def test_what_is_there_in_place_of_a_recording_is_said(write, noise):
    root = write(HEADER, "audio/x.wav,,sad,s1", "audio/y.wav,,sad,s1", "audio/z.wav,,sad,s1")
    noise(root / "audio" / "X.wav", 7)
    (root / "audio" / "y.wav").symlink_to("nowhere.wav")
    told = [problem.reason for problem in read_manifest(root).problems]
    assert told == [
        "audio file is missing; X.wav is there: name that, or rename it",
        "audio file is missing; y.wav is a link to nowhere.wav, which is not there",
        "audio file is missing",
    ]
