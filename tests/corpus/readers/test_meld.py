"""MELD: texts, speakers and official parts in three CSV files, recordings in folders of parts."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from mlt_ray.corpus.folds import make_folds
from mlt_ray.corpus.labelling import select
from mlt_ray.corpus.readers.elsewhere import Elsewhere
from mlt_ray.corpus.readers.read import read_corpus
from mlt_ray.errors import UserError
from mlt_ray.labels import NAMED
from mlt_ray.spec import FoldSpec

EMOTIONS = ("anger", "joy", "neutral", "sadness", "surprise")
FOLDERS = {
    "train": "train_splits",
    "dev": "dev_splits_complete",
    "test": "output_repeated_splits_test",
}
HEADER = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode"


@pytest.fixture
def meld(tmp_path: Path) -> Path:
    """Two dialogs a part with one utterance of each emotion; texts with Windows-1252's quotes."""
    rng = np.random.default_rng(0)
    for part, folder in FOLDERS.items():
        (tmp_path / folder).mkdir()
        with (tmp_path / f"{part}_sent_emo.csv").open("w", encoding="utf-8", newline="") as file:
            file.write(f"{HEADER}\n")
            rows = csv.writer(file)
            for dialog in range(2):
                for n, emotion in enumerate(EMOTIONS):
                    text = f"Don\x92t, {part} {dialog}!"
                    rows.writerow([n, text, "Joey", emotion, "neutral", dialog, n, 1, 1])
                    audio = tmp_path / folder / f"dia{dialog}_utt{n}.wav"
                    sf.write(audio, rng.uniform(-0.5, 0.5, 1600), 16_000)
    # As the release has them: litter of another name, which is no utterance's.
    (tmp_path / FOLDERS["test"] / "final_videos_testdia0_utt0.wav").touch()
    return tmp_path


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
    [note] = read_corpus(meld, elsewhere=Elsewhere(audio=elsewhere)).problems
    assert not note.fatal
    assert "1 of 30 are not below" in note.reason
    assert note.reason.endswith("anger 1 of 6")


def test_films_are_told_with_the_command_that_takes_their_sound(meld: Path) -> None:
    for path in meld.rglob("dia*.wav"):
        path.rename(path.with_suffix(".mp4"))
    with pytest.raises(UserError, match=r"expected sound, got a film; extract it once: .*ffmpeg"):
        read_corpus(meld)


def test_a_missing_column_is_named(meld: Path) -> None:
    (meld / "dev_sent_emo.csv").write_text("Utterance,Speaker,Emotion\n")
    with pytest.raises(UserError, match=r"dev_sent_emo.csv: expected columns .*lacks dialogue_id"):
        read_corpus(meld)


def test_without_recordings_the_remedy_is_an_option(meld: Path) -> None:
    for path in meld.rglob("*.wav"):
        path.unlink()
    with pytest.raises(UserError, match="found none below it; say where they are by --audio"):
        read_corpus(meld)
