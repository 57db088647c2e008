"""What readers of scores must know about the folds: what they are, and what makes scores easier."""

from collections.abc import Iterable, Sequence
from typing import Final

from mlt_ray.corpus.folds import Fold, make_folds, try_folds
from mlt_ray.corpus.speakers import alike_text
from mlt_ray.corpus.texts import same_words_key
from mlt_ray.corpus.utterance import Corpus
from mlt_ray.spec import FoldSpec


def describe(spec: FoldSpec) -> str:
    """The folds of a specification that planning has filled in: ``5 folds by session, 3/1/1``.

    Also what parts may share, as far as that makes scores easier.
    """
    count = "1 fold" if spec.num_folds == 1 else f"{spec.num_folds} folds"
    text = f"{count} {_WAYS[spec.by]}"
    if spec.dev != "next":
        text += f", dev is a random {spec.dev:.0%} of what is not test"
    elif spec.by != "given":
        text += f", {spec.num_folds - 2}/1/1"
    if spec.text_disjoint:
        text += ", no text of dev or test in train"
    if spec.by in ("stratified", "given"):
        return f"{text} (parts may share speakers)"
    return text if spec.dev == "next" else f"{text} (dev may share speakers with train)"


_WAYS: Final = {
    "session": "by session",
    "speaker": "by speaker",
    "stratified": "at random, stratified by class",
    "given": "as given",
}


def shared_texts(corpus: Corpus, folds: Sequence[Fold]) -> float:
    """Share in 0–1 of the test utterances, of all folds, whose text train has too; empty ones not.

    Acted corpora have speakers say the same few sentences.
    """
    keys = [same_words_key(u.text) for u in corpus.utterances]
    shared = tested = 0
    for fold in folds:
        seen = {keys[i] for i in fold.train} - {""}
        shared += sum(keys[i] in seen for i in fold.test)
        tested += len(fold.test)
    return shared / tested if tested else 0.0


def shared_texts_text(corpus: Corpus, folds: Sequence[Fold], spec: FoldSpec) -> str:
    """Says how many test utterances have a text that train has too; empty if none do."""
    share = shared_texts(corpus, folds)
    if not share:
        return ""
    return f"{describe(spec)}: train has the text of {max(share, 0.001):.1%} of test utterances"


def easier_text(ways: Iterable[tuple[Corpus, FoldSpec]]) -> tuple[str, ...]:
    """Lines on what makes scores on such folds easier than they seem; empty as a rule.

    These are texts of test that train has too, and speakers who may be one (`alike_speakers`) where
    folds keep speakers apart.
    """
    notes: list[str] = []
    for corpus, spec in ways:
        folds = try_folds(corpus, spec)
        if not isinstance(folds, str):
            notes.append(shared_texts_text(corpus, folds, spec))
        if spec.by in ("session", "speaker"):
            notes.append(alike_text(corpus))
    return tuple(dict.fromkeys(filter(None, notes)))


def gaps(corpus: Corpus, folds: Sequence[Fold]) -> tuple[str, ...]:
    """Where dev or test of a fold holds no utterance of a class (`gap_text`); train has them all.

    UA of such a part is the mean over the other classes.
    """
    found = []
    for fold in folds:
        for part, indices in (("test", fold.test), ("dev", fold.dev)):
            present = {corpus.utterances[i].emotion for i in indices}
            found += [
                gap_text(name, part, fold.number) for name in corpus.classes if name not in present
            ]
    return tuple(found)


def gap_text(emotion: str, part: str, fold: int) -> str:
    """Says that a part of a fold holds no utterance of a class."""
    return f"no {emotion} in {part} of fold {fold}"


def fold_notes(ways: Iterable[tuple[Corpus, FoldSpec]]) -> tuple[str, ...]:
    """What makes the scores of such folds less than they seem, a line each; empty as a rule.

    These are `gaps`, and what `easier_text` says. Raises `UserError` as `make_folds` does.
    """
    ways = tuple(ways)
    notes = []
    for corpus, spec in ways:
        if found := gaps(corpus, make_folds(corpus, spec)):
            what = "UA there is the mean over the other classes"
            notes.append(f"{describe(spec)}: {', '.join(found)}; {what}")
    return (*notes, *easier_text(ways))
