"""EmoBox's folders: one form for many corpora, with recordings and texts that lie elsewhere."""

import json
from collections import Counter
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import soundfile as sf

from mlt_ray.corpus.folds import make_folds
from mlt_ray.corpus.labelling import select
from mlt_ray.corpus.protocols import PROTOCOLS
from mlt_ray.corpus.readers.elsewhere import Elsewhere, Recordings
from mlt_ray.corpus.readers.read import read_corpus
from mlt_ray.errors import UserError
from mlt_ray.labels import NAMED
from mlt_ray.parsing import parse
from mlt_ray.spec import FoldSpec

EMOTIONS = ("ang", "hap", "neu", "sad", "boredem")
NAMES = {"ang": "Angry", "hap": "Happy", "neu": "Neutral", "sad": "Sad", "boredem": "Bored"}
FOLDS = 3


def entry(speaker: int, emotion: str, take: int) -> dict[str, str]:
    name = f"{speaker}-{emotion}-{take}"
    wav = f"downloads/toy/audio/Actor_{speaker}/{name}.wav"
    return {"key": f"toy-{name}", "dataset": "toy", "wav": wav, "emo": emotion}


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """Three speakers, each the test part of a fold; recordings are FLAC below ``elsewhere``."""
    folder = tmp_path / "toy"
    rng = np.random.default_rng(0)
    entries = [entry(s, e, n) for s in range(FOLDS) for e in EMOTIONS for n in range(3)]
    for one in entries:
        listed = Path(one["wav"])
        audio = tmp_path / "elsewhere" / listed.parent.name / f"{listed.stem}.flac"
        audio.parent.mkdir(parents=True, exist_ok=True)
        sf.write(audio, rng.uniform(-0.5, 0.5, 1600), 16_000)
    folder.mkdir()
    write_lines(folder / "toy.jsonl", entries)
    (folder / "label_map.json").write_text(json.dumps(NAMES))
    for fold in range(FOLDS):
        own = folder / f"fold_{fold + 1}"
        own.mkdir()
        held_out = [one for one in entries if f"Actor_{fold}/" in one["wav"]]
        others = [one for one in entries if one not in held_out]
        write_lines(own / f"toy_test_fold_{fold + 1}.jsonl", held_out)
        # Some of EmoBox's files lack the second underscore.
        write_lines(own / f"toy_train_fold{fold + 1}.jsonl", others)
    return folder


def write_lines(path: Path, entries: list[dict[str, str]]) -> None:
    path.write_text("".join(f"{json.dumps(one)}\n" for one in entries))


def test_folds_and_names_are_those_of_the_folder(toy: Path) -> None:
    corpus = read_corpus(toy, elsewhere=Elsewhere(audio=toy.parent / "elsewhere"))
    assert len(corpus) == FOLDS * len(EMOTIONS) * 3
    assert Counter(u.emotion for u in corpus.utterances) == dict.fromkeys(NAMES.values(), 9)
    assert not corpus.problems
    four = select(corpus, NAMED["four"])
    assert four.left_out == {"Bored": 9}
    folds = make_folds(four, parse(FoldSpec, PROTOCOLS["emobox"], "emobox"))
    assert len(folds) == FOLDS
    for number, fold in enumerate(folds):
        assert {four.utterances[i].id[4] for i in fold.test} == {str(number)}
        assert str(number) not in {four.utterances[i].id[4] for i in (*fold.train, *fold.dev)}
        assert len(fold.dev) == 4


def test_texts_come_from_a_csv_of_keys(toy: Path) -> None:
    audio = toy.parent / "elsewhere"
    (toy / "texts.csv").write_text('key,text\ntoy-0-ang-0,"Wo ist, bitte, das Buch?"\n')
    beside = read_corpus(toy, elsewhere=Elsewhere(audio=audio))
    assert {u.id: u.text for u in beside.utterances}["toy-0-ang-0"] == "Wo ist, bitte, das Buch?"
    other = toy.parent / "mine.csv"
    other.write_text("Key,Text\ntoy-0-ang-0,Ja\n")
    named = read_corpus(toy, elsewhere=Elsewhere(audio=audio, texts=other))
    assert {u.text for u in named.utterances} == {"", "Ja"}
    other.write_text("a,b\n")
    with pytest.raises(UserError, match=r"mine.csv: expected columns key and text, got a, b"):
        read_corpus(toy, elsewhere=Elsewhere(audio=audio, texts=other))


def test_recordings_that_are_missing_are_counted_by_emotion(toy: Path) -> None:
    audio = toy.parent / "elsewhere"
    for path in [*audio.rglob("*-hap-*"), audio / "Actor_0" / "0-sad-0.flac"]:
        path.unlink()
    corpus = read_corpus(toy, elsewhere=Elsewhere(audio=audio))
    assert len(corpus) == 45 - 10
    [note] = corpus.problems
    assert not note.fatal
    assert "10 of 45 are not below" in note.reason
    assert note.reason.endswith("of the whole corpus: Happy 9 of 9, Sad 1 of 9")


def test_without_any_recording_the_remedy_is_an_option(toy: Path) -> None:
    with pytest.raises(
        UserError, match=r"toy: expected recordings .*, found none below it; say .* by --audio"
    ):
        read_corpus(toy)
    with pytest.raises(UserError, match=r"expected a folder of recordings, found none; see --audi"):
        read_corpus(toy, elsewhere=Elsewhere(audio=toy / "nowhere"))


def test_two_recordings_of_one_name_are_told_apart_by_their_folder(toy: Path) -> None:
    audio = toy.parent / "elsewhere"
    copy = audio / "other" / "0-ang-0.flac"
    copy.parent.mkdir()
    copy.write_bytes((audio / "Actor_0" / "0-ang-0.flac").read_bytes())
    assert len(read_corpus(toy, elsewhere=Elsewhere(audio=audio)).problems) == 0
    (audio / "Actor_0" / "0-ang-0.flac").rename(audio / "0-ang-0.flac")
    [problem] = read_corpus(toy, elsewhere=Elsewhere(audio=audio)).problems
    assert problem.fatal
    assert "has several recordings" in problem.reason


def test_the_end_of_a_path_decides(tmp_path: Path) -> None:
    for name in ("a/x/1.wav", "b/x/1.wav", "b/y/1.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    recordings = Recordings(tmp_path)
    assert recordings.find(PurePosixPath("downloads/b/x/1.flac")) == (tmp_path / "b/x/1.wav",)
    assert recordings.find(PurePosixPath("downloads/B/Y/1.wav")) == (tmp_path / "b/y/1.wav",)
    assert len(recordings.find(PurePosixPath("elsewhere/1.wav"))) == 3
    assert recordings.find(PurePosixPath("2.wav")) == ()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("toy.jsonl", "{", r"toy.jsonl:1: expected a JSON object with key, wav and emo, got '{'"),
        ("toy.jsonl", '{"key": "a"}', r"toy.jsonl:1: expected a JSON object with key, wav and emo"),
        ("label_map.json", "[]", r"label_map.json: expected a JSON object of names of emotions"),
    ],
)
def test_a_list_that_cannot_be_read_is_named(
    toy: Path, name: str, content: str, message: str
) -> None:
    (toy / name).write_text(content)
    with pytest.raises(UserError, match=message):
        read_corpus(toy, elsewhere=Elsewhere(audio=toy.parent / "elsewhere"))


def test_an_utterance_in_train_and_test_of_a_fold_is_refused(toy: Path) -> None:
    with (toy / "fold_1" / "toy_train_fold1.jsonl").open("a") as file:
        file.write(json.dumps(entry(0, "ang", 0)))
    with pytest.raises(UserError, match=r"toy-0-ang-0 is in train and test of fold_1"):
        read_corpus(toy, elsewhere=Elsewhere(audio=toy.parent / "elsewhere"))


def test_other_kinds_of_corpora_have_their_recordings_themselves(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("path,text,emotion,speaker\n")
    with pytest.raises(UserError, match="--audio and --texts are for corpora of EmoBox and MELD"):
        read_corpus(tmp_path, elsewhere=Elsewhere(audio=tmp_path))
