"""Splits a corpus into train, dev and test of five folds, and checks that nothing leaks."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Final, get_args, get_type_hints

from mlt_ray.corpus.speakers import alike_text
from mlt_ray.corpus.texts import natural_key, same_words_key
from mlt_ray.corpus.utterance import Corpus, Utterance
from mlt_ray.errors import UserError
from mlt_ray.labels import FOUR
from mlt_ray.spec import FoldSpec

NUM_FOLDS: Final = 5

PROTOCOLS: Final = get_args(get_type_hints(FoldSpec)["by"])
"""The values of `FoldSpec.by`."""

_STRATIFIED_SEED: Final = 0


@dataclass(frozen=True)
class Fold:
    """The parts train, dev and test: ascending indices into `Corpus.utterances`.

    `number` is 1 to 5.
    """

    number: int
    train: tuple[int, ...]
    dev: tuple[int, ...]
    test: tuple[int, ...]

    def parts(self) -> dict[str, tuple[int, ...]]:
        """``train``, ``dev`` and ``test`` by name."""
        return {"train": self.train, "dev": self.dev, "test": self.test}


class _Indivisible(UserError):
    """A corpus cannot be split as asked. The text says what is missing, without a remedy."""


def make_folds(corpus: Corpus, spec: FoldSpec) -> tuple[Fold, ...]:
    """Split the corpus into five groups and make five folds of them.

    In fold i, test is group i, dev is group i + 1 (group 1 after group 5), and train is the other
    three. `spec.by` says what a group is:

    - ``session``: a session, in natural order;
    - ``speaker``: some of the speakers, balanced by class;
    - ``stratified``: a random fifth of each class, with exact copies of a recording together (as
      Yoon et al. split). Only here may a speaker be in several parts.

    With `text_disjoint`, train loses the utterances with a text that dev or test has too; empty
    texts do not count. The same corpus and spec give the same folds.

    Raises `UserError` if the corpus cannot be split so, if a part is empty, if train lacks a
    class, or if anything leaks (see `check_leaks`).
    """
    try:
        return _split(corpus, spec)
    except _Indivisible as error:
        raise UserError(f"{error}; {_remedy(corpus, spec)}") from None


def try_folds(corpus: Corpus, spec: FoldSpec) -> tuple[Fold, ...] | str:
    """The folds of `make_folds`, or why it refuses, without what else would be possible."""
    try:
        return _split(corpus, spec)
    except UserError as error:
        return str(error)


def _remedy(corpus: Corpus, spec: FoldSpec) -> str:
    """The settings under which the corpus can be split, one change away from `spec`."""
    changes = {f"folds.by={by}": replace(spec, by=by) for by in PROTOCOLS if by != spec.by}
    if spec.text_disjoint:
        changes = {"folds.text_disjoint=false": replace(spec, text_disjoint=False), **changes}
    possible = [
        f"--set {change}"
        for change, other in changes.items()
        if not isinstance(try_folds(corpus, other), str)
    ]
    if not possible:
        return "no other folds.by is possible either; add utterances"
    return f"use {' or '.join(possible)}"


def _split(corpus: Corpus, spec: FoldSpec) -> tuple[Fold, ...]:
    present = {u.emotion for u in corpus.utterances}
    if absent := [emotion for emotion in FOUR if emotion not in present]:
        raise _Indivisible(f"corpus {corpus.name} holds no {' or '.join(absent)} utterance")
    groups = _GROUPED_BY[spec.by](corpus)
    folds = []
    for i in range(NUM_FOLDS):
        dev = (i + 1) % NUM_FOLDS
        train = sorted(k for g in range(NUM_FOLDS) if g not in (i, dev) for k in groups[g])
        if spec.text_disjoint:
            train = _without_texts_of(corpus, train, [*groups[dev], *groups[i]])
        folds.append(
            Fold(i + 1, tuple(train), tuple(sorted(groups[dev])), tuple(sorted(groups[i])))
        )
    _check_complete(corpus, folds, spec)
    for fold in folds:
        check_leaks(corpus, fold, spec)
    return tuple(folds)


def check_leaks(corpus: Corpus, fold: Fold, spec: FoldSpec) -> None:
    """Raise `UserError` if two parts of a fold share something that they must not share.

    Always forbidden: the same utterance or the same audio bytes. By ``session`` or ``speaker``:
    the same speaker. By ``session``: the same session. With `text_disjoint`: a text of train in
    dev or test.
    """
    utterances = corpus.utterances
    for (one, first), (other, second) in combinations(fold.parts().items(), 2):
        where = f"is in {one} and {other}"
        for i in sorted(set(first) & set(second)):
            raise UserError(f"fold {fold.number}: utterance {utterances[i].id} {where}")
        _check_audio([utterances[i] for i in first], [utterances[i] for i in second], fold, where)
        for noun, key, remedy in _kept_apart(spec, one):
            shared = {key(utterances[i]) for i in first} & {key(utterances[i]) for i in second}
            for name in sorted(n for n in shared if n):
                raise UserError(f"fold {fold.number}: {noun} {name} {where}; set {remedy}")


def gaps(corpus: Corpus, folds: Sequence[Fold]) -> tuple[str, ...]:
    """Where dev or test of a fold holds no utterance of a class (`gap_text`); train has them all.

    UA of such a part is the mean over the other classes, and no longer that of four.
    """
    found = []
    for fold in folds:
        for part, indices in (("test", fold.test), ("dev", fold.dev)):
            present = {corpus.utterances[i].emotion for i in indices}
            found += [gap_text(name, part, fold.number) for name in FOUR if name not in present]
    return tuple(found)


def gap_text(emotion: str, part: str, fold: int) -> str:
    """Says that a part of a fold holds no utterance of a class."""
    return f"no {emotion} in {part} of fold {fold}"


def fold_notes(corpus: Corpus, specs: Iterable[FoldSpec]) -> tuple[str, ...]:
    """What makes the scores of such folds less than they seem, a line each; empty as a rule.

    These are `gaps`, and speakers who may be one (`alike_speakers`) where folds keep speakers
    apart. Raises `UserError` as `make_folds` does.
    """
    specs = list(specs)
    notes = []
    for spec in specs:
        found = gaps(corpus, make_folds(corpus, spec))
        if found:
            what = "UA there is the mean over the other classes"
            notes.append(f"folds by {spec.by}: {', '.join(found)}; {what}")
    if any(spec.by != "stratified" for spec in specs):
        notes.append(alike_text(corpus))
    return tuple(dict.fromkeys(filter(None, notes)))


def session_names(corpus: Corpus) -> tuple[str, ...]:
    """Names of the sessions in natural order (9 before 10)."""
    names = {u.session for u in corpus.utterances if u.session}
    # 1 and 01 have one natural key; without the second, chance would order them.
    return tuple(sorted(names, key=lambda name: (natural_key(name), name)))


def _check_audio(
    first: Sequence[Utterance], second: Sequence[Utterance], fold: Fold, where: str
) -> None:
    ids = {u.audio_sha256: u.id for u in first}
    for u in second:
        if u.audio_sha256 in ids:
            pair = f"{ids[u.audio_sha256]} and {u.id}"
            remedy = "remove one of the two from the corpus"
            raise UserError(f"fold {fold.number}: the audio of {pair} {where}; {remedy}")


def _kept_apart(
    spec: FoldSpec, part: str
) -> list[tuple[str, Callable[[Utterance], str | None], str]]:
    """What `part` must not share with the parts after it: a noun, its value, and a remedy."""
    apart: list[tuple[str, Callable[[Utterance], str | None], str]] = []
    other = "folds.by: speaker" if spec.by == "session" else "folds.by: session"
    if spec.by == "session":
        apart.append(("session", lambda u: u.session, other))
    if spec.by != "stratified":
        apart.append(("speaker", lambda u: u.speaker, other))
    if spec.text_disjoint and part == "train":
        apart.append(("text", lambda u: same_words_key(u.text), "folds.text_disjoint: true"))
    return apart


def _check_complete(corpus: Corpus, folds: Sequence[Fold], spec: FoldSpec) -> None:
    missing = []
    for fold in folds:
        missing += [
            f"fold {fold.number}: {name} is empty"
            for name, indices in fold.parts().items()
            if not indices
        ]
        present = {corpus.utterances[i].emotion for i in fold.train}
        absent = [emotion for emotion in FOUR if emotion not in present]
        if absent and fold.train:
            names = " or ".join(absent)
            missing.append(f"fold {fold.number}: train holds no {names} utterance")
    if missing:
        disjoint = " and folds.text_disjoint" if spec.text_disjoint else ""
        raise _Indivisible(f"{', '.join(missing)} with folds.by: {spec.by}{disjoint}")


def _without_texts_of(corpus: Corpus, train: list[int], held_out: list[int]) -> list[int]:
    keys = {same_words_key(corpus.utterances[i].text) for i in held_out} - {""}
    return [i for i in train if same_words_key(corpus.utterances[i].text) not in keys]


def _session_groups(corpus: Corpus) -> list[list[int]]:
    sessions = session_names(corpus)
    without = sum(not u.session for u in corpus.utterances)
    if len(sessions) != NUM_FOLDS or without:
        raise _Indivisible(
            f"corpus {corpus.name}: folds.by: session needs exactly {NUM_FOLDS} sessions, "
            f"got {len(sessions)} ({without} of {len(corpus)} utterances have none)"
        )
    return [[i for i, u in enumerate(corpus.utterances) if u.session == s] for s in sessions]


def _speaker_groups(corpus: Corpus) -> list[list[int]]:
    return _balanced_groups(corpus, "speaker", [u.speaker for u in corpus.utterances])


def _stratified_groups(corpus: Corpus) -> list[list[int]]:
    recordings = [u.audio_sha256 for u in corpus.utterances]
    return _balanced_groups(corpus, "stratified", recordings, _STRATIFIED_SEED)


_KEPT_TOGETHER: Final = {"speaker": "speakers", "stratified": "different recordings"}
"""What some ways to divide keep in one group."""


def _balanced_groups(
    corpus: Corpus, by: str, together: list[str], seed: int | None = None
) -> list[list[int]]:
    """Five groups with similar class shares; shuffled if a seed is given.

    Utterances with the same value in `together` come into the same group.
    """
    # Imported here: importing scikit-learn takes a second, and session folds do not need it.
    from sklearn.model_selection import StratifiedGroupKFold

    num_wholes = len(set(together))
    if num_wholes < NUM_FOLDS:
        raise _Indivisible(
            f"corpus {corpus.name}: folds.by: {by} needs at least {NUM_FOLDS} "
            f"{_KEPT_TOGETHER[by]}, got {num_wholes}"
        )
    counts = Counter(u.emotion for u in corpus.utterances)
    few = [f"{counts[name]} of {name}" for name in FOUR if counts[name] < NUM_FOLDS]
    if few:
        raise _Indivisible(
            f"corpus {corpus.name}: folds.by: {by} needs at least {NUM_FOLDS} utterances of each "
            f"class, got {', '.join(few)}"
        )
    labels = [u.label for u in corpus.utterances]
    split = StratifiedGroupKFold(NUM_FOLDS, shuffle=seed is not None, random_state=seed)
    return [test.tolist() for _, test in split.split(labels, labels, together)]


_GROUPED_BY: Final = {
    "session": _session_groups,
    "speaker": _speaker_groups,
    "stratified": _stratified_groups,
}
