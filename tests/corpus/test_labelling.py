"""Labels select the utterances that count, whatever names a corpus has for their emotions."""

from collections import Counter

import pytest

from mlt_ray.corpus.labelling import absent_text, check_labels, select
from mlt_ray.errors import UserError
from mlt_ray.labels import EMOTIONS, NAMED, Labels
from mlt_ray.studies.labels import parse_labels


def corpus_of(in_memory, *names):
    return in_memory((f"u{i}", name, "s", "", "", f"{i}") for i, name in enumerate(names))


IEMOCAP = ("ang", "hap", "exc", "neu", "sad", "fru", "sur", "fea", "dis", "oth", "xxx")


@pytest.mark.parametrize(
    ("name", "classes", "left_out"),
    [
        ("four", {"angry": 1, "happy": 2, "neutral": 1, "sad": 1}, 6),
        ("five", {"angry": 1, "frustrated": 1, "happy": 2, "neutral": 1, "sad": 1}, 5),
        ("six", dict.fromkeys(("angry", "excited", "frustrated", "happy", "neutral", "sad"), 1), 5),
        ("all", dict.fromkeys(IEMOCAP[:-1], 1), 1),
    ],
)
def test_named_sets_on_iemocaps_codes(in_memory, name, classes, left_out):
    found = select(corpus_of(in_memory, *IEMOCAP), NAMED[name])
    assert Counter(u.emotion for u in found.utterances) == classes
    assert found.classes == tuple(sorted(classes))
    assert sum(found.left_out.values()) == left_out
    assert found.left_out["xxx"] == 1
    assert [found.classes[n] for n in found.labels] == [u.emotion for u in found.utterances]


@pytest.mark.parametrize("name", ["Anger", "ANG", " angry ", "anger"])
def test_well_known_spellings_are_understood_in_any_case(in_memory, name):
    found = select(corpus_of(in_memory, name, "sad"), NAMED["four"])
    assert [u.emotion for u in found.utterances] == ["angry", "sad"]


@pytest.mark.parametrize("name", ["xxx", "No-agreement", "no agreement", "UnKnown"])
def test_what_is_no_emotion_is_left_out_of_every_set(in_memory, name):
    for labels in NAMED.values():
        found = select(corpus_of(in_memory, name, "angry", "sad"), labels)
        assert found.left_out == {name: 1}
        assert not found.problems


def test_names_that_emobox_has_beside_the_usual_ones_are_no_misspelt_ones(in_memory):
    names = ["Amused", "Anxious", "Apologetic", "Assertive", "Concerned", "Encouraging"]
    names += ["Enthusiastic", "Poker", "Sarcastic", "Sleepy", "Worried", "breath", "pleasure"]
    found = select(corpus_of(in_memory, *names), NAMED["four"])
    assert found.left_out == dict.fromkeys(sorted(names), 1)
    assert not found.problems


def test_no_spelling_is_that_of_two_emotions():
    assert all(EMOTIONS[emotion] == emotion for emotion in set(EMOTIONS.values()))


def test_what_counts_today_keeps_its_fingerprint(in_memory):
    before = corpus_of(in_memory, "angry", "happy", "neutral", "sad")
    assert select(before, NAMED["four"]).fingerprint == before.fingerprint
    codes = corpus_of(in_memory, "ang", "exc", "neu", "sad", "xxx")
    assert select(codes, NAMED["four"]).fingerprint == before.fingerprint


def test_a_mapping_of_ones_own(in_memory):
    labels = parse_labels({"loud": ["ang", "exc"], "quiet": "Sad", "leave_out": ["neu"]}, "labels")
    found = select(corpus_of(in_memory, "ang", "exc", "sadness", "neu"), labels)
    assert [u.emotion for u in found.utterances] == ["loud", "loud", "quiet"]
    assert found.classes == ("loud", "quiet")
    assert found.left_out == {"neu": 1}
    check_labels(corpus_of(in_memory, "ang", "exc", "sadness", "neu"), labels)


def test_what_is_listed_goes_before_what_is_usual(in_memory):
    labels = parse_labels({"hot": "anger", "cold": "angry"}, "labels")
    found = select(corpus_of(in_memory, "angry", "anger"), labels)
    assert [u.emotion for u in found.utterances] == ["cold", "hot"]


def test_a_list_names_classes_and_leaves_out_the_rest(in_memory):
    labels = parse_labels(["sad", "angry"], "labels")
    found = select(corpus_of(in_memory, *IEMOCAP), labels)
    assert found.classes == ("sad", "angry")
    assert found.labels == (1, 0)
    check_labels(corpus_of(in_memory, *IEMOCAP), labels)


def test_a_mapping_says_what_becomes_of_every_emotion(in_memory):
    corpus = corpus_of(in_memory, "ang", "sad", "fear", "fear")
    labels = parse_labels({"angry": "ang", "sad": "sad"}, "labels")
    with pytest.raises(UserError, match=r"got 'fear' \(2 utterances\), which is neither; add it"):
        check_labels(corpus, labels)
    rest = parse_labels({"angry": "ang", "sad": "sad", "leave_out": "rest"}, "labels")
    check_labels(corpus, rest)


def test_a_misspelt_name_is_not_left_out_silently(in_memory):
    found = select(corpus_of(in_memory, "angri", "sad", "elation"), NAMED["four"])
    [problem] = found.problems
    assert problem.fatal
    assert str(problem).startswith("labels: emotion 'angri' of 1 utterances is unknown; did you me")


def test_a_class_that_nothing_counts_as_is_named_with_what_there_is(in_memory):
    corpus = corpus_of(in_memory, "ang", "sad", "neutral")
    labels = parse_labels(["ang", "sadd"], "labels")
    assert absent_text(corpus, labels) == (
        "labels ang, sadd: expected utterances of every class, found none of sadd (did you mean "
        "sad?); the corpus has ang, neutral, sad: set labels to these"
    )
    assert absent_text(corpus, parse_labels(["ang", "sad"], "labels")) == ""
    assert "found none of happy; the corpus" in absent_text(corpus, NAMED["four"])


def test_all_needs_two_emotions(in_memory):
    with pytest.raises(UserError, match="labels all: expected two classes or more, got sad"):
        check_labels(corpus_of(in_memory, "sad", "xxx"), NAMED["all"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("for", r"labels: unknown set for; did you mean four\?"),
        ({"angry": ["ang"]}, "expected at least two classes, got 1"),
        ({"a": ["x", "y"], "b": ["Y"]}, "expected y once, got it 2 times"),
        ({"a": ["x"], "b": ["y"], "leave_out": ["x"]}, "expected x once, got it 2 times"),
        ({"a": [1], "b": ["y"]}, r"labels.a: expected the name of an emotion, got 1"),
        (["sad"], "expected at least two classes, got 1"),
        (["angry", "Anger", "sad"], "labels: expected every emotion once, got angry and Anger"),
        (
            {"a": "rest", "b": "sad"},
            "labels.a: expected names of emotions, got rest, which leave_o",
        ),
        ({True: ["angry"], "b": "sad"}, "got True; put yes and no in quotes"),
        (3, "expected four, five, six, all, a list of classes"),
    ],
)
def test_labels_that_cannot_be_used_are_refused_with_their_place(values, message):
    with pytest.raises(UserError, match=message):
        parse_labels(values, "labels")


def test_equal_labels_are_one(in_memory):
    mapping = {"a": "a", "b": "b", "leave_out": "rest"}
    assert parse_labels(["a", "b"], "x") == parse_labels(mapping, "")
    assert parse_labels("four", "x") is NAMED["four"]
    assert str(Labels("", (("a", ("a",)), ("b", ("b",))))) == "a, b"
