"""Splits a corpus into folds of train, dev and test, and checks that nothing leaks."""

import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Final

import numpy as np

from mlt_ray.corpus.texts import in_natural_order, same_words_key
from mlt_ray.corpus.utterance import Corpus, Utterance
from mlt_ray.errors import UserError
from mlt_ray.spec import FoldSpec, FoldUnit

MOST_PLACES: Final = 10_000_000
"""Utterances of all folds together, at most, where each session or speaker is a fold.

They are held in memory, 8 bytes each. MELD by speaker has 4 million.
"""

_STRATIFIED_SEED: Final = 0
_DEV_SEED: Final = 0


@dataclass(frozen=True)
class Fold:
    """The parts train, dev and test: ascending indices into `Corpus.utterances`.

    `number` counts from 1.
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
    """Divide a corpus whose classes are known into folds.

    Its utterances are divided into `spec.number` groups, and each group is the test part of one
    fold. `spec.by` says what a group is:

    - ``session``: a session, or some of them if there are more than groups, balanced by class;
    - ``speaker``: some of the speakers, balanced by class;
    - ``stratified``: a random share of each class, with exact copies of a recording together (as
      Yoon et al. split);
    - ``given``: the test part that comes with the corpus. Its folds are those of the corpus, and
      its dev parts, if it has any, are theirs whatever `spec.dev` is.

    With `spec.number` ``each``, every session or speaker is a group, in natural order. Dev is the
    next group (the first after the last), or a random share of each class of all that is not test,
    with exact copies together. Train is the rest.

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
    changes = {f"folds.by={by}": replace(spec, by=by) for by in _NAME_OF if by != spec.by}
    if spec.by != "stratified" and spec.number == "each":
        random = replace(spec, by="stratified", number=5)
        changes["folds.by=stratified --set folds.number=5"] = random
        changes = {"folds.number=5": replace(spec, number=5), **changes}
    elif spec.by != "stratified":
        changes["folds.by=stratified"] = replace(spec, by="stratified")
    if any(u.parts for u in corpus.utterances):
        changes["folds.by=given"] = replace(spec, by="given")
    if spec.number != "each" and spec.by in _NAME_OF:
        found = len(_names(corpus, spec.by))
        if 2 <= found < spec.number:
            changes = {f"folds.number={found}": replace(spec, number=found), **changes}
    if spec.dev == "next":
        changes["folds.dev=0.2"] = replace(spec, dev=0.2)
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


@functools.lru_cache(maxsize=64)
def _split(corpus: Corpus, spec: FoldSpec) -> tuple[Fold, ...]:
    present = {u.emotion for u in corpus.utterances}
    if absent := [emotion for emotion in corpus.classes if emotion not in present]:
        raise _Indivisible(f"corpus {corpus.name} holds no {' or '.join(absent)} utterance")
    parts = _given_parts(corpus, spec) if spec.by == "given" else _parts_of_groups(corpus, spec)
    folds = []
    for number, (train, dev, test) in enumerate(parts, start=1):
        if spec.text_disjoint:
            train = _without_texts_of(corpus, train, [*dev, *test])
        folds.append(Fold(number, *(tuple(sorted(part)) for part in (train, dev, test))))
    _check_complete(corpus, folds, spec)
    for fold in folds:
        check_leaks(corpus, fold, spec)
    return tuple(folds)


_Parts = tuple[list[int], list[int], list[int]]
"""Indices of train, dev and test."""


def _parts_of_groups(corpus: Corpus, spec: FoldSpec) -> list[_Parts]:
    groups = _groups(corpus, spec)
    return [
        _with_dev(
            corpus,
            spec,
            n,
            [i for other in groups if other is not test for i in other],
            test,
            groups[(n + 1) % len(groups)],
        )
        for n, test in enumerate(groups)
    ]


def _given_parts(corpus: Corpus, spec: FoldSpec) -> list[_Parts]:
    """The parts that come with the corpus; dev as the specification says where none comes."""
    num_folds = len(next((u.parts for u in corpus.utterances if u.parts), ()))
    if not num_folds:
        raise _Indivisible(
            f"corpus {corpus.name}: folds.by: given needs folds that come with the corpus, "
            "found none; add a column split or fold to its manifest"
        )
    held = [
        {
            part: [i for i, u in enumerate(corpus.utterances) if u.parts[n : n + 1] == (part,)]
            for part in ("train", "dev", "test")
        }
        for n in range(num_folds)
    ]
    found = []
    for n, own in enumerate(held):
        if own["dev"]:
            found.append((own["train"], own["dev"], own["test"]))
            continue
        if spec.dev == "next" and num_folds == 1:
            raise _Indivisible(
                f"corpus {corpus.name}: folds.by: given with one fold needs a dev part, and the "
                "corpus has none"
            )
        following = held[(n + 1) % num_folds]["test"]
        found.append(_with_dev(corpus, spec, n, own["train"], own["test"], following))
    return found


def _with_dev(
    corpus: Corpus, spec: FoldSpec, n: int, others: list[int], test: list[int], following: list[int]
) -> _Parts:
    """The parts of fold number `n` from 0, whose dev part is taken out of the `others`."""
    if spec.dev == "next":
        dev = sorted(set(following) & set(others))
    else:
        dev = _random_share(corpus, others, spec.dev, n)
    return sorted(set(others) - set(dev)), dev, test


def _random_share(corpus: Corpus, indices: list[int], share: float, n: int) -> list[int]:
    """A random share of each class among the utterances at `indices`, at least one of each."""
    rng = np.random.default_rng([_DEV_SEED, n])
    copies: dict[str, list[int]] = {}
    of_class: dict[str, list[int]] = {name: [] for name in corpus.classes}
    for i in indices:
        copies.setdefault(corpus.utterances[i].audio_sha256, []).append(i)
        of_class[corpus.utterances[i].emotion].append(i)
    chosen: set[int] = set()
    for own in of_class.values():
        wanted = max(1, round(share * len(own)))
        members = set(own)
        taken = len(chosen & members)
        for i in rng.permutation(own).tolist():
            if taken >= wanted:
                break
            added = set(copies[corpus.utterances[i].audio_sha256]) - chosen
            chosen |= added
            taken += len(added & members)
    return sorted(chosen)


def check_leaks(corpus: Corpus, fold: Fold, spec: FoldSpec) -> None:
    """Raise `UserError` if two parts of a fold share something that they must not share.

    Always forbidden: the same utterance or the same audio bytes. By ``session`` or ``speaker``:
    the same speaker. By ``session``: the same session. A dev part that is a random share may have
    the speakers and sessions of train. With `text_disjoint`: a text of train in dev or test.
    `mlt_ray.corpus.fold_notes.describe` says what that leaves.
    """
    utterances = corpus.utterances
    for (one, first), (other, second) in combinations(fold.parts().items(), 2):
        where = f"is in {one} and {other}"
        for i in sorted(set(first) & set(second)):
            raise UserError(f"fold {fold.number}: utterance {utterances[i].id} {where}")
        _check_audio([utterances[i] for i in first], [utterances[i] for i in second], fold, where)
        for noun, key, remedy in _kept_apart(spec, one, other):
            shared = {key(utterances[i]) for i in first} & {key(utterances[i]) for i in second}
            for name in sorted(n for n in shared if n):
                raise UserError(f"fold {fold.number}: {noun} {name} {where}; set {remedy}")


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
    spec: FoldSpec, part: str, other: str
) -> list[tuple[str, Callable[[Utterance], str | None], str]]:
    """What two parts must not share: a noun, its value, and a remedy."""
    apart: list[tuple[str, Callable[[Utterance], str | None], str]] = []
    remedy = "folds.by: speaker" if spec.by == "session" else "folds.by: session"
    are_groups = spec.by in ("session", "speaker") and (spec.dev == "next" or other == "test")
    if are_groups and spec.by == "session":
        apart.append(("session", lambda u: u.session, remedy))
    if are_groups:
        apart.append(("speaker", lambda u: u.speaker, remedy))
    if spec.text_disjoint and part == "train":
        apart.append(("text", lambda u: same_words_key(u.text), "folds.text_disjoint: true"))
    return apart


def speaker_names(corpus: Corpus) -> tuple[str, ...]:
    """Names of the speakers in natural order."""
    return _names(corpus, "speaker")


def session_names(corpus: Corpus) -> tuple[str, ...]:
    """Names of the sessions in natural order (9 before 10)."""
    return _names(corpus, "session")


def _check_complete(corpus: Corpus, folds: Sequence[Fold], spec: FoldSpec) -> None:
    missing = []
    for fold in folds:
        missing += [
            f"fold {fold.number}: {name} is empty"
            for name, indices in fold.parts().items()
            if not indices
        ]
        present = {corpus.utterances[i].emotion for i in fold.train}
        absent = [emotion for emotion in corpus.classes if emotion not in present]
        if absent and fold.train:
            names = " or ".join(absent)
            missing.append(f"fold {fold.number}: train holds no {names} utterance")
    if missing:
        disjoint = " and folds.text_disjoint" if spec.text_disjoint else ""
        raise _Indivisible(f"{', '.join(missing)} with folds.by: {spec.by}{disjoint}")


def _without_texts_of(corpus: Corpus, train: list[int], held_out: list[int]) -> list[int]:
    keys = {corpus.text_keys[i] for i in held_out} - {""}
    return [i for i in train if corpus.text_keys[i] not in keys]


def _groups(corpus: Corpus, spec: FoldSpec) -> list[list[int]]:
    """The indices of each group, in the order of the folds."""
    if spec.by == "stratified":
        recordings = [u.audio_sha256 for u in corpus.utterances]
        return _balanced_groups(corpus, spec, recordings, "different recordings")
    wholes = [_NAME_OF[spec.by](u) for u in corpus.utterances]
    names = _names(corpus, spec.by)
    without = sum(not name for name in wholes)
    number = len(names) if spec.number == "each" else spec.number
    if without or len(names) < max(2, number):
        lacking = f" ({without} of {len(corpus)} utterances have none)" if without else ""
        raise _Indivisible(
            f"corpus {corpus.name}: folds.by: {spec.by} needs at least {max(2, number)} "
            f"{spec.by}s, got {len(names)}{lacking}"
        )
    if spec.number == "each" and len(names) * len(corpus) > MOST_PLACES:
        raise _Indivisible(
            f"corpus {corpus.name}: folds.number: each would make {len(names)} folds of "
            f"{len(corpus)} utterances, expected at most {MOST_PLACES // len(corpus)} folds"
        )
    is_whole = spec.number == "each" or (spec.by == "session" and len(names) == number)
    if is_whole:
        return [[i for i, whole in enumerate(wholes) if whole == name] for name in names]
    return _balanced_groups(corpus, spec, [name or "" for name in wholes], f"{spec.by}s")


def _balanced_groups(
    corpus: Corpus, spec: FoldSpec, together: list[str], noun: str
) -> list[list[int]]:
    """Groups with similar class shares; shuffled if stratified.

    Utterances with the same value in `together` come into the same group.
    """
    # Imported here: importing scikit-learn takes a second, and session folds do not need it.
    from sklearn.model_selection import StratifiedGroupKFold

    assert spec.number != "each"
    if len(set(together)) < spec.number:
        raise _Indivisible(
            f"corpus {corpus.name}: folds.by: {spec.by} needs at least {spec.number} {noun}, "
            f"got {len(set(together))}"
        )
    counts = Counter(u.emotion for u in corpus.utterances)
    few = [f"{counts[name]} of {name}" for name in corpus.classes if counts[name] < spec.number]
    if few:
        raise _Indivisible(
            f"corpus {corpus.name}: folds.by: {spec.by} needs at least {spec.number} utterances "
            f"of each class, got {', '.join(few)}"
        )
    is_random = spec.by == "stratified"
    split = StratifiedGroupKFold(
        spec.number, shuffle=is_random, random_state=_STRATIFIED_SEED if is_random else None
    )
    return [test.tolist() for _, test in split.split(corpus.labels, corpus.labels, together)]


_NAME_OF: Final[Mapping[FoldUnit, Callable[[Utterance], str | None]]] = {
    "session": lambda u: u.session,
    "speaker": lambda u: u.speaker,
}


def _names(corpus: Corpus, by: FoldUnit) -> tuple[str, ...]:
    """The names of all sessions, or of all speakers, in natural order (9 before 10)."""
    return in_natural_order({name for u in corpus.utterances if (name := _NAME_OF[by](u))})
