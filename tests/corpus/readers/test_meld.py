"""MELD: texts, speakers and official parts in three CSV files, recordings in folders of parts."""

import os
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from mlt_ray.corpus.folds import make_folds
from mlt_ray.corpus.labelling import select
from mlt_ray.corpus.readers.elsewhere import Elsewhere
from mlt_ray.corpus.readers.read import read_corpus
from mlt_ray.errors import UserError
from mlt_ray.labels import NAMED
from mlt_ray.spec import FoldSpec
from tests.meld import EMOTIONS, FOLDERS, write_meld


@pytest.fixture
def meld(tmp_path: Path) -> Path:
    return write_meld(tmp_path)


def test_official_parts_are_one_fold(meld: Path) -> None:
    corpus = read_corpus(meld)
    assert not corpus.problems
    assert Counter(u.emotion for u in corpus.utterances) == dict.fromkeys(EMOTIONS, 6)
    assert {u.text for u in corpus.utterances} >= {"Don’t, train 0!", "Don’t, test 1!"}
    four = select(corpus, NAMED["four"])
    assert four.left_out == {"surprise": 6}
    [fold] = make_folds(four, FoldSpec(by="given"))
    for part, indices in fold.parts().items():
        assert {four.utterances[i].id.partition("/")[0] for i in indices} == {part}
        assert len(indices) == 8


def test_recordings_may_lie_elsewhere_and_be_missing(meld: Path) -> None:
    elsewhere = meld / "audio"
    elsewhere.mkdir()
    for folder in FOLDERS.values():
        (meld / folder).rename(elsewhere / folder)
    (elsewhere / FOLDERS["dev"] / "dia1_utt0.wav").unlink()
    whole, part = read_corpus(meld, elsewhere=Elsewhere(audio=elsewhere)).problems
    assert [whole.fatal, part.fatal] == [False, False]
    assert "1 of 30 are not below" in whole.reason
    assert part.reason.startswith("anger lacks 1 of 6")


def test_the_list_of_train_may_lie_beside_its_recordings(meld: Path) -> None:
    (meld / "train").mkdir()
    for name in ("train_sent_emo.csv", "train_splits"):
        (meld / name).rename(meld / "train" / name)
    assert len(read_corpus(meld)) == 30


def test_the_nearest_folder_that_names_a_part_decides(meld: Path) -> None:
    elsewhere = meld / "audio"
    (elsewhere / "train_and_test").mkdir(parents=True)
    for folder in FOLDERS.values():
        (meld / folder).rename(elsewhere / "train_and_test" / folder)
    corpus = read_corpus(meld, elsewhere=Elsewhere(audio=elsewhere))
    assert not corpus.problems
    assert {(u.parts[0], u.audio.parent.name) for u in corpus.utterances} == {*FOLDERS.items()}


def test_films_are_told_with_the_command_that_takes_their_sound(meld: Path) -> None:
    for path in meld.rglob("dia*.wav"):
        path.rename(path.with_suffix(".mp4"))
    with pytest.raises(UserError, match=r"expected sound .*, got .mp4; extract it once") as error:
        read_corpus(meld)
    # The command extracts what a program of ffmpeg's name makes of each film.
    (meld / "bin").mkdir()
    program = meld / "bin" / "ffmpeg"
    program.write_text('#!/bin/sh\ncp "$3" "$8"\n')
    program.chmod(0o755)
    command = str(error.value).partition("once: ")[2]
    path = f"{program.parent}:{os.environ['PATH']}"
    subprocess.run(command, shell=True, check=True, env={"PATH": path})
    assert len(read_corpus(meld)) == 30


def test_a_film_without_sound_beside_it_is_missing(meld: Path) -> None:
    broken = meld / FOLDERS["train"] / "dia1_utt0.wav"
    broken.rename(broken.with_suffix(".mp4"))
    whole, part = read_corpus(meld).problems
    assert whole.reason.endswith("; 1 are there without sound beside them, such as dia1_utt0.mp4")
    assert part.reason.startswith("anger lacks 1 of 6")


def test_a_missing_column_is_named(meld: Path) -> None:
    (meld / "dev_sent_emo.csv").write_text("Utterance,Speaker,Emotion\n")
    with pytest.raises(UserError, match=r"dev_sent_emo.csv: expected .*dialogue_id.*, got utt"):
        read_corpus(meld)


def test_an_utterance_that_is_listed_twice_is_a_problem(meld: Path) -> None:
    file = meld / "dev_sent_emo.csv"
    file.write_text(file.read_text() + "9,Hm.,Joey,joy,neutral,0,1\n")
    [problem] = read_corpus(meld).problems
    assert problem.fatal
    assert str(problem) == "dev/dia0_utt1: is listed 2 times; remove one"


def test_another_encoding_is_a_note(meld: Path) -> None:
    file = meld / "dev_sent_emo.csv"
    file.write_bytes(file.read_text("utf-8").encode("latin-1"))
    corpus = read_corpus(meld)
    [note] = corpus.problems
    assert not note.fatal
    assert str(note).startswith("dev_sent_emo.csv: expected UTF-8, got another encoding")
    assert "Don’t, dev 0!" in {u.text for u in corpus.utterances}


def test_texts_of_ones_own_are_refused(meld: Path) -> None:
    with pytest.raises(UserError, match="MELD's own lists have its texts; leave --texts out"):
        read_corpus(meld, elsewhere=Elsewhere(texts=meld / "mine.csv"))


def test_without_recordings_the_remedy_is_an_option(meld: Path) -> None:
    for path in meld.rglob("*.wav"):
        path.unlink()
    with pytest.raises(UserError, match="found none below it; say where they are by --audio"):
        read_corpus(meld)
