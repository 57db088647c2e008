import hashlib
from collections import Counter

import pytest

from mlt_ray.corpus.labelling import select
from mlt_ray.corpus.readers.iemocap import dialog_kind, read_iemocap
from mlt_ray.labels import NAMED


def reasons(corpus):
    return [str(problem) for problem in corpus.problems]


def test_four_classes_are_read_and_the_other_codes_are_counted(whole_iemocap):
    corpus = select(read_iemocap(whole_iemocap.root), NAMED["four"])
    assert corpus.problems == ()
    assert corpus.name == whole_iemocap.root.name
    assert corpus.left_out == {"fru": 10}
    counts = Counter(u.emotion for u in corpus.utterances)
    assert counts == {"angry": 10, "happy": 20, "neutral": 10, "sad": 10}


def test_the_order_does_not_depend_on_the_order_on_disk(whole_iemocap):
    ids = [u.id for u in read_iemocap(whole_iemocap.root).utterances]
    assert ids == sorted(ids)


def test_the_speaker_is_the_letter_of_the_last_part_of_the_id(iemocap):
    iemocap.add("Ses03F_impro02_M004", "neu")
    (utterance,) = read_iemocap(iemocap.root).utterances
    assert utterance.speaker == "Ses03M"
    assert utterance.session == "3"
    assert utterance.dialog == "Ses03F_impro02"


def test_digest_and_duration_are_those_of_the_file(iemocap):
    iemocap.add("Ses01F_impro01_F000", "sad", "No.")
    (utterance,) = read_iemocap(iemocap.root).utterances
    data = iemocap.audio("Ses01F_impro01_F000").read_bytes()
    assert utterance.audio_sha256 == hashlib.sha256(data).hexdigest()
    assert utterance.duration_s == pytest.approx(0.1)
    assert utterance.text == "No."


def test_stray_files_and_folders_of_single_raters_are_not_read(whole_iemocap):
    clean = read_iemocap(whole_iemocap.root)
    evaluations = whole_iemocap.session(1) / "dialog" / "EmoEvaluation"
    (evaluations / "._Ses01F_impro01.txt").write_text(
        "\x00\x05\x16\x07\n[1.0 - 2.0]\tSes01F_impro01_F000\tfru\t[1, 1, 1]\n"
    )
    (evaluations / ".DS_Store").write_bytes(b"\x00\x00\x00\x01Bud1")
    (evaluations / "Categorical").mkdir()
    (evaluations / "Categorical" / "Ses01F_impro01_e1_cat.txt").write_text("[1 - 2]\tx\tfoo\t[]\n")
    (whole_iemocap.audio("Ses01F_impro01_F000").parent / "._Ses01F_impro01_F000.wav").touch()
    (whole_iemocap.root / "._Session1").touch()
    with_stray_files = read_iemocap(whole_iemocap.root)
    assert with_stray_files.utterances == clean.utterances
    assert with_stray_files.problems == ()


def test_lines_of_another_shape_and_xx_ids_are_skipped(iemocap):
    iemocap.add("Ses01F_impro01_F000", "neu", "Excuse me.")
    with iemocap.transcript_file("Ses01F_impro01_F000").open("a") as file:
        file.write("M: Mm-hmm.\n\nSes01F_impro01_FXX0 [001.0000-002.0000]: Yes.\n")
        file.write("Ses01F_impro01_F000 is a name without a time\n")
    iemocap.label("Ses01F_impro01_FXX0", "neu")
    corpus = read_iemocap(iemocap.root)
    assert [u.text for u in corpus.utterances] == ["Excuse me."]
    assert corpus.problems == ()


def test_an_empty_text_is_kept(iemocap):
    iemocap.add("Ses01F_impro01_F000", "neu", "")
    (utterance,) = read_iemocap(iemocap.root).utterances
    assert utterance.text == ""


def test_guessed_encodings_are_one_note_and_other_letters_a_problem(iemocap):
    for name in ("Ses01F_impro01_F000", "Ses01F_impro02_F000", "Ses02F_impro01_F000"):
        iemocap.add(name, "neu")
        line = f"{name} [006.2901-008.2357]: It’s Zoë.\n"
        iemocap.transcript_file(name).write_bytes(line.encode("cp1252"))
    corpus = read_iemocap(iemocap.root)
    [note] = corpus.problems
    folder = "Session1/dialog/transcriptions"
    assert note.where == f"{folder}/Ses01F_impro01.txt and 2 more files"
    assert "reads 'It’s', 'Zoë.'" in note.reason
    assert (note.fatal, corpus.utterances[0].text) == (False, "It’s Zoë.")
    line = "Ses01F_impro01_F000 [006.2901-008.2357]: 我很生气\n"
    iemocap.transcript_file("Ses01F_impro01_F000").write_bytes(line.encode("gb18030"))
    problem, note = read_iemocap(iemocap.root).problems
    assert (problem.where, problem.fatal) == (f"{folder}/Ses01F_impro01.txt", True)
    assert problem.reason.endswith("; save it as UTF-8")


def test_a_transcript_in_latin_1_is_read(iemocap):
    iemocap.add("Ses01F_impro01_F000", "neu", "")
    line = "Ses01F_impro01_F000 [006.2901-008.2357]: Café.\n"
    iemocap.transcript_file("Ses01F_impro01_F000").write_bytes(line.encode("latin-1"))
    assert read_iemocap(iemocap.root).utterances[0].text == "Café."


def test_an_ellipsis_from_windows_does_not_end_a_line(iemocap):
    iemocap.add("Ses01F_impro01_F000", "neu", "")
    line = b"Ses01F_impro01_F000 [006.2901-008.2357]: Well\x85 no.\r\n"
    iemocap.transcript_file("Ses01F_impro01_F000").write_bytes(line)
    assert read_iemocap(iemocap.root).utterances[0].text == "Well… no."


def test_an_alignment_is_named_only_where_there_is_one(iemocap):
    iemocap.add("Ses01F_impro01_F000", "neu")
    iemocap.add("Ses01F_impro01_F001", "neu")
    folder = iemocap.session(1) / "sentences" / "ForcedAlignment" / "Ses01F_impro01"
    folder.mkdir(parents=True)
    (folder / "Ses01F_impro01_F001.wdseg").touch()
    without, with_one = read_iemocap(iemocap.root).utterances
    assert without.alignment is None
    assert with_one.alignment == folder / "Ses01F_impro01_F001.wdseg"


def break_label(tree, name):
    tree.label_file(name).write_text(f"[1.0 - 2.0]\t{name}\tjoy\t[1, 1, 1]\n")


def break_transcript(tree, name):
    tree.transcript_file(name).write_text("")


def break_wav(tree, name):
    tree.audio(name).write_text("not audio at all, whatever its name says")


def truncate_wav(tree, name):
    tree.audio(name).write_bytes(tree.audio(name).read_bytes()[:1000])


def empty_wav(tree, name):
    data = tree.audio(name).read_bytes()[:40]
    tree.audio(name).write_bytes(data + bytes(4))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (break_label, "unknown label 'joy'"),
        (break_transcript, "has no transcript"),
        (break_wav, "audio file is unreadable"),
        (truncate_wav, "audio file is cut short"),
        (empty_wav, "audio file holds no samples"),
        (lambda tree, name: tree.audio(name).unlink(), "audio file is missing"),
        (lambda tree, name: tree.label(name, "sad"), "has two labels: neu, sad"),
        (lambda tree, name: tree.transcribe(name, "Other."), "has 2 different transcripts"),
    ],
)
def test_an_utterance_that_cannot_be_used_is_a_fatal_problem_and_left_out(iemocap, damage, reason):
    iemocap.add("Ses01F_impro01_F000", "neu")
    iemocap.add("Ses01F_impro02_F000", "sad")
    damage(iemocap, "Ses01F_impro01_F000")
    corpus = read_iemocap(iemocap.root)
    assert [u.id for u in corpus.utterances] == ["Ses01F_impro02_F000"]
    (problem,) = corpus.problems
    assert problem.fatal
    assert "Ses01F_impro01_F000" in problem.where
    assert reason in problem.reason


def test_utterances_of_other_classes_are_not_checked(iemocap):
    iemocap.add("Ses01F_impro01_F000", "neu")
    iemocap.label("Ses01F_impro01_F001", "xxx")
    whole = read_iemocap(iemocap.root)
    # It has no transcript, which matters to those who count it.
    assert [problem.emotion for problem in whole.problems] == ["xxx"]
    assert select(whole, NAMED["four"]).problems == ()
    assert select(whole, NAMED["four"]).left_out == {"xxx": 1}


def test_the_same_label_twice_is_no_conflict(iemocap):
    iemocap.add("Ses01F_impro01_F000", "neu")
    iemocap.label("Ses01F_impro01_F000", "neu")
    corpus = read_iemocap(iemocap.root)
    assert len(corpus) == 1
    assert corpus.problems == ()


def test_a_damaged_label_line_and_a_missing_folder_are_named(iemocap):
    iemocap.add("Ses01F_impro01_F000", "neu")
    with iemocap.label_file("Ses01F_impro01_F000").open("a") as file:
        file.write("[3.0 - 4.0] Ses01F_imp\n")
    (iemocap.root / "Session2" / "dialog" / "transcriptions").mkdir(parents=True)
    line, folder = reasons(read_iemocap(iemocap.root))
    assert line.startswith("Session1/dialog/EmoEvaluation/Ses01F_impro01.txt: expected")
    assert folder == "Session2/dialog/EmoEvaluation: folder is missing"


def test_dialogs_are_improvised_or_scripted_or_neither():
    assert dialog_kind("Ses01F_impro01") == "impro"
    assert dialog_kind("Ses05M_script01_1b") == "script"
    assert dialog_kind("breakfast") is None
    assert dialog_kind(None) is None


@pytest.mark.parametrize("content", [b"", b"\0\0\0garbled", "[1 - 2]\tSes".encode("utf-16-le")])
def test_recordings_that_no_label_line_names_are_counted(iemocap, content):
    for name in ("Ses01F_impro01_F000", "Ses01F_impro01_M000", "Ses01F_impro02_F000"):
        iemocap.add(name, "neu")
    iemocap.label_file("Ses01F_impro01_F000").write_bytes(content)
    iemocap.audio("Ses01F_impro01_F000").with_name("Ses01F_impro01_FXX0.wav").touch()
    corpus = read_iemocap(iemocap.root)
    assert [u.id for u in corpus.utterances] == ["Ses01F_impro02_F000"]
    folder = "Session1/sentences/wav/Ses01F_impro01"
    assert corpus.unlisted == tuple(f"{folder}/Ses01F_impro01_{n}000.wav" for n in "FM")
    assert "2 are of no utterance with a label, such as that of Ses01F_impro01_F000" in str(
        corpus.problems[-1]
    )


def test_a_recording_whose_ending_is_in_capitals_is_said(iemocap):
    iemocap.add("Ses01F_impro01_F000", "neu")
    wav = iemocap.audio("Ses01F_impro01_F000")
    wav.rename(wav.with_suffix(".WAV"))
    corpus = read_iemocap(iemocap.root)
    assert corpus.unlisted == ()
    assert "audio file is missing; Ses01F_impro01_F000.WAV is there" in str(corpus.problems[0])
