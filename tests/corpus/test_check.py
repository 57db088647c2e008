import dataclasses
import io

import numpy as np
import pytest
import soundfile as sf
from rich.console import Console

from mlt_ray.corpus.alignment import align
from mlt_ray.corpus.examination import check as examination
from mlt_ray.corpus.examination.paper_counts import Difference
from mlt_ray.corpus.examination.text import render
from mlt_ray.corpus.labelling import select
from mlt_ray.corpus.readers.iemocap import read_iemocap
from mlt_ray.corpus.readers.manifest import read_manifest
from mlt_ray.corpus.words import tokenize
from mlt_ray.labels import FOUR, NAMED

NO_FOLDS = "folds: no protocol can split this corpus"


def shown(check, **options):
    console = Console(file=io.StringIO(), width=400)
    console.print(render(check, **options))
    return "\n".join(line.rstrip() for line in console.file.getvalue().split("\n"))


def check_corpus(corpus, **options):
    """The findings about the paper's four classes of a corpus."""
    return examination.check_corpus(select(corpus, NAMED["four"]), **options)


def obstacles(check):
    return {way.name: way.obstacle for way in check.folds}


def gaps_by(check):
    return {way.name: way.gaps for way in check.folds}


def fatal(check):
    return [str(problem) for problem in check.problems if problem.fatal]


@pytest.fixture
def listed(tmp_path):
    """Builds a corpus of one line per recording in the folder ``audio``."""

    def build():
        lines = [f"audio/{path.name},Hm.,sad,s" for path in (tmp_path / "audio").iterdir()]
        (tmp_path / "manifest.csv").write_text("\n".join(["path,text,emotion,speaker", *lines]))
        return read_manifest(tmp_path)

    return build


def test_counts_are_compared_with_the_paper(whole_iemocap):
    check = check_corpus(read_iemocap(whole_iemocap.root))
    assert check.counts["3"] == (2, 4, 2, 2)
    assert check.num_utterances == 50
    assert len(check.speakers) == 10
    assert len(check.differences) == 20
    assert check.differences[1] == Difference("1", "happy", 4, 278)
    assert "4 / 278" in shown(check)
    assert "not the paper's in any session and class" in shown(check)
    assert not check.fatal


def test_a_sound_corpus_can_be_split_by_session_and_by_speaker(whole_iemocap):
    check = check_corpus(read_iemocap(whole_iemocap.root))
    assert obstacles(check) == dict.fromkeys(
        ("by session", "by speaker", "by stratified", "protocol loso", "protocol superb")
    )
    assert "folds protocol loso: possible, 10 folds by speaker, 8/1/1" in shown(check)


def test_texts_are_measured(iemocap):
    iemocap.add("Ses01F_impro01_F000", "neu", "Hello there, you.")
    iemocap.add("Ses01F_impro01_F001", "neu", "[LAUGHTER]")
    iemocap.add("Ses01F_script01_1_F002", "neu", "Don't go [BREATHING].")
    iemocap.add("Ses02F_script01_1_M000", "neu", "don't GO!")
    iemocap.add("Ses02F_script01_1_M001", "neu", "")
    check = check_corpus(read_iemocap(iemocap.root))
    assert check.words.mean == pytest.approx((3 + 0 + 2 + 2 + 0) / 5)
    assert check.words.max == 3
    assert check.num_word_types == 5
    assert check.empty_texts == ("Ses01F_impro01_F001", "Ses02F_script01_1_M001")
    assert check.tagged_texts == ("Ses01F_impro01_F001", "Ses01F_script01_1_F002")
    assert check.shared_texts == {"all": 2 / 5, "impro": 0.0, "script": 2 / 3}
    assert obstacles(check)["by session"] is not None


def test_durations_are_measured(tmp_path, noise, listed):
    for i in range(1, 5):
        noise(tmp_path / "audio" / f"{i}.wav", i, num_samples=1600 * i)
    check = check_corpus(listed())
    assert check.durations_s.mean == pytest.approx(0.25)
    assert check.durations_s.p50 == pytest.approx(0.25)
    assert check.durations_s.p95 == pytest.approx(0.385)
    assert check.durations_s.max == pytest.approx(0.4)
    assert check.total_h == pytest.approx(1 / 3600)


def test_utterances_that_are_only_counted_are_named_on_request(manifest):
    check = check_corpus(
        manifest(
            (1, "", "sad", "s", "1"), (2, "[SIGH]", "sad", "s", "1"), (3, "Hm.", "sad", "s", "1")
        )
    )
    assert "empty texts: u00, u01" not in shown(check)
    said = shown(check, everything=True)
    for line in (
        "empty texts: u00, u01",
        "texts with tags: u01",
        "word alignments that are missing: u00, u01, u02",
    ):
        assert line in said


def test_alignments_that_are_missing_or_unusable_are_named(iemocap):
    for i in range(3):
        iemocap.add(f"Ses01F_impro01_F00{i}", "neu", "Hello.")
    folder = iemocap.session(1) / "sentences" / "ForcedAlignment" / "Ses01F_impro01"
    folder.mkdir(parents=True)
    (folder / "Ses01F_impro01_F001.wdseg").write_text("0 4 0 HELLO\n")
    (folder / "Ses01F_impro01_F002.wdseg").write_text("0 4 0 GOODBYE\n")
    check = check_corpus(read_iemocap(iemocap.root))
    assert check.missing_alignments == ("Ses01F_impro01_F000",)
    assert check.unusable_alignments == ("Ses01F_impro01_F002",)
    assert "1 missing, 1 unusable" in shown(check)


def test_alignments_are_judged_by_the_tokens_that_training_reads(iemocap):
    """Training counts tags among the words: three of these four stand in no alignment."""
    name, text = "Ses01F_impro01_F000", "[SIGH] [LAUGHTER] [BREATHING] Hello."
    iemocap.add(name, "neu", text)
    folder = iemocap.session(1) / "sentences" / "ForcedAlignment" / "Ses01F_impro01"
    folder.mkdir(parents=True)
    (folder / f"{name}.wdseg").write_text("0 4 0 HELLO\n")
    corpus = read_iemocap(iemocap.root)
    assert align(corpus.utterances[0], tokenize(text)) is None
    assert check_corpus(corpus).unusable_alignments == (name,)


def ids_of(duplicates):
    return [tuple(u.id for u in same.utterances) for same in duplicates]


def test_exact_copies_of_a_recording_are_grouped(tmp_path, noise, listed):
    for name, seed in (("a", 1), ("b", 2), ("c", 1)):
        noise(tmp_path / "audio" / f"{name}.wav", seed)
    check = check_corpus(listed())
    assert ids_of(check.duplicates) == [("audio/a", "audio/c")]
    assert "same audio: audio/a, audio/c\n" in shown(check)


@pytest.fixture
def manifest(tmp_path, noise):
    """A corpus of the given lines (recording's seed, text, emotion, speaker, session)."""

    def build(*lines):
        rows = ["path,text,emotion,speaker,session"]
        for number, (seed, *cells) in enumerate(lines):
            noise(tmp_path / f"u{number:02d}.wav", seed)
            rows.append(",".join([f"u{number:02d}.wav", *cells]))
        (tmp_path / "manifest.csv").write_text("\n".join(rows), "utf-8")
        return read_manifest(tmp_path)

    return build


def test_a_recording_with_two_labels_or_two_speakers_is_named_first(manifest):
    check = check_corpus(
        manifest(
            (1, "Hm.", "sad", "a", "1"),
            (1, "Hm.", "sad", "b", "1"),
            (2, "Hm.", "sad", "a", "1"),
            (2, "Hm.", "angry", "a", "1"),
            (2, "Hm.", "sad", "a", "1"),
        )
    )
    contradiction, speakers = map(str, check.duplicates)
    assert contradiction == "same audio, labels sad (u02, u04) and angry (u03)"
    assert speakers == "same audio, speakers a (u00) and b (u01)"
    assert contradiction in shown(check)


def test_one_sound_in_two_files_is_named(tmp_path, listed):
    samples = (20_000 * np.random.default_rng(1).uniform(-1, 1, 1600)).astype(np.int16)
    (tmp_path / "audio").mkdir()
    for name in ("a.wav", "b.flac"):
        sf.write(tmp_path / "audio" / name, samples, 16_000, subtype="PCM_16")
    [same] = check_corpus(listed()).duplicates
    apart = "the files differ, so no check of folds keeps them in one part: remove one"
    assert str(same) == f"same audio: audio/a, audio/b; {apart}"


def test_few_recordings_under_many_ids_are_no_error_of_the_check(manifest):
    rows = [(i % 4, "Hm.", FOUR[i % 4], f"s{i % 5}", str(i % 5)) for i in range(40)]
    check = check_corpus(manifest(*rows))
    assert "needs at least 5 different recordings, got 4" in obstacles(check)["by stratified"]
    assert "folds by stratified: impossible: corpus" in shown(check)
    assert NO_FOLDS in fatal(check)


def test_channels_that_cancel_are_a_problem(tmp_path, listed):
    one = np.random.default_rng(1).uniform(-0.5, 0.5, 1600)
    (tmp_path / "audio").mkdir()
    sf.write(tmp_path / "audio" / "a.wav", np.stack([one, -one], axis=1), 16_000, subtype="FLOAT")
    expected = "audio is silent from start to end where its 2 channels are averaged"
    assert f"audio/a (a.wav): {expected}" in fatal(check_corpus(listed()))


def test_words_are_counted_as_training_reads_them(manifest):
    check = check_corpus(
        manifest(
            (1, "我很生气。", "sad", "s", "1"),
            (2, "Die Straße!", "sad", "s", "1"),
            (3, "[LAUGHTER]", "sad", "s", "1"),
            (4, "It costs $250.", "sad", "s", "1"),
        )
    )
    assert check.unread_texts == ("u00",)
    assert check.clipped_texts == ("u01",)
    assert check.empty_texts == ("u02",)
    assert check.words.max == 6  # it costs two hundred fifty dollars
    assert check.num_word_types == 8
    said = shown(check)
    assert "texts: 1 empty, 1 with tags, 1 in other letters, 1 with a few of them" in said
    assert "note: texts: 1 of 4 texts (25.0%) are in letters that training does not read" in said
    assert "'我很生气。' (u00); with more than 5%, rows that read words want --unread-texts" in said
    assert "note: texts: 1 lose letters in training, such as 'ß' of 'Die Straße!' (u01)" in said
    assert not any("texts" in problem for problem in fatal(check))


def test_the_words_of_another_language_are_all_read(manifest):
    lines = [(1, "我很生气。", "sad", "s", "1"), (2, "Die Straße!", "sad", "s", "1")]
    check = check_corpus(manifest(*lines), language="de")
    assert (check.unread_texts, check.clipped_texts, check.empty_texts) == ((), (), ())
    assert check.num_word_types == 6
    assert "letters" not in shown(check)


def test_speakers_and_sessions_whose_names_are_alike_are_notes(manifest):
    check = check_corpus(
        manifest(
            (1, "Hm.", "sad", "1", "A"), (2, "Hm.", "sad", "01", "a"), (3, "Hm.", "sad", "2", "b")
        )
    )
    notes = [str(problem) for problem in check.problems if not problem.fatal]
    assert notes == [
        "names: speakers whose names are alike count as different ones: 01 and 1",
        "names: sessions whose names are alike count as different ones: A and a",
    ]


def test_folds_in_which_dev_or_test_lacks_a_class_are_named(manifest):
    rows = [
        (10 * s + i, "Hm.", emotion, f"s{s}", str(s))
        for s in range(5)
        for i, emotion in enumerate(FOUR * 2)
        if (s, emotion) != (2, "sad")
    ]
    check = check_corpus(manifest(*rows))
    assert gaps_by(check)["by session"] == ("no sad in dev of fold 2", "no sad in test of fold 3")
    lacking = "no sad in dev of fold 2, no sad in test of fold 3"
    said = shown(check)
    sizes = "5 folds by session, 3/1/1; train 22–24, dev 6–8, test 6–8"
    assert f"by session: possible, {sizes}; {lacking}: UA there is the mean over the other" in said
    assert "the mean over the other classes; train has the text of 100.0%" in said
    assert gaps_by(check)["by stratified"] == ()
    assert "by stratified: possible, 5 folds at random, stratified by class, 3/1/1 (parts" in said


def test_recordings_that_break_off_are_silent_or_not_finite_are_fatal(tmp_path, noise, listed):
    audio = tmp_path / "audio"
    noise(audio / "broken.flac", 1, num_samples=48_000)
    (audio / "broken.flac").write_bytes((audio / "broken.flac").read_bytes()[:40_000])
    sf.write(audio / "silent.wav", np.zeros(1600), 16_000)
    samples = np.linspace(-0.5, 0.5, 1600)
    samples[7] = np.nan
    sf.write(audio / "nan.wav", samples, 16_000, subtype="FLOAT")
    noise(audio / "sound.wav", 2)
    check = check_corpus(listed())
    broken, nan, silent, folds = sorted(fatal(check))
    assert folds == NO_FOLDS
    assert broken.startswith("audio/broken (broken.flac): audio file breaks off or is unreadable")
    assert nan == "audio/nan (nan.wav): audio holds samples that are not finite"
    assert silent == "audio/silent (silent.wav): audio is silent from start to end"
    assert check.fatal


@pytest.mark.skipif("MP3" not in sf.available_formats(), reason="libsndfile without MP3")
def test_a_recording_that_decodes_to_less_than_its_header_says_is_fatal(tmp_path, noise, listed):
    path = tmp_path / "audio" / "short.mp3"
    noise(path, 1, num_samples=320_000)
    path.write_bytes(path.read_bytes()[:50_000])
    problem, _ = sorted(fatal(check_corpus(listed())))
    assert problem.startswith("audio/short (short.mp3): audio file is cut short")


def test_another_rate_or_number_of_channels_is_a_note(tmp_path, listed):
    (tmp_path / "audio").mkdir()
    for name in "ab":
        samples = np.random.default_rng(ord(name)).uniform(-0.5, 0.5, (480, 2))
        sf.write(tmp_path / "audio" / f"{name}.wav", samples, 48_000)
    check = check_corpus(listed())
    [note] = [problem for problem in check.problems if not problem.fatal]
    assert fatal(check) == [NO_FOLDS]
    expected = "48000 Hz, 2 channel(s) instead of 16000 Hz, 1 channel(s)"
    assert str(note) == f"2 recordings such as audio/a: {expected}"


def test_problems_found_while_reading_are_kept_and_long_lists_are_cut_when_printed(iemocap):
    for i in range(13):
        iemocap.add(f"Ses01F_impro01_F{i:03d}", "neu")
        iemocap.audio(f"Ses01F_impro01_F{i:03d}").unlink()
    check = check_corpus(read_iemocap(iemocap.root))
    assert len(fatal(check)) == 14  # thirteen missing files, and then nothing is left
    assert f"{iemocap.root.name}: holds no utterances" in fatal(check)
    assert "… and 4 more problems; --all shows them" in shown(check)
    last = "Ses01F_impro01_F012 (Ses01F_impro01_F012.wav): audio file is missing"
    assert last not in shown(check)
    assert last in shown(check, everything=True)
    assert "more problems" not in shown(check, everything=True)
    assert check.durations_s is None


def test_progress_is_called_after_every_decoded_file(whole_iemocap):
    calls = []
    corpus = read_iemocap(whole_iemocap.root)
    check_corpus(corpus, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(i, 50) for i in range(1, 51)]


def test_recordings_without_a_label_are_counted_and_named(whole_iemocap):
    lost = "Ses03F_impro01_F000"
    whole_iemocap.label_file(lost).write_bytes(b"")
    check = check_corpus(read_iemocap(whole_iemocap.root))
    wavs = [f"Session3/sentences/wav/Ses03F_impro01/Ses03F_impro01_F{n:03}.wav" for n in range(6)]
    line = f"6 recordings have no label and are left out, such as {wavs[0]}; --all names them"
    assert line in shown(check)
    named = shown(check, everything=True).partition("recordings without a label: ")[2]
    assert all(wav in named for wav in wavs)


def test_a_session_of_iemocap_that_is_not_there_is_a_note(whole_iemocap):
    (whole_iemocap.root / "Session4").rename(whole_iemocap.root / "session4")
    check = check_corpus(read_iemocap(whole_iemocap.root))
    assert "note: sessions: 4 of IEMOCAP's five are not there" in shown(check)


def test_recordings_are_decoded_once(whole_iemocap, monkeypatch):
    from mlt_ray.corpus import recordings

    decoded = []
    decode = recordings._decode
    monkeypatch.setattr(recordings, "_decode", lambda path: decoded.append(path) or decode(path))
    corpus = read_iemocap(whole_iemocap.root)
    check_corpus(corpus)
    assert len(decoded) == len(set(decoded)) == 60
    # A corpus from the store has not heard its recordings.
    unheard = tuple(dataclasses.replace(u, heard=None) for u in corpus.utterances)
    again = dataclasses.replace(corpus, name="from the store", utterances=unheard)
    found = dataclasses.replace(check_corpus(again), name=corpus.name)
    assert found == check_corpus(corpus)
    assert len(decoded) == 60 + 50
