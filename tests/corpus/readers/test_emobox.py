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
from mlt_ray.labels import NAMED, Labels
from mlt_ray.parsing import parse
from mlt_ray.spec import FoldSpec

EMOTIONS = ("ang", "hap", "neutral", "sad", "boredem")
NAMES = {"ang": "Angry", "hap": "Happy", "Neutral": "Neutral", "sad": "Sad", "boredem": "Bored"}
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
        write_lines(own / f"toy_train_fold_{fold + 1}.jsonl", others)
        # Emo-DB also has older lists, with other keys; its map differs from its lists in case.
        write_lines(own / f"toy_test_fold{fold + 1}.jsonl", [{"key": "old", "label": "anger"}])
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


def test_a_valid_part_is_dev_and_other_lists_are_not_read(toy: Path) -> None:
    own = toy / "fold_1"
    lines = (own / "toy_train_fold_1.jsonl").read_text().splitlines(keepends=True)
    (own / "toy_train_fold_1.jsonl").write_text("".join(lines[15:]))
    (own / "toy_valid_fold_1.jsonl").write_text("".join(lines[:15]))
    (own / "toy_test2_fold_1.jsonl").write_text("".join(lines))
    corpus = read_corpus(toy, elsewhere=Elsewhere(audio=toy.parent / "elsewhere"))
    assert Counter(u.parts[0] for u in corpus.utterances) == {"test": 15, "dev": 15, "train": 15}
    fold = make_folds(select(corpus, NAMED["all"]), FoldSpec(by="given", dev=0.2))[0]
    assert {corpus.utterances[i].parts[0] for i in fold.dev} == {"dev"}


def test_recordings_lie_in_downloads_as_emobox_has_them(toy: Path) -> None:
    emobox = toy.parent / "EmoBox"
    (emobox / "data").mkdir(parents=True)
    (emobox / "downloads").mkdir()
    (toy.parent / "elsewhere").rename(emobox / "downloads" / "toy")
    assert len(read_corpus(toy.rename(emobox / "data" / "toy"))) == 45


def test_stretches_of_a_long_recording_are_files_named_by_their_key(toy: Path) -> None:
    audio = toy.parent / "elsewhere"
    (audio / "Actor_0" / "0-ang-0.flac").rename(audio / "toy-0-ang-0.flac")
    stretch = {**entry(0, "ang", 0), "wav": "downloads/toy/long.flac", "start_time": 1.5}
    rest = (toy / "toy.jsonl").read_text().splitlines(keepends=True)[1:]
    (toy / "toy.jsonl").write_text("".join([f"{json.dumps(stretch)}\n", *rest]))
    corpus = read_corpus(toy, elsewhere=Elsewhere(audio=audio))
    assert len(corpus) == 45
    assert corpus.utterances[0].audio == audio / "toy-0-ang-0.flac"
    with pytest.raises(UserError, match=r"such as toy-0-ang-0.wav, .*; cut the long ones from sta"):
        read_corpus(toy)


def test_texts_come_from_a_csv_of_keys(toy: Path) -> None:
    audio = toy.parent / "elsewhere"
    (toy / "texts.csv").write_text('key,text\ntoy-0-ang-0,"Wo ist, bitte, das Buch?"\n')
    beside = read_corpus(toy, elsewhere=Elsewhere(audio=audio))
    assert {u.id: u.text for u in beside.utterances}["toy-0-ang-0"] == "Wo ist, bitte, das Buch?"
    other = toy.parent / "mine.csv"
    other.write_text("Key,Text\ntoy-0-ang-0,Ja\n")
    named = read_corpus(toy, elsewhere=Elsewhere(audio=audio, texts=other))
    assert {u.text for u in named.utterances} == {"", "Ja"}
    other.write_text("key,text\ntoy-0-ang-0,Ja\ntoy-9-ang-0,Nein\n")
    notes = read_corpus(toy, elsewhere=Elsewhere(audio=audio, texts=other)).problems
    assert list(map(str, notes)) == [
        "mine.csv: 1 keys are of no utterance, such as toy-9-ang-0",
        "texts: 44 of 45 utterances have none, such as toy-0-ang-1",
    ]
    assert not any(note.fatal for note in notes)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n", r"mine.csv: expected columns key, text, got a, b"),
        ("key,text\nx,Ja\n", r"mine.csv: expected keys such as toy-0-ang-0, got x"),
        ("key,text\nx,Ja, gut\n", r"mine.csv, line 2: has more cells than the first line; quote"),
        ("key,text\nx,Ja\nx,Nein\n", r"mine.csv: expected one text of x, got two"),
    ],
)
def test_texts_of_another_form_are_refused(toy: Path, content: str, message: str) -> None:
    file = toy.parent / "mine.csv"
    file.write_text(content)
    with pytest.raises(UserError, match=message):
        read_corpus(toy, elsewhere=Elsewhere(audio=toy.parent / "elsewhere", texts=file))


def test_recordings_that_are_missing_are_counted_by_emotion(toy: Path) -> None:
    audio = toy.parent / "elsewhere"
    for path in [*audio.rglob("*-hap-*"), audio / "Actor_0" / "0-sad-0.flac"]:
        path.unlink()
    corpus = read_corpus(toy, elsewhere=Elsewhere(audio=audio))
    assert len(corpus) == 45 - 10
    whole, part = corpus.problems
    assert [whole.fatal, part.fatal] == [False, False]
    assert whole.reason.startswith("10 of 45 are not below")
    assert whole.reason.endswith("; nothing is there of Happy (9)")
    assert part.reason == "Sad lacks 1 of 9, so scores are not those of the whole corpus"
    # Who does not count an emotion need not know that a part of it is missing.
    labels = Labels("", (("Angry", ("Angry",)), ("Neutral", ("Neutral",))))
    assert select(corpus, labels).problems == (whole,)


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


def test_a_recording_is_of_the_utterance_whose_path_it_ends_most_like(toy: Path) -> None:
    audio = toy.parent / "elsewhere"
    other = {**entry(0, "ang", 0), "key": "toy-other", "wav": "downloads/toy/other/0-ang-0.wav"}
    with (toy / "toy.jsonl").open("a") as file:
        file.write(json.dumps(other))
    corpus = read_corpus(toy, elsewhere=Elsewhere(audio=audio))
    assert "toy-other" not in {u.id for u in corpus.utterances}
    assert [p.reason for p in corpus.problems if p.emotion] == [
        "Angry lacks 1 of 10, so scores are not those of the whole corpus"
    ]


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
    with (toy / "fold_1" / "toy_train_fold_1.jsonl").open("a") as file:
        file.write(json.dumps(entry(0, "ang", 0)))
    with pytest.raises(UserError, match=r"toy-0-ang-0 is in test and train of fold_1"):
        read_corpus(toy, elsewhere=Elsewhere(audio=toy.parent / "elsewhere"))


def test_other_kinds_of_corpora_have_their_recordings_themselves(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("path,text,emotion,speaker\n")
    with pytest.raises(UserError, match="--audio and --texts are for corpora of EmoBox and MELD"):
        read_corpus(tmp_path, elsewhere=Elsewhere(audio=tmp_path))
