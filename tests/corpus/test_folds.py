import dataclasses
import itertools
import os
import random
import re
import subprocess
import sys
from collections import Counter

import pytest

from mlt_ray.corpus.fold_notes import fold_notes, gaps
from mlt_ray.corpus.folds import Fold, check_leaks, make_folds, try_folds
from mlt_ray.errors import UserError
from mlt_ray.labels import FOUR
from mlt_ray.spec import FoldSpec

GROUPED = ("session", "speaker", "stratified")


def five_sessions(per_class=1):
    """Rows of five sessions with two speakers each; every text and recording is different."""
    for session in "12345":
        for speaker in "FM":
            for emotion in FOUR:
                for i in range(per_class):
                    name = f"{session}{speaker}{emotion}{i}"
                    yield name, emotion, f"Ses0{session}{speaker}", session, name, name


def changed(rows, name, **changes):
    """The rows, with `changes` in the one called `name`."""
    columns = ("id", "emotion", "speaker", "session", "text", "audio")
    for row in rows:
        values = dict(zip(columns, row, strict=True))
        yield tuple((values | changes).values()) if row[0] == name else row


def sessions_of(corpus, part):
    return sorted({corpus.utterances[i].session for i in part})


def test_session_folds_are_those_of_the_paper(in_memory):
    corpus = in_memory(five_sessions())
    folds = make_folds(corpus, FoldSpec())
    found = [
        (f.number, *(sessions_of(corpus, part) for part in (f.test, f.dev, f.train))) for f in folds
    ]
    assert found == [
        (1, ["1"], ["2"], ["3", "4", "5"]),
        (2, ["2"], ["3"], ["1", "4", "5"]),
        (3, ["3"], ["4"], ["1", "2", "5"]),
        (4, ["4"], ["5"], ["1", "2", "3"]),
        (5, ["5"], ["1"], ["2", "3", "4"]),
    ]
    assert [len(part) for part in folds[0].parts().values()] == [24, 8, 8]


def test_sessions_are_in_natural_order(in_memory):
    names = {"1": "s1", "2": "s2", "3": "s9", "4": "s10", "5": "s11"}
    rows = [(*row[:3], names[row[3]], *row[4:]) for row in five_sessions()]
    corpus = in_memory(rows)
    tested = [sessions_of(corpus, fold.test) for fold in make_folds(corpus, FoldSpec())]
    assert tested == [["s1"], ["s2"], ["s9"], ["s10"], ["s11"]]


@pytest.mark.parametrize("by", ["session", "speaker", "stratified"])
def test_every_utterance_is_tested_once_and_no_part_overlaps(in_memory, by):
    corpus = in_memory(five_sessions(per_class=3))
    folds = make_folds(corpus, FoldSpec(by=by))
    assert [fold.number for fold in folds] == [1, 2, 3, 4, 5]
    assert sorted(i for fold in folds for i in fold.test) == list(range(len(corpus)))
    for i, fold in enumerate(folds):
        assert sorted([*fold.train, *fold.dev, *fold.test]) == list(range(len(corpus)))
        assert fold.dev == folds[(i + 1) % 5].test
    assert folds == make_folds(corpus, FoldSpec(by=by))


def test_speaker_folds_keep_speakers_whole_and_classes_balanced(in_memory):
    rows = [
        (f"{speaker}{emotion}{i}", emotion, f"s{speaker:02d}", "", "hm", f"{speaker}{emotion}{i}")
        for speaker in range(10)
        for emotion in FOUR
        for i in range(3)
    ]
    corpus = in_memory(rows)
    for fold in make_folds(corpus, FoldSpec(by="speaker")):
        tested = [corpus.utterances[i] for i in fold.test]
        assert len({u.speaker for u in tested}) == 2
        assert Counter(u.emotion for u in tested) == dict.fromkeys(FOUR, 6)


def test_stratified_folds_keep_copies_of_a_recording_together(in_memory):
    rows = [
        (f"{emotion}{i:02d}", emotion, "s", "", "hm", f"{emotion}{i // 2}")
        for emotion in FOUR
        for i in range(20)
    ]
    corpus = in_memory(rows)
    for fold in make_folds(corpus, FoldSpec(by="stratified")):
        tested = Counter(corpus.utterances[i].audio_sha256 for i in fold.test)
        assert set(tested.values()) == {2}
        assert Counter(corpus.utterances[i].emotion for i in fold.test) == dict.fromkeys(FOUR, 4)


def test_text_disjoint_drops_training_utterances_whose_text_is_held_out(in_memory):
    rows = changed(five_sessions(per_class=2), "1Fsad0", text="I said: GO away! [LAUGHTER]")
    rows = changed(rows, "3Fsad0", text="i said go away")
    rows = changed(rows, "1Fangry0", text="[BREATHING]")
    corpus = in_memory(changed(rows, "4Fangry0", text=""))
    index = [u.id for u in corpus.utterances].index("3Fsad0")
    plain = make_folds(corpus, FoldSpec())
    disjoint = make_folds(corpus, FoldSpec(text_disjoint=True))
    dropped = [sorted(set(a.train) - set(b.train)) for a, b in zip(plain, disjoint, strict=True)]
    first = [u.id for u in corpus.utterances].index("1Fsad0")
    # Session 1 is held out in folds 1 (test) and 5 (dev), session 3 in folds 2 (dev) and 3 (test).
    assert dropped == [[index], [first], [first], [], [index]]
    assert [(f.dev, f.test) for f in plain] == [(f.dev, f.test) for f in disjoint]


def test_session_folds_without_five_sessions_name_a_remedy(in_memory):
    four = in_memory(row for row in five_sessions() if row[3] != "5")
    with pytest.raises(
        UserError,
        match=r"at least 5 sessions, got 4; use --set folds\.number=4 or --set folds\.by=speaker",
    ):
        make_folds(four, FoldSpec())
    some = in_memory(changed(five_sessions(), "1Fsad0", session=""))
    with pytest.raises(UserError, match=r"got 5 \(1 of 40 utterances have none\)"):
        make_folds(some, FoldSpec())


def test_speaker_folds_without_five_speakers_name_a_remedy(in_memory):
    corpus = in_memory(row for row in five_sessions(per_class=2) if row[3] in "12")
    with pytest.raises(UserError, match=r"at least 5 speakers, got 4.*folds\.by=stratified"):
        make_folds(corpus, FoldSpec(by="speaker"))


def test_a_class_that_train_lacks_is_named(in_memory):
    corpus = in_memory(r for r in five_sessions() if r[1] != "sad" or r[3] in "12")
    with pytest.raises(UserError, match="fold 1: train holds no sad utterance"):
        make_folds(corpus, FoldSpec())
    with pytest.raises(UserError, match="at least 5 utterances of each class, got 4 of sad"):
        make_folds(corpus, FoldSpec(by="stratified"))


def test_every_class_and_fold_that_lacks_something_is_named(in_memory):
    corpus = in_memory(r for r in five_sessions() if r[1] not in ("sad", "happy") or r[3] in "12")
    with pytest.raises(UserError, match="got 4 of happy, 4 of sad"):
        make_folds(corpus, FoldSpec(by="stratified"))
    with pytest.raises(UserError) as error:
        make_folds(corpus, FoldSpec())
    # Fold 1 tests session 1 and chooses by session 2; folds 2 and 5 keep one of them for training.
    reason = "fold 1: train holds no happy or sad utterance with folds.by: session"
    assert str(error.value) == f"{reason}; use --set folds.dev=0.2"
    with pytest.raises(UserError, match=r"^corpus rows holds no angry or sad utterance; no other"):
        make_folds(
            in_memory(r for r in five_sessions() if r[1] in ("happy", "neutral")), FoldSpec()
        )


def test_fewer_than_five_recordings_under_many_ids_are_told(in_memory):
    rows = [(*row[:5], f"recording {i % 4}") for i, row in enumerate(five_sessions())]
    with pytest.raises(UserError) as error:
        make_folds(in_memory(rows), FoldSpec(by="stratified"))
    assert str(error.value) == (
        "corpus rows: folds.by: stratified needs at least 5 different recordings, got 4; "
        "no other folds.by is possible either; add utterances"
    )


def test_an_error_names_what_is_possible_and_nothing_else(in_memory):
    one = in_memory((*row[:2], "s", "", *row[4:]) for row in five_sessions(per_class=2))
    for by in ("session", "speaker"):
        with pytest.raises(UserError, match=r"; use --set folds\.by=stratified$"):
            make_folds(one, FoldSpec(by=by))
    without = in_memory((*row[:3], "", *row[4:]) for row in five_sessions())
    with pytest.raises(UserError, match=r"by=speaker or --set folds\.by=stratified$"):
        make_folds(without, FoldSpec())


def test_one_text_for_all_leaves_no_training_part_that_is_disjoint(in_memory):
    corpus = in_memory((*row[:4], "Kids are talking.", row[5]) for row in five_sessions())
    for by in GROUPED:
        with pytest.raises(UserError, match=r"fold 1: train is empty.*folds\.text_disjoint=false"):
            make_folds(corpus, FoldSpec(by=by, text_disjoint=True))


def test_classes_that_dev_or_test_lacks_are_named(in_memory):
    corpus = in_memory(r for r in five_sessions() if r[1] != "sad" or r[3] != "2")
    found = gaps(corpus, make_folds(corpus, FoldSpec()))
    assert found == ("no sad in dev of fold 1", "no sad in test of fold 2")


@pytest.mark.parametrize("size", [1, 4, 5, 40])
@pytest.mark.parametrize("num_recordings", [1, 4, 5, 500])
def test_a_corpus_of_any_shape_is_split_or_refused_in_one_line(in_memory, size, num_recordings):
    draw = random.Random(size + num_recordings)
    outcomes = Counter()
    for speakers, texts, classes in itertools.product((1, 5, 8), (1, 500), (1, 3, 4)):
        rows = [
            (
                f"u{i}",
                draw.choice(FOUR[:classes]),
                f"s{draw.randrange(speakers)}",
                draw.choice(["", "1", "2"]) if speakers == 8 else str(i % 5),
                f"text {draw.randrange(texts)}",
                f"{draw.randrange(num_recordings)}",
            )
            for i in range(size)
        ]
        corpus = in_memory(rows)
        for by, disjoint in itertools.product(GROUPED, (False, True)):
            spec = FoldSpec(by=by, text_disjoint=disjoint)
            found = try_folds(corpus, spec)
            if isinstance(found, str):
                assert "\n" not in found
                with pytest.raises(UserError, match=re.escape(found)):
                    make_folds(corpus, spec)
            else:
                assert make_folds(corpus, spec) == found
            outcomes[not isinstance(found, str)] += 1
    assert outcomes[False]
    assert bool(outcomes[True]) == (size == 40 and num_recordings >= 5)


@pytest.mark.parametrize("hash_seed", ["1", "2", "3"])
def test_sessions_with_equal_numbers_have_one_order_in_every_process(hash_seed):
    code = (
        "from mlt_ray.corpus.folds import session_names\n"
        "from mlt_ray.corpus.utterance import Corpus, Utterance\n"
        "from pathlib import Path\n"
        "of = dict(audio=Path('a'), text='', emotion='sad', speaker='s', duration_s=1.0)\n"
        "names = ['1', '01', '001', '0001', '00001']\n"
        "rows = [Utterance(id=n, session=n, audio_sha256=n, **of) for n in names]\n"
        "print(session_names(Corpus(name='c', utterances=tuple(rows))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "('00001', '0001', '001', '01', '1')"


def test_a_speaker_in_two_sessions_is_a_leak(in_memory):
    corpus = in_memory(changed(five_sessions(), "3Fsad0", speaker="Ses04F"))
    assert len(make_folds(corpus, FoldSpec(by="speaker"))) == 5
    with pytest.raises(UserError) as error:
        make_folds(corpus, FoldSpec())
    # Sessions 3 and 4 are both in train of fold 1; fold 2 is the first that separates them.
    assert str(error.value) == "fold 2: speaker Ses04F is in train and dev; set folds.by: speaker"


def test_a_copy_of_a_recording_in_another_session_is_a_leak(in_memory):
    corpus = in_memory(changed(five_sessions(), "1Fsad0", audio="5Mhappy0"))
    with pytest.raises(UserError, match="fold 1: the audio of 5Mhappy0 and 1Fsad0 is in train and"):
        make_folds(corpus, FoldSpec())


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (FoldSpec(), "fold 1: session 3 is in train and test; set folds.by: speaker"),
        (FoldSpec(by="speaker"), "fold 1: speaker Ses03F is in train and test; set folds.by: ses"),
    ],
)
def test_an_injected_leak_is_found(in_memory, spec, message):
    corpus = in_memory(five_sessions())
    fold = make_folds(corpus, FoldSpec())[0]
    moved = next(i for i in fold.train if corpus.utterances[i].speaker == "Ses03F")
    train = tuple(i for i in fold.train if i != moved)
    leaky = dataclasses.replace(fold, train=train, test=(*fold.test, moved))
    with pytest.raises(UserError, match=message):
        check_leaks(corpus, leaky, spec)
    check_leaks(corpus, leaky, FoldSpec(by="stratified"))


def test_an_utterance_in_two_parts_is_a_leak_under_every_protocol(in_memory):
    corpus = in_memory(five_sessions())
    fold = Fold(3, (0, 1), (2,), (3, 0))
    with pytest.raises(UserError, match="fold 3: utterance 1Fangry0 is in train and test"):
        check_leaks(corpus, fold, FoldSpec(by="stratified"))


def test_a_text_in_train_and_test_is_a_leak_when_texts_are_to_be_disjoint(in_memory):
    corpus = in_memory(changed(five_sessions(), "1Fsad0", text="3Fsad0"))
    (fold, *_) = make_folds(corpus, FoldSpec())
    with pytest.raises(UserError, match="fold 1: text 3fsad0 is in train and test"):
        check_leaks(corpus, fold, FoldSpec(text_disjoint=True))


def test_an_empty_corpus_is_refused_by_every_protocol(in_memory):
    for by in ("session", "speaker", "stratified"):
        with pytest.raises(UserError, match="corpus rows"):
            make_folds(in_memory([]), FoldSpec(by=by))


def test_reading_and_session_folds_import_nothing_heavy():
    heavy = ["torch", "ray", "mlflow", "optuna", "sklearn"]
    code = (
        "import sys, mlt_ray.corpus.readers.read, mlt_ray.corpus.examination.check\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def without_sad_in(session, per_class=1):
    return [row for row in five_sessions(per_class) if (row[1], row[3]) != ("sad", session)]


def test_gaps_are_the_classes_that_dev_and_test_lack(in_memory):
    corpus = in_memory(without_sad_in("3"))
    folds = make_folds(corpus, FoldSpec())
    assert gaps(corpus, folds) == ("no sad in dev of fold 2", "no sad in test of fold 3")
    whole = in_memory(five_sessions())
    assert gaps(whole, make_folds(whole, FoldSpec())) == ()


def test_notes_say_where_ua_is_a_mean_over_fewer_classes(in_memory):
    corpus = in_memory(without_sad_in("3", per_class=3))
    notes = fold_notes((corpus, spec) for spec in [FoldSpec(), FoldSpec(by="stratified")])
    assert notes == (
        "5 folds by session, 3/1/1: no sad in dev of fold 2, no sad in test of fold 3; "
        "UA there is the mean over the other classes",
        "5 folds at random, stratified by class, 3/1/1 (parts may share speakers): "
        "train has the speaker of 100.0% of the test utterances",
    )


def test_notes_count_test_utterances_whose_text_train_has(in_memory):
    rows = [(*row[:4], "Hm." if row[0].endswith("0") else "", row[5]) for row in five_sessions(2)]
    corpus = in_memory(changed(rows, "1Fsad0", text="Unheard of."))
    [note] = fold_notes([(corpus, FoldSpec())])
    # 39 of 80 test utterances say Hm., as training does; empty texts do not count.
    assert note == "train has the text of 48.8% of the test utterances"


def test_notes_name_speakers_who_may_be_one_where_folds_keep_speakers_apart(in_memory):
    rows = [(*row[:2], row[2].replace("Ses01F", "ses1f"), *row[3:]) for row in five_sessions(3)]
    corpus = in_memory(changed(rows, "1Fsad0", speaker="Ses01F"))
    [note] = fold_notes((corpus, spec) for spec in [FoldSpec()])
    assert note == "speakers whose names are alike count as different ones: Ses01F and ses1f"
    [other] = fold_notes((corpus, spec) for spec in [FoldSpec(by="stratified")])
    assert other == "train has the speaker of 99.2% of the test utterances"
    assert fold_notes([(in_memory(five_sessions()), FoldSpec())]) == ()


@pytest.mark.parametrize(("speakers", "by"), [("FMXYZ", "speaker"), ("FM", "stratified")])
def test_the_remedy_for_a_corpus_without_sessions_is_one_that_it_allows(in_memory, speakers, by):
    rows = [
        (f"{i}{emotion}", emotion, speakers[i % len(speakers)], "", f"text {i}", f"{i}{emotion}")
        for i in range(10)
        for emotion in FOUR
    ]
    corpus = in_memory(rows)
    with pytest.raises(UserError, match=f"; use --set folds.by={by}( or |$)"):
        make_folds(corpus, FoldSpec())
    make_folds(corpus, FoldSpec(by=by))


def test_folds_by_speaker_that_would_fill_memory_are_refused(in_memory, monkeypatch):
    rows = [(f"u{n}", FOUR[n % 4], f"s{n // 4}", "", f"text {n}", f"{n}") for n in range(40)]
    loso = FoldSpec(by="speaker", number="each")
    corpus = in_memory(rows)
    assert len(make_folds(corpus, loso)) == 10
    monkeypatch.setattr("mlt_ray.corpus.folds.MOST_PLACES", 399)
    with pytest.raises(UserError, match=r"10 folds of 40 utterances, expected at most 9"):
        make_folds(corpus, dataclasses.replace(loso, members="asked again"))
