"""What readers of scores must know about the folds: what they are, and what makes scores easier."""

from collections.abc import Iterable, Sequence
from typing import Final

from mlt_ray.corpus.folds import Fold, make_folds, try_folds
from mlt_ray.corpus.speakers import alike_text
from mlt_ray.corpus.utterance import Corpus
from mlt_ray.spec import FoldSpec

BY_SPEAKER: Final = (
    "each speaker's features standardised by that speaker's own recordings, without labels"
)

MOST_GAPS: Final = 6
"""So many classes that parts lack are named in a line; the others are counted."""


def describe(spec: FoldSpec, standardise: str = "train") -> str:
    """The folds of a specification that planning has filled in: ``5 folds by session, 3/1/1``.

    Also what parts may share, as far as that makes scores easier, and over what features are
    standardised (`mlt_ray.spec.FeatureSpec`) if not over train.
    """
    if standardise == "speaker":
        return f"{describe(spec)}, {BY_SPEAKER}"
    count = "1 fold" if spec.num_folds == 1 else f"{spec.num_folds} folds"
    text = f"{count} {_WAYS[spec.by]}"
    share = "" if spec.dev == "next" else f"a random {spec.dev:.0%} of what is not test"
    if spec.by == "given":
        text += f", dev as given, else {share or 'the test part of the next fold'}"
    else:
        text += f", dev is {share}" if share else f", {spec.num_folds - 2}/1/1"
    if spec.text_disjoint:
        text += ", no text of dev or test in train"
    if spec.by in ("stratified", "given"):
        return f"{text} (parts may share speakers)"
    return f"{text} (dev may share speakers with train)" if share else text


_WAYS: Final = {
    "session": "by session",
    "speaker": "by speaker",
    "stratified": "at random, stratified by class",
    "given": "as given",
}


def sizes_text(folds: Sequence[Fold]) -> str:
    """Utterances of each part of a fold, such as ``train 84–112, dev 28, test 28–56``."""
    found = {
        part: sorted({len(fold.parts()[part]) for fold in folds})
        for part in ("train", "dev", "test")
    }
    return ", ".join(
        f"{part} {sizes[0]}" if len(sizes) == 1 else f"{part} {sizes[0]}–{sizes[-1]}"
        for part, sizes in found.items()
    )


def shared_text(corpus: Corpus, folds: Sequence[Fold]) -> str:
    """Says of how many test utterances train has the text, or the speaker; empty if of none.

    Acted corpora have speakers say the same few sentences. Empty texts and speakers do not count.
    """
    shares = {
        noun: _share_in_train(folds, keys)
        for noun, keys in (
            ("text", corpus.text_keys),
            ("speaker", [u.speaker for u in corpus.utterances]),
        )
    }
    said = [f"the {noun} of {max(share, 0.001):.1%}" for noun, share in shares.items() if share]
    return f"train has {' and '.join(said)} of the test utterances" if said else ""


def _share_in_train(folds: Sequence[Fold], keys: Sequence[str]) -> float:
    """Share in 0–1 of the test utterances, of all folds, whose key train has too."""
    shared = tested = 0
    for fold in folds:
        seen = {keys[i] for i in fold.train} - {""}
        shared += sum(keys[i] in seen for i in fold.test)
        tested += len(fold.test)
    return shared / tested if tested else 0.0


def easier_text(ways: Sequence[tuple[Corpus, FoldSpec]]) -> tuple[str, ...]:
    """Lines on what makes scores on such folds easier than they seem; empty as a rule.

    These are `shared_text`, and speakers who may be one (`alike_speakers`) where folds keep
    speakers apart. With several ways, a line says which it is about.
    """
    notes: list[str] = []
    for corpus, spec in ways:
        folds = try_folds(corpus, spec)
        shared = "" if isinstance(folds, str) else shared_text(corpus, folds)
        notes.append(f"{describe(spec)}: {shared}" if shared and len(ways) > 1 else shared)
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


def first_gaps(found: Sequence[str]) -> str:
    """The first `MOST_GAPS` gaps, and how many more there are."""
    more = f" and {len(found) - MOST_GAPS} more" if len(found) > MOST_GAPS else ""
    return ", ".join(found[:MOST_GAPS]) + more


def fold_notes(ways: Iterable[tuple[Corpus, FoldSpec]]) -> tuple[str, ...]:
    """What makes the scores of such folds less than they seem, a line each; empty as a rule.

    These are `gaps`, and what `easier_text` says. Raises `UserError` as `make_folds` does.
    """
    ways = tuple(ways)
    notes = []
    for corpus, spec in ways:
        if found := gaps(corpus, make_folds(corpus, spec)):
            what = "UA there is the mean over the other classes"
            notes.append(f"{describe(spec)}: {first_gaps(found)}; {what}")
    return (*notes, *easier_text(ways))
