"""Folds of any number: speakers left out, random dev shares, folds that come with a corpus."""

from collections import Counter
from dataclasses import replace

import pytest

from mlt_ray.corpus import folds as folds_module
from mlt_ray.corpus.fold_notes import describe, first_gaps, shared_text, sizes_text
from mlt_ray.corpus.folds import Fold, check_leaks, make_folds
from mlt_ray.corpus.protocols import PROTOCOLS, parse_protocol
from mlt_ray.errors import UserError
from mlt_ray.labels import FOUR
from mlt_ray.parsing import parse
from mlt_ray.spec import FoldSpec


def spoken(in_memory, sessions="12345", per_class=3, speakers="FM"):
    return in_memory(
        (f"{s}{who}{emotion}{i}", emotion, f"{s}{who}", s, f"{s}{who}{i}", f"{s}{who}{emotion}{i}")
        for s in sessions
        for who in speakers
        for emotion in FOUR
        for i in range(per_class)
    )


def spec_of(name):
    return parse(FoldSpec, PROTOCOLS[name], name)


def names_in(corpus, indices, key):
    return {getattr(corpus.utterances[i], key) for i in indices}


def given(corpus, parts_of):
    utterances = tuple(replace(u, parts=parts_of(u)) for u in corpus.utterances)
    return replace(corpus, utterances=utterances)


def test_loso_leaves_each_speaker_out_once(in_memory):
    corpus = spoken(in_memory)
    folds = make_folds(corpus, spec_of("loso"))
    tested = [names_in(corpus, fold.test, "speaker") for fold in folds]
    assert tested == [{f"{s}{who}"} for s in "12345" for who in "FM"]
    assert [names_in(corpus, fold.dev, "speaker") for fold in folds] == [*tested[1:], tested[0]]
    assert all(len(names_in(corpus, fold.train, "speaker")) == 8 for fold in folds)


def test_superb_tests_a_session_and_takes_dev_at_random_from_the_others(in_memory):
    corpus = spoken(in_memory, per_class=5)
    folds = make_folds(corpus, spec_of("superb"))
    assert [names_in(corpus, fold.test, "session") for fold in folds] == [{s} for s in "12345"]
    for fold in folds:
        assert sorted((*fold.train, *fold.dev, *fold.test)) == list(range(len(corpus)))
        # 40 of each class are not tested, of which a fifth is dev.
        assert Counter(corpus.utterances[i].emotion for i in fold.dev) == dict.fromkeys(FOUR, 8)
        assert names_in(corpus, fold.dev, "speaker") & names_in(corpus, fold.train, "speaker")
    assert len({fold.dev for fold in folds}) == 5
    assert folds_module._split.__wrapped__(corpus, spec_of("superb")) == folds


def test_copies_of_a_recording_are_on_one_side_of_a_random_dev_part(in_memory):
    corpus = spoken(in_memory, per_class=6)
    utterances = tuple(
        replace(u, audio_sha256=u.audio_sha256[:-1] + "x") if u.id[-1] in "01" else u
        for u in corpus.utterances
    )
    copied = replace(corpus, utterances=utterances)
    for fold in make_folds(copied, FoldSpec(by="stratified", dev=0.3)):
        check_leaks(copied, fold, FoldSpec(by="stratified", dev=0.3))


@pytest.mark.parametrize("number", [2, 3, 4, 7])
def test_any_number_of_groups_of_speakers(in_memory, number):
    corpus = spoken(in_memory)
    folds = make_folds(corpus, FoldSpec(by="speaker", number=number, dev=0.2))
    assert len(folds) == number
    tested = [i for fold in folds for i in fold.test]
    assert sorted(tested) == list(range(len(corpus)))
    for fold in folds:
        assert not names_in(corpus, fold.test, "speaker") & names_in(
            corpus, (*fold.train, *fold.dev), "speaker"
        )


def test_three_speakers_make_three_folds(in_memory):
    corpus = spoken(in_memory, sessions="1", speakers="ABC")
    folds = make_folds(corpus, FoldSpec(by="speaker", number=3))
    assert [len(names_in(corpus, fold.train, "speaker")) for fold in folds] == [1, 1, 1]
    with pytest.raises(UserError, match=r"at least 5 speakers, got 3; use --set folds.number=3"):
        make_folds(corpus, FoldSpec(by="speaker"))


def test_more_sessions_than_groups_are_put_together(in_memory):
    corpus = spoken(in_memory, sessions="123456789")
    folds = make_folds(corpus, FoldSpec())
    assert sorted(len(names_in(corpus, fold.test, "session")) for fold in folds) == [1, 2, 2, 2, 2]
    assert len(make_folds(corpus, FoldSpec(number="each"))) == 9


def test_two_groups_with_dev_as_the_next_leave_nothing_to_train_on(in_memory):
    corpus = spoken(in_memory, sessions="12")
    with pytest.raises(UserError, match=r"fold 1: train is empty.*--set folds.dev=0.2"):
        make_folds(corpus, FoldSpec(number=2))


def test_an_official_split_is_one_fold(in_memory):
    parts = {"1": "train", "2": "train", "3": "train", "4": "dev", "5": "test"}
    corpus = given(spoken(in_memory), lambda u: (parts[u.session],))
    [fold] = make_folds(corpus, FoldSpec(by="given"))
    for part, indices in fold.parts().items():
        expected = {session for session, name in parts.items() if name == part}
        assert names_in(corpus, indices, "session") == expected


def test_an_official_split_without_dev_wants_a_share(in_memory):
    corpus = given(spoken(in_memory), lambda u: ("test" if u.session == "5" else "train",))
    with pytest.raises(UserError, match=r"needs a dev part.*; use .*--set folds.dev=0.2"):
        make_folds(corpus, FoldSpec(by="given"))
    [fold] = make_folds(corpus, spec_of("emobox"))
    assert names_in(corpus, fold.test, "session") == {"5"}
    assert {corpus.utterances[i].emotion for i in fold.dev} == set(FOUR)


def test_given_folds_are_those_of_the_corpus_and_some_utterances_may_be_in_none(in_memory):
    def parts(u):
        if u.id.endswith("2"):
            return ("", "", "")
        return tuple("test" if u.session == s else "train" for s in "123")

    corpus = given(spoken(in_memory), parts)
    folds = make_folds(corpus, FoldSpec(by="given"))
    assert [names_in(corpus, fold.test, "session") for fold in folds] == [{"1"}, {"2"}, {"3"}]
    assert folds[2].dev == folds[0].test
    assert all(len((*f.train, *f.dev, *f.test)) == 80 for f in folds)


def test_what_is_given_is_part_of_the_fingerprint(in_memory):
    corpus = spoken(in_memory)
    split = given(corpus, lambda u: ("train",))
    assert split.fingerprint != corpus.fingerprint
    assert given(split, lambda u: ()).fingerprint == corpus.fingerprint


def test_without_given_parts_the_remedy_is_a_column(in_memory):
    with pytest.raises(UserError, match="needs folds that come with the corpus, found none; add"):
        make_folds(spoken(in_memory), FoldSpec(by="given"))


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_leak_cannot_be_switched_off(in_memory, name):
    corpus = spoken(in_memory)
    fold = make_folds(corpus, FoldSpec())[0]
    leaky = replace(fold, train=(*fold.train, fold.test[0]))
    with pytest.raises(UserError, match="is in train and test"):
        check_leaks(corpus, leaky, spec_of(name))


@pytest.mark.parametrize("name", ["loso", "superb", "paper"])
def test_a_speaker_of_test_is_never_in_train(in_memory, name):
    corpus = spoken(in_memory)
    fold = make_folds(corpus, FoldSpec())[0]
    moved = next(i for i in fold.test)
    leaky = replace(
        fold, train=(*fold.train, moved), test=tuple(i for i in fold.test if i != moved)
    )
    with pytest.raises(UserError, match=r"(speaker|session) \w+ is in train and test"):
        check_leaks(corpus, leaky, spec_of(name))


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (FoldSpec(), "5 folds by session, 3/1/1"),
        (FoldSpec(by="speaker", number="each", num_folds=10), "10 folds by speaker, 8/1/1"),
        (
            FoldSpec(number="each", dev=0.2),
            "5 folds by session, dev is a random 20% of what is not test "
            "(dev may share speakers with train)",
        ),
        (
            FoldSpec(by="given", num_folds=1),
            "1 fold as given, dev as given, else the test part of the next fold "
            "(parts may share speakers)",
        ),
        (
            FoldSpec(text_disjoint=True),
            "5 folds by session, 3/1/1, no text of dev or test in train",
        ),
    ],
)
def test_folds_are_described(spec, text):
    assert describe(spec) == text


def test_texts_that_train_shares_with_test_are_counted(in_memory):
    acted = in_memory((*row[:4], row[0][-1], row[5]) for row in rows_of(in_memory))
    said = "train has the text of 100.0% of the test utterances"
    assert shared_text(acted, make_folds(acted, FoldSpec())) == said
    corpus = spoken(in_memory)
    assert shared_text(corpus, make_folds(corpus, FoldSpec())) == ""


def test_speakers_that_train_shares_with_test_are_counted(in_memory):
    apart = {"1": "train", "2": "train", "3": "dev", "4": "test", "5": "train"}
    corpus = given(spoken(in_memory), lambda u: (apart[u.session],))
    assert shared_text(corpus, make_folds(corpus, FoldSpec(by="given"))) == ""
    leaky = given(corpus, lambda u: ("test" if u.id.endswith("2") else apart[u.session],))
    said = shared_text(leaky, make_folds(leaky, FoldSpec(by="given")))
    # Of the 56 test utterances, 16 are of speakers of session 4 and 8 of session 3.
    assert said == f"train has the speaker of {24 / 56:.1%} of the test utterances"


def test_sizes_are_those_of_every_fold_or_from_the_smallest_to_the_largest(in_memory):
    corpus = spoken(in_memory)
    assert sizes_text(make_folds(corpus, FoldSpec())) == "train 72, dev 24, test 24"
    few = Fold(number=1, train=(0, 1, 2), dev=(3,), test=(4,))
    more = Fold(number=2, train=(0, 1), dev=(2,), test=(3, 4))
    assert sizes_text([few, more]) == "train 2–3, dev 1, test 1–2"


def test_many_gaps_are_counted():
    assert first_gaps(["a", "b"]) == "a, b"
    assert first_gaps(list("abcdefgh")) == "a, b, c, d, e, f and 2 more"


def rows_of(in_memory):
    return [
        (u.id, u.emotion, u.speaker, u.session, u.text, u.id) for u in spoken(in_memory).utterances
    ]


def test_a_remedy_is_a_whole_change(in_memory):
    corpus = in_memory((*row[:3], "", *row[4:]) for row in rows_of(in_memory))
    with pytest.raises(UserError) as error:
        make_folds(corpus, spec_of("superb"))
    one, other = str(error.value).partition("; use ")[2].split(" or ")
    assert one == "--set folds.by=speaker"
    assert other == "--set folds.by=stratified --set folds.number=5"


def test_an_unknown_protocol_is_refused_with_the_nearest():
    with pytest.raises(
        UserError, match=r"base.protocol: unknown protocol losso; did you mean loso"
    ):
        parse_protocol("losso", "base.protocol")
