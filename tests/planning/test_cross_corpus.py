"""What of another corpus counts for a trained row, and what its runs have heard before."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlt_ray.corpus.folds import make_folds
from mlt_ray.corpus.utterance import Corpus, Utterance
from mlt_ray.errors import UserError
from mlt_ray.labels import FOUR, NAMED, Labels
from mlt_ray.models.registry import parse_model
from mlt_ray.planning.contents import members_digest
from mlt_ray.planning.cross_corpus import (
    choose,
    chosen_text,
    labels_of,
    reads_texts,
    shared_texts,
)
from mlt_ray.spec import FoldSpec, RunSpec
from mlt_ray.storage.record import RowRecord, RunRecord
from mlt_ray.studies.labels import parse_labels


def spoken(name: str, emotion: str, speaker: str = "s", sha: str = "", text: str = "") -> Utterance:
    return Utterance(
        id=name,
        audio=Path(f"{name}.wav"),
        text=text or f"text of {name}",
        emotion=emotion,
        speaker=speaker,
        duration_s=1.0,
        audio_sha256=sha or f"sha of {name}",
    )


def corpus(*emotions: str, name: str = "other") -> Corpus:
    utterances = (spoken(f"{name}{n:02}", emotion) for n, emotion in enumerate(emotions))
    return Corpus(name=name, utterances=tuple(utterances))


def own_corpus(classes: tuple[str, ...] = FOUR) -> Corpus:
    """Five speakers who each say every class once."""
    utterances = [
        spoken(f"own {speaker} {emotion}", emotion, f"speaker {speaker}")
        for speaker in range(5)
        for emotion in classes
    ]
    return Corpus(name="own", classes=classes, utterances=tuple(utterances))


def row(
    classes: tuple[str, ...] = FOUR, model: dict[str, Any] | None = None, folds: Iterable[int] = ()
) -> RowRecord:
    own, by_speaker = own_corpus(classes), FoldSpec(by="speaker")
    found = make_folds(own, by_speaker)
    spec = RunSpec(
        corpus=own.fingerprint,
        model=parse_model(model or {"system": "multilevel"}, "model"),
        folds=replace(by_speaker, members=members_digest(found)),
        classes=classes,
    )
    asked = folds or (1, 2, 3, 4, 5)
    runs = (RunRecord(digest=f"{fold:016}", fold=fold, seed=1) for fold in asked)
    return RowRecord(name="row", spec=spec.as_dict(), runs=tuple(runs))


def counted(classes: tuple[str, ...], other: Corpus) -> dict[str, str]:
    chosen = choose(row(classes), other, None)
    return {u.id: u.emotion for u in chosen.corpus.utterances}


@pytest.mark.parametrize("name", ["four", "five", "six"])
def test_the_classes_of_a_named_set_count_what_the_set_counts(name: str) -> None:
    classes = tuple(cls for cls, _ in NAMED[name].classes)
    assert labels_of(classes) is labels_of(classes[::-1]) is NAMED[name]


def test_excited_counts_as_happy_but_for_a_row_that_has_it_as_a_class() -> None:
    other = corpus("excited", "joy", "Neutral")
    four = counted(FOUR, other)
    assert list(four.values()) == ["happy", "happy", "neutral"]
    six = tuple(cls for cls, _ in NAMED["six"].classes)
    assert list(counted(six, other).values()) == ["excited", "happy", "neutral"]


def test_other_classes_count_what_they_are_or_spell_and_the_rest_is_counted_out() -> None:
    other = corpus("BOREDOM", "calm", "fear", "fear", "drunk")
    chosen = choose(row(("calm", "bored", "drunk")), other, None)
    assert [u.emotion for u in chosen.corpus.utterances] == ["bored", "calm", "drunk"]
    assert chosen.corpus.left_out == {"fear": 2}
    assert chosen.corpus.classes == ("calm", "bored", "drunk")
    assert chosen.corpus.labels == (1, 0, 2)  # places in the row's own order
    assert "bored 1 (BOREDOM 1), drunk 1; left out: fear 2" in chosen_text(chosen)


def test_classes_that_the_corpus_lacks_stay_classes() -> None:
    chosen = choose(row(), corpus("sad", "angry"), None)
    assert chosen.corpus.classes == FOUR
    assert chosen.absent == ("happy", "neutral")


def test_labels_that_are_asked_for_replace_the_usual_ones() -> None:
    labels = parse_labels({"happy": "amused", "sad": ["tired"], "leave_out": "rest"}, "--labels")
    chosen = choose(row(), corpus("amused", "tired", "angry"), None, labels)
    assert [u.emotion for u in chosen.corpus.utterances] == ["happy", "sad"]
    assert chosen.corpus.left_out == {"angry": 1}


@pytest.mark.parametrize(
    ("labels", "emotions", "told"),
    [
        (None, ("calm", "bored"), "expected utterances of angry, happy, neutral, sad, .*got bored"),
        (
            parse_labels({"hapy": "joy", "sad": "sad"}, ""),
            ("joy", "sad"),
            "--labels: row row: unknown class hapy; did you mean happy?",
        ),
        (NAMED["all"], ("joy", "sad"), "--labels: row row: unknown class joy"),
        (parse_labels({"happy": "joy", "sad": "sad"}, ""), ("joy", "calm"), "neither; add it"),
    ],
)
def test_what_cannot_count_is_told(
    labels: Labels | None, emotions: tuple[str, ...], told: str
) -> None:
    with pytest.raises(UserError, match=told):
        choose(row(), corpus(*emotions), None, labels)


def test_the_row_s_own_corpus_is_refused() -> None:
    with pytest.raises(UserError, match="got 20 of 20 that are in train or dev of its folds"):
        choose(row(), own_corpus(), own_corpus())
    with pytest.raises(UserError, match="trained on all of its 20 recordings"):
        choose(row(), own_corpus(), own_corpus(), leaves_out_heard=True)


def test_recordings_of_train_and_dev_are_heard_under_any_name() -> None:
    own = own_corpus()
    other = Corpus(
        name="other",
        utterances=(
            spoken("a", "sad", sha=own.utterances[7].audio_sha256),
            spoken("b", "angry"),
            spoken("c", "frustrated", sha=own.utterances[0].audio_sha256),  # does not count
        ),
    )
    with pytest.raises(UserError, match=r"got 1 of 2 .* or leave them out with --leave-out-heard"):
        choose(row(), other, own)
    chosen = choose(row(), other, own, leaves_out_heard=True)
    assert [u.id for u in chosen.corpus.utterances] == ["b"]
    assert chosen.heard == 1
    assert chosen_text(chosen).endswith("left out, since runs were trained on them: 1")


def test_what_was_in_test_alone_has_not_been_heard() -> None:
    own = own_corpus()
    [first, *_] = make_folds(own, FoldSpec(by="speaker"))
    tested = Corpus(name="other", utterances=tuple(own.utterances[i] for i in first.test))
    assert len(choose(row(folds=[1]), tested, own).corpus) == len(first.test)
    with pytest.raises(UserError, match="got 4 of 4"):
        choose(row(folds=[1, 2]), tested, own)


def test_all_of_the_corpus_was_heard_if_this_version_would_divide_it_otherwise() -> None:
    own = own_corpus()
    [first, *_] = make_folds(own, FoldSpec(by="speaker"))
    tested = Corpus(name="other", utterances=tuple(own.utterances[i] for i in first.test))
    one = row(folds=[1])
    changed = replace(one, spec={**one.spec, "folds": {**one.spec["folds"], "members": "0" * 16}})
    with pytest.raises(UserError, match="got 4 of 4"):
        choose(changed, tested, own)


def test_texts_that_the_row_was_trained_on_are_counted_if_it_reads_any() -> None:
    own = own_corpus()
    other = Corpus(
        name="other",
        utterances=(
            spoken("a", "sad", text=own.utterances[0].text.upper() + "!"),
            spoken("b", "sad"),
        ),
    )
    heard = {"system": "multilevel", "inputs": "audio"}
    for model, number in ((None, 1), (heard, 0)):
        one = row(model=model)
        assert reads_texts(one) == bool(number)
        assert shared_texts(one, choose(one, other, own), own) == number
