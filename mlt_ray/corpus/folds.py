"""Who is in train, dev and test: five folds of 3/1/1 parts, and the proof that nothing leaks."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from mlt_ray.corpus.texts import natural_key, text_key
from mlt_ray.corpus.utterance import Corpus, Utterance
from mlt_ray.errors import UserError
from mlt_ray.labels import CLASSES
from mlt_ray.spec import FoldSpec

NUM_FOLDS: Final = 5

_STRATIFIED_SEED: Final = 0


@dataclass(frozen=True)
class Fold:
    """Indices into `Corpus.utterances`, ascending; `number` counts from 1."""

    number: int
    train: tuple[int, ...]
    dev: tuple[int, ...]
    test: tuple[int, ...]

    def parts(self) -> dict[str, tuple[int, ...]]:
        """The three parts by name."""
        return {"train": self.train, "dev": self.dev, "test": self.test}


def make_folds(corpus: Corpus, spec: FoldSpec) -> tuple[Fold, ...]:
    """Five folds: fold i is tested on part i, dev is part i + 1 (the first after the last).

    A part is a session in natural order (``session``), a group of speakers balanced by class
    (``speaker``), or a random share of each class in which exact copies of a recording stay
    together (``stratified``, as Yoon et al. split). With `text_disjoint`, training utterances
    whose text stands in dev or test are dropped; an empty text is no text. Only for ``stratified``
    may a speaker be in several parts. The same corpus and spec give the same folds.

    Raises `UserError` when the corpus does not allow it, when a part is empty, when a class is
    missing in train, or when anything leaks (see `check_leaks`).
    """
    parts = _PARTS[spec.by](corpus)
    folds = []
    for i in range(NUM_FOLDS):
        dev = (i + 1) % NUM_FOLDS
        train = sorted(k for p in range(NUM_FOLDS) if p not in (i, dev) for k in parts[p])
        if spec.text_disjoint:
            train = _without_texts_of(corpus, train, [*parts[dev], *parts[i]])
        fold = Fold(i + 1, tuple(train), tuple(sorted(parts[dev])), tuple(sorted(parts[i])))
        _check_complete(corpus, fold, spec)
        check_leaks(corpus, fold, spec)
        folds.append(fold)
    return tuple(folds)


def check_leaks(corpus: Corpus, fold: Fold, spec: FoldSpec) -> None:
    """Raise `UserError` naming what stands in two parts of a fold.

    Never in two parts: an utterance, the same audio bytes. Nor a speaker (``session``,
    ``speaker``), a session (``session``), a text of train in dev or test (`text_disjoint`).
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


def session_names(corpus: Corpus) -> tuple[str, ...]:
    """The sessions in natural order; utterances without one do not count."""
    return tuple(sorted({u.session for u in corpus.utterances if u.session}, key=natural_key))


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
    """What may not be shared between `part` and a later one, where it is read, and a remedy."""
    apart: list[tuple[str, Callable[[Utterance], str | None], str]] = []
    other = "folds.by: speaker" if spec.by == "session" else "folds.by: session"
    if spec.by == "session":
        apart.append(("session", lambda u: u.session, other))
    if spec.by != "stratified":
        apart.append(("speaker", lambda u: u.speaker, other))
    if spec.text_disjoint and part == "train":
        apart.append(("text", lambda u: text_key(u.text), "folds.text_disjoint: true"))
    return apart


def _check_complete(corpus: Corpus, fold: Fold, spec: FoldSpec) -> None:
    for name, part in fold.parts().items():
        if not part:
            reason = f"{name} is empty with folds.by: {spec.by}"
            raise UserError(f"fold {fold.number}: {reason}; choose another folds.by")
    present = {corpus.utterances[i].emotion for i in fold.train}
    for emotion in CLASSES:
        if emotion not in present:
            remedy = "add utterances of it or choose another folds.by"
            if spec.text_disjoint:
                remedy = "set folds.text_disjoint: false"
            raise UserError(f"fold {fold.number}: train holds no {emotion} utterance; {remedy}")


def _without_texts_of(corpus: Corpus, train: list[int], held_out: list[int]) -> list[int]:
    keys = {text_key(corpus.utterances[i].text) for i in held_out} - {""}
    return [i for i in train if text_key(corpus.utterances[i].text) not in keys]


def _session_parts(corpus: Corpus) -> list[list[int]]:
    sessions = session_names(corpus)
    without = sum(not u.session for u in corpus.utterances)
    if len(sessions) != NUM_FOLDS or without:
        got = f"{len(sessions)} ({without} of {len(corpus)} utterances have none)"
        raise UserError(
            f"corpus {corpus.name}: folds.by: session needs exactly {NUM_FOLDS} sessions, "
            f"got {got}; use --set folds.by=speaker"
        )
    return [[i for i, u in enumerate(corpus.utterances) if u.session == s] for s in sessions]


def _speaker_parts(corpus: Corpus) -> list[list[int]]:
    speakers = [u.speaker for u in corpus.utterances]
    if len(set(speakers)) < NUM_FOLDS:
        raise UserError(
            f"corpus {corpus.name}: folds.by: speaker needs at least {NUM_FOLDS} speakers, "
            f"got {len(set(speakers))}; use --set folds.by=stratified"
        )
    return _balanced_parts(corpus, speakers, seed=None)


def _stratified_parts(corpus: Corpus) -> list[list[int]]:
    return _balanced_parts(corpus, [u.audio_sha256 for u in corpus.utterances], _STRATIFIED_SEED)


def _balanced_parts(corpus: Corpus, groups: list[str], seed: int | None) -> list[list[int]]:
    """Five parts with similar class shares and no group in two; shuffled when a seed is given."""
    # Imported here: scikit-learn takes a second, and session folds do not need it.
    from sklearn.model_selection import StratifiedGroupKFold

    counts = Counter(u.emotion for u in corpus.utterances)
    for emotion in CLASSES:
        if counts[emotion] < NUM_FOLDS:
            raise UserError(
                f"corpus {corpus.name}: {NUM_FOLDS} folds need at least {NUM_FOLDS} utterances "
                f"of each class, got {counts[emotion]} of {emotion}; add some"
            )
    labels = [u.label for u in corpus.utterances]
    split = StratifiedGroupKFold(NUM_FOLDS, shuffle=seed is not None, random_state=seed)
    return [test.tolist() for _, test in split.split(labels, labels, groups)]


_PARTS: Final = {
    "session": _session_parts,
    "speaker": _speaker_parts,
    "stratified": _stratified_parts,
}
