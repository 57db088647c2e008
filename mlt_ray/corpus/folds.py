"""Splits a corpus into train, dev and test of five folds, and checks that nothing leaks."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from mlt_ray.corpus.speakers import alike_text
from mlt_ray.corpus.texts import natural_key, same_words_key
from mlt_ray.corpus.utterance import Corpus, Utterance
from mlt_ray.errors import UserError
from mlt_ray.labels import CLASSES
from mlt_ray.spec import FoldSpec

NUM_FOLDS: Final = 5

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
    groups = _GROUPED_BY[spec.by](corpus)
    folds = []
    for i in range(NUM_FOLDS):
        dev = (i + 1) % NUM_FOLDS
        train = sorted(k for g in range(NUM_FOLDS) if g not in (i, dev) for k in groups[g])
        if spec.text_disjoint:
            train = _without_texts_of(corpus, train, [*groups[dev], *groups[i]])
        fold = Fold(i + 1, tuple(train), tuple(sorted(groups[dev])), tuple(sorted(groups[i])))
        _check_complete(corpus, fold, spec)
        check_leaks(corpus, fold, spec)
        folds.append(fold)
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
            found += [gap_text(name, part, fold.number) for name in CLASSES if name not in present]
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


def _check_complete(corpus: Corpus, fold: Fold, spec: FoldSpec) -> None:
    for name, indices in fold.parts().items():
        if not indices:
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
    keys = {same_words_key(corpus.utterances[i].text) for i in held_out} - {""}
    return [i for i in train if same_words_key(corpus.utterances[i].text) not in keys]


def _session_groups(corpus: Corpus) -> list[list[int]]:
    sessions = session_names(corpus)
    without = sum(not u.session for u in corpus.utterances)
    num_speakers = len({u.speaker for u in corpus.utterances})
    other = "speaker" if num_speakers >= NUM_FOLDS else "stratified"
    if len(sessions) != NUM_FOLDS or without:
        got = f"{len(sessions)} ({without} of {len(corpus)} utterances have none)"
        raise UserError(
            f"corpus {corpus.name}: folds.by: session needs exactly {NUM_FOLDS} sessions, "
            f"got {got}; use --set folds.by={other}"
        )
    return [[i for i, u in enumerate(corpus.utterances) if u.session == s] for s in sessions]


def _speaker_groups(corpus: Corpus) -> list[list[int]]:
    speakers = [u.speaker for u in corpus.utterances]
    if len(set(speakers)) < NUM_FOLDS:
        raise UserError(
            f"corpus {corpus.name}: folds.by: speaker needs at least {NUM_FOLDS} speakers, "
            f"got {len(set(speakers))}; use --set folds.by=stratified"
        )
    return _balanced_groups(corpus, speakers, seed=None)


def _stratified_groups(corpus: Corpus) -> list[list[int]]:
    return _balanced_groups(corpus, [u.audio_sha256 for u in corpus.utterances], _STRATIFIED_SEED)


def _balanced_groups(corpus: Corpus, together: list[str], seed: int | None) -> list[list[int]]:
    """Five groups with similar class shares; shuffled if a seed is given.

    Utterances with the same value in `together` come into the same group.
    """
    # Imported here: importing scikit-learn takes a second, and session folds do not need it.
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
    return [test.tolist() for _, test in split.split(labels, labels, together)]


_GROUPED_BY: Final = {
    "session": _session_groups,
    "speaker": _speaker_groups,
    "stratified": _stratified_groups,
}
