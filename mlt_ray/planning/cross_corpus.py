"""Which utterances of another corpus a trained row is evaluated on, and as which of its classes.

A row knows the names of its classes alone. By default an emotion of the other corpus counts as the
class that it is, or spells. Recordings that the row's runs were trained on do not count.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mlt_ray.corpus.folds import make_folds
from mlt_ray.corpus.labelling import check_labels, select
from mlt_ray.corpus.texts import same_words_key
from mlt_ray.corpus.utterance import Corpus
from mlt_ray.errors import UserError
from mlt_ray.labels import FOUR, NAMED, Labels
from mlt_ray.models.registry import parse_model
from mlt_ray.parsing import unknown_key
from mlt_ray.planning.contents import members_digest
from mlt_ray.spec import FoldSpec
from mlt_ray.storage.record import RowRecord


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The utterances of another corpus that count for a row.

    `corpus` has the row's classes, in its order, also those that none of its utterances has.
    `counted_as`: how many utterances of each class have which of the corpus's own emotions.
    `heard`: utterances that were left out, since runs of the row were trained on their recordings.
    """

    corpus: Corpus
    labels: Labels
    counted_as: Mapping[str, Mapping[str, int]]
    heard: int = 0

    @property
    def absent(self) -> tuple[str, ...]:
        """Classes of the row that no utterance has."""
        present = {u.emotion for u in self.corpus.utterances}
        return tuple(name for name in self.corpus.classes if name not in present)


def classes_of(row: RowRecord) -> tuple[str, ...]:
    """Names of a row's classes, in the order of its runs' outputs."""
    return tuple(row.spec.get("classes", FOUR))


def labels_of(classes: tuple[str, ...]) -> Labels:
    """What counts as these classes where nothing else is said.

    A named set whose classes they are: so excited counts as happy for a row of the classes of
    ``four`` or ``five``, as in training. (A row that was trained without its excited utterances
    has the same names of classes; what it was trained with is not stored.) Else each class counts
    the emotions that it is, or spells, and all others are left out.
    """
    for labels in NAMED.values():
        if labels.classes and {name for name, _ in labels.classes} == set(classes):
            return labels
    return Labels("", tuple((name, (name,)) for name in classes))


def choose(
    row: RowRecord,
    other: Corpus,
    own: Corpus | None,
    labels: Labels | None = None,
    *,
    leaves_out_heard: bool = False,
) -> Chosen:
    """The utterances of the corpus `other`, as it was read, that count for the runs of a row.

    `own` is the corpus of the row's runs (None: not known). `labels` replace those of `labels_of`.
    Raises `UserError` if they make other classes than the row's, if nothing counts, and if runs of
    the row were trained on recordings of `other`, unless it `leaves_out_heard`.
    """
    classes, counted = classes_of(row), labels or labels_of(classes_of(row))
    if labels is not None:
        check_labels(other, labels)
    selected = select(other, counted)
    for name in selected.classes:
        if name not in classes:
            raise unknown_key(f"--labels: row {row.name}", name, classes, "class")
    if not selected.utterances and not any(p.fatal for p in selected.problems):
        has = ", ".join(sorted({u.emotion for u in other.utterances})) or "no utterances"
        raise UserError(
            f"corpus {other.name}: expected utterances of {', '.join(classes)}, of which row "
            f"{row.name} was trained, got {has}; say by --labels what counts as which class"
        )
    heard = {u.audio_sha256 for u in selected.utterances} & _heard(row, own)
    if heard and not leaves_out_heard:
        number = sum(u.audio_sha256 in heard for u in selected.utterances)
        raise UserError(
            f"corpus {other.name}: expected recordings that no run of row {row.name} was trained "
            f"on, got {number} of {len(selected)} that are in train or dev of its folds; name "
            "another corpus, or leave them out with --leave-out-heard"
        )
    kept = tuple(u for u in selected.utterances if u.audio_sha256 not in heard)
    if heard and not kept:
        raise UserError(
            f"corpus {other.name}: runs of row {row.name} were trained on all of its {len(heard)} "
            "recordings that count; name another corpus"
        )
    emotions = {u.id: u.emotion for u in other.utterances}
    pairs = Counter((u.emotion, emotions[u.id]) for u in kept)
    return Chosen(
        corpus=replace(selected, utterances=kept, classes=classes),
        labels=counted,
        counted_as={
            name: {emotion: n for (cls, emotion), n in sorted(pairs.items()) if cls == name}
            for name in classes
        },
        heard=len(selected) - len(kept),
    )


def _heard(row: RowRecord, own: Corpus | None) -> set[str]:
    """Digests of the recordings in train or dev of a row's folds; dev chose the epoch.

    Of all its corpus, if this version would divide it otherwise.
    """
    if own is None:
        return set()
    values: Mapping[str, Any] = row.spec["folds"]
    everything = {u.audio_sha256 for u in own.utterances}
    try:
        folds = make_folds(replace(own, classes=classes_of(row)), FoldSpec(**values))
    except UserError:
        return everything
    if members_digest(folds) != values.get("members"):
        return everything
    asked = {run.fold for run in row.runs}
    places = {i for f in folds if f.number in asked for i in (*f.train, *f.dev)}
    return {own.utterances[i].audio_sha256 for i in places}


def chosen_text(chosen: Chosen) -> str:
    """A line that counts the utterances of each class, by their own emotions, and the others."""
    corpus, classes = chosen.corpus, []
    for name, emotions in chosen.counted_as.items():
        total = sum(emotions.values())
        other = [e for e in emotions if e != name]
        own = f" ({', '.join(f'{e} {n}' for e, n in emotions.items())})" if other else ""
        classes.append(f"{name} {total}{own}")
    line = f"{len(corpus)} utterances of {corpus.name}, fingerprint {corpus.fingerprint}"
    named = f" {chosen.labels.name}" if chosen.labels.name else ""
    line += f"; labels{named}: {', '.join(classes)}"
    if corpus.left_out:
        line += f"; left out: {', '.join(f'{e} {n}' for e, n in corpus.left_out.items())}"
    if chosen.heard:
        line += f"; left out, since runs were trained on them: {chosen.heard}"
    return line


def shared_texts(row: RowRecord, chosen: Chosen, own: Corpus | None) -> int:
    """How many utterances have a text that the row's corpus has too; 0 if it reads no texts."""
    if own is None or not reads_texts(row):
        return 0
    seen = {same_words_key(u.text) for u in own.utterances} - {""}
    return sum(same_words_key(u.text) in seen for u in chosen.corpus.utterances)


def reads_texts(row: RowRecord) -> bool:
    """Whether runs of the row read the texts of utterances; True if that is not known."""
    try:
        model = parse_model(row.spec["model"], row.name)
    except UserError:
        return True  # a model of one's own
    return model.reads_words or model.text_encoder is not None
