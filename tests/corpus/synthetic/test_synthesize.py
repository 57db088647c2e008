"""A synthesized corpus has the layout, audio, labels and word times of IEMOCAP."""

import hashlib
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from mlt_ray.corpus.labelling import select
from mlt_ray.corpus.readers.iemocap import read_iemocap
from mlt_ray.corpus.synthetic.lines import Line
from mlt_ray.corpus.synthetic.speech import Prosody
from mlt_ray.corpus.synthetic.synthesize import write_corpus
from mlt_ray.errors import UserError
from mlt_ray.labels import NAMED

LINES = [
    Line(speaker="Ses01F", emotion="angry", text="Put it on the table, I can't see you!"),
    Line(speaker="Ses01M", emotion="happy", text="[LAUGHTER] We won\n1,234 dollars\tin the end."),
    Line(speaker="Ses01F", emotion="sad", text=""),
    Line(speaker="Ses03M", emotion="neutral", text="😂 🎉"),
    Line(speaker="Ses03M", emotion="neutral", text="It starts at ten.", scripted=True),
    Line(speaker="Ses05F", emotion="happy", text="", sound="ha ha ha"),
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("synthesize") / "corpus"
    write_corpus(LINES, root)
    return root


def digests(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def segments(wdseg: Path) -> list[tuple[int, int, str]]:
    header, *rows, footer = wdseg.read_text().splitlines()
    assert header.split() == ["SFrm", "EFrm", "SegAScr", "Word"]
    assert footer.startswith("Total score:")
    cells = [row.split() for row in rows]
    return [(int(first), int(last), word) for first, last, _, word in cells]


def test_audio_is_16_khz_mono_16_bit(corpus: Path) -> None:
    infos = [sf.info(path) for path in corpus.rglob("*.wav")]
    assert len(infos) == len(LINES)
    assert {(i.samplerate, i.channels, i.subtype, i.format) for i in infos} == {
        (16_000, 1, "PCM_16", "WAV")
    }


def test_names_and_folders_are_those_of_iemocap(corpus: Path) -> None:
    wavs = sorted(path.relative_to(corpus).as_posix() for path in corpus.rglob("*.wav"))
    assert wavs[0] == "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav"
    assert "Session3/sentences/wav/Ses03F_script01_1/Ses03F_script01_1_M000.wav" in wavs
    assert (corpus / "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt").is_file()


def test_labels_stand_where_iemocap_has_them(corpus: Path) -> None:
    lines = (corpus / "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt").read_text().splitlines()
    assert lines[0] == "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]"
    pattern = r"\[\d+\.\d{4} - \d+\.\d{4}\]\t(\w+)\t(\w{3})\t\[\d\.\d{4}, \d\.\d{4}, \d\.\d{4}\]"
    found = [match.groups() for match in map(re.compile(pattern).fullmatch, lines) if match]
    assert found == [
        ("Ses01F_impro01_F000", "ang"),
        ("Ses01F_impro01_M000", "hap"),
        ("Ses01F_impro01_F001", "sad"),
    ]


def test_a_transcript_has_one_line_for_each_utterance(corpus: Path) -> None:
    text = (corpus / "Session1/dialog/transcriptions/Ses01F_impro01.txt").read_text()
    spoken = [line.split("]: ", 1)[1] for line in text.splitlines()]
    assert spoken == [
        "Put it on the table, I can't see you!",
        "[LAUGHTER] We won 1,234 dollars in the end.",
        "",
    ]


def test_segments_cover_the_recording_without_gap_or_overlap(corpus: Path) -> None:
    for wdseg in corpus.rglob("*.wdseg"):
        rows = segments(wdseg)
        wav = Path(str(wdseg).replace("ForcedAlignment", "wav")).with_suffix(".wav")
        assert rows[0][0] == 0
        assert rows[0][2] == "<s>"
        assert rows[-1][2] == "</s>"
        assert rows[-1][1] + 1 == sf.info(wav).frames // 160
        assert all(first <= last for first, last, _ in rows)
        assert all(a[1] + 1 == b[0] for a, b in pairwise(rows))


def test_segments_hold_the_words_of_the_text_and_no_tag(corpus: Path) -> None:
    folder = corpus / "Session1/sentences/ForcedAlignment/Ses01F_impro01"
    words = {
        path.stem[-4:]: [word for _, _, word in segments(path) if not word.startswith("<")]
        for path in folder.iterdir()
    }
    assert words == {
        "F000": ["PUT", "IT", "ON", "THE", "TABLE", "I", "CAN'T", "SEE", "YOU"],
        "M000": ["WE", "WON", "1", "234", "DOLLARS", "IN", "THE", "END"],
        "F001": [],
    }


def test_words_are_loud_and_the_silence_around_them_is_not(corpus: Path) -> None:
    name = "Session1/sentences/{}/Ses01F_impro01/Ses01F_impro01_F000"
    samples, _ = sf.read(corpus / f"{name.format('wav')}.wav")
    levels = {
        word: np.sqrt(np.mean(samples[160 * first : 160 * (last + 1)] ** 2))
        for first, last, word in segments(corpus / f"{name.format('ForcedAlignment')}.wdseg")
    }
    quiet = [levels.pop(word) for word in ("<s>", "<sil>", "</s>")]
    assert max(quiet) < 0.25 * min(levels.values())


def test_a_text_that_says_nothing_is_a_short_faint_noise(corpus: Path) -> None:
    for name in ("Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F001.wav",
                 "Session3/sentences/wav/Ses03F_impro01/Ses03F_impro01_M000.wav"):  # fmt: skip
        samples, rate_hz = sf.read(corpus / name)
        assert len(samples) == 0.3 * rate_hz
        assert 0 < np.abs(samples).max() < 0.02


def test_a_sound_is_spoken_and_gets_no_word_times(corpus: Path) -> None:
    samples, _ = sf.read(corpus / "Session5/sentences/wav/Ses05F_impro01/Ses05F_impro01_F000.wav")
    (wdseg,) = (corpus / "Session5/sentences/ForcedAlignment").rglob("*.wdseg")
    assert np.abs(samples).max() > 0.05
    assert [word for _, _, word in segments(wdseg)] == ["<s>", "</s>"]


def test_the_iemocap_reader_finds_what_was_written(corpus: Path) -> None:
    read = select(read_iemocap(corpus), NAMED["four"])
    assert not read.problems
    found = Counter((u.speaker, u.emotion, u.text) for u in read.utterances)
    assert found == Counter((x.speaker, x.emotion, " ".join(x.text.split())) for x in LINES)


def test_bytes_depend_on_the_seed_and_not_on_the_number_of_processes(tmp_path: Path) -> None:
    lines = [
        Line(speaker=f"Ses0{i % 5 + 1}{'FM'[i % 2]}", emotion="happy", text=f"This is number {i}.")
        for i in range(20)
    ]
    done: list[int] = []
    write_corpus(lines, tmp_path / "one", seed=3, workers=1)
    write_corpus(lines, tmp_path / "two", seed=3, workers=2, progress=done.append)
    write_corpus(lines[:2], tmp_path / "other", seed=4, workers=1)
    one = digests(tmp_path / "one")
    assert one == digests(tmp_path / "two")
    assert not set(digests(tmp_path / "other").items()) & set(one.items())
    assert done == [16, 20]


def test_a_given_prosody_is_used(tmp_path: Path) -> None:
    prosodies = (Prosody(rate_wpm=120, gain_db=-6.0), Prosody(rate_wpm=240, gain_db=6.0))
    text = "The garden is next to the school."
    write_corpus(
        [Line(speaker="Ses02F", emotion="sad", text=text, prosody=p) for p in prosodies],
        tmp_path / "x",
    )
    slow, fast = (sf.read(path)[0] for path in sorted((tmp_path / "x").rglob("*.wav")))
    assert len(slow) > 1.5 * len(fast)
    power = [np.sum(np.square(x)) / (len(x) - 3200) for x in (slow, fast)]  # 0.2 s are silence
    assert 10 * np.log10(power[1] / power[0]) == pytest.approx(12.0, abs=0.1)


def test_a_folder_with_content_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match=r"expected a new or empty folder.*remove it"):
        write_corpus(LINES, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write_corpus(LINES[:1], tmp_path / "out")
    assert (tmp_path / "out" / "Session1").is_dir()


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_synthesis_leaves_nothing(tmp_path: Path, workers: int) -> None:
    def interrupt(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_corpus(LINES * 6, tmp_path / "out", workers=workers, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_lines_are_spoken_in_a_language(tmp_path: Path) -> None:
    lines = [Line(speaker="Ses01F", emotion="angry", text="Die Straße ist gesperrt.")]
    for language in ("en-us", "de", "hi"):
        write_corpus(lines, tmp_path / language, language=language)
    found = [digests(tmp_path / language) for language in ("en-us", "de", "hi")]
    (wavs,) = {tuple(path for path in files if path.endswith(".wav")) for files in found}
    assert len({files[wavs[0]] for files in found}) == 3
