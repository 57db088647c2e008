"""Names what a study leaves open: folds, word vectors, phonemizer and encoders, by content.

Libraries that compute numbers are named by version.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import compress
from pathlib import Path
from typing import Any

from mlt_ray.corpus.folds import Fold, make_folds
from mlt_ray.corpus.labelling import select
from mlt_ray.corpus.utterance import Corpus
from mlt_ray.encoders.catalogue import SPEECH
from mlt_ray.encoders.folder import Encoders
from mlt_ray.errors import UserError
from mlt_ray.features.extract import frames_kind
from mlt_ray.features.fitted import check_speakers
from mlt_ray.features.phonemes import phonemizer_of
from mlt_ray.features.pronunciation import Phonemizer
from mlt_ray.features.vectors import WordVectors, load_vectors
from mlt_ray.libraries import (
    ADAPTED,
    ALWAYS,
    CLASSICAL,
    EXTRAS,
    FINE_TUNED,
    NETWORK,
    computing,
    installed,
    require,
)
from mlt_ray.models.registry import is_network
from mlt_ray.planning.layers import check_layers
from mlt_ray.spec import FeatureSpec, FoldSpec, TrainingSpec, digest_of
from mlt_ray.storage.store import Store
from mlt_ray.studies.study import Row, Study


@dataclass(frozen=True)
class Pretrained:
    """What computes features of texts and recordings; a RunSpec has their ``name@digest``.

    `phonemizer_of` a language.
    """

    vectors: WordVectors
    phonemizer_of: Callable[[str], Phonemizer]
    encoders: Encoders = field(default_factory=Encoders)
    speech_encoders: Encoders = field(default_factory=lambda: Encoders(modality=SPEECH))
    glove: Path | None = None

    @classmethod
    def load(
        cls,
        glove: Path | None,
        encoder: str | None = None,
        speech_encoder: str | None = None,
        store: Store | None = None,
    ) -> "Pretrained":
        """Open the packaged GloVe vectors, or those in the file `glove`.

        `encoder` and `speech_encoder`, if given, replace every encoder of text and of speech that
        a study names. Encoders that the `store` has are not tried again. Raises `UserError` for a
        file that holds no word vectors.
        """
        return cls(
            vectors=load_vectors(glove),
            phonemizer_of=phonemizer_of,
            encoders=Encoders(encoder, store=store),
            speech_encoders=Encoders(speech_encoder, SPEECH, store),
            glove=glove,
        )

    def changes(self, row: Row) -> tuple[str, ...]:
        """The options of the call that replace something which a row names."""
        model = row.model
        given = {
            "--glove": self.glove.name if self.glove else None,
            "--encoder": _other(self.encoders.instead, model.text_encoder),
            "--speech-encoder": _other(self.speech_encoders.instead, *_heard(row)),
        }
        return tuple(f"{option} {name}" for option, name in given.items() if name)


def _heard(row: Row) -> tuple[str | None, str | None]:
    """The speech encoders that a row names: its model's, and that of its frames."""
    return row.model.speech_encoder, (row.model.frames or row.features.frames).encoder


def _check_different(before: Sequence[Row], named: Sequence[Row]) -> None:
    """`UserError` if the options of the call make the same of rows of different encoders.

    They would be the same runs, with the name and published scores of another encoder.
    """
    found: dict[tuple[Any, ...], Row] = {}
    for row, now in zip(before, named, strict=True):
        runs = now.model, now.features, now.training, now.folds, now.labels
        other, options = found.setdefault(runs, row), now.changes[len(row.changes) :]
        if options and _encoders(other) != _encoders(row):
            raise UserError(
                f"{', '.join(options)}: rows {other.name} and {row.name} would be the same; name "
                "one of them with --rows"
            )


def _encoders(row: Row) -> tuple[str | None, ...]:
    """The encoders that a row names."""
    return row.model.text_encoder, *_heard(row)


def _other(instead: str | None, *named: str | None) -> str | None:
    """The name of the encoder that replaces a named one; None if none does."""
    if instead is None or set(named) <= {None, instead}:
        return None
    return Path(instead).name


def name_contents(
    study: Study, corpus: Corpus, pretrained: Pretrained, asked: Collection[str] | None = None
) -> Study:
    """Replace ``default`` and the names of encoders in a study's rows by ``name@digest``.

    Rows that are not `asked` for (None: all are) keep what cannot be named: an encoder's name,
    since the encoder may not be at hand, and folds into which the corpus cannot be split. Raises
    `UserError` where the corpus cannot be split as a row that is asked for says, or an encoder or a
    library of it cannot be found, or an option makes the same of two rows.
    """
    is_asked = [asked is None or row.name in asked for row in study.rows]
    check_extras(list(compress(study.rows, is_asked)), ", or name other rows with --rows")
    rows = [
        _named_row(row, corpus, pretrained, is_one)
        for row, is_one in zip(study.rows, is_asked, strict=True)
    ]
    _check_different(list(compress(study.rows, is_asked)), list(compress(rows, is_asked)))
    return replace(study, rows=tuple(rows))


def _named_row(row: Row, corpus: Corpus, pretrained: Pretrained, is_asked: bool) -> Row:
    folds, changes = _named_folds(row, corpus, is_asked), pretrained.changes(row)
    if is_asked:
        if row.features.standardise == "speaker":
            with _told_of(row, ", or name the other rows with --rows"):
                check_speakers(select(corpus, row.labels).utterances)
        row = _named_encoders(row, pretrained)
    row = replace(
        row,
        folds=folds,
        features=name_features(row, pretrained),
        changes=(*row.changes, *changes),
        training=name_training(row),
    )
    if is_asked:
        with _told_of(row):
            check_layers(row, pretrained.encoders, pretrained.speech_encoders)
    return row


@contextmanager
def _told_of(row: Row, more: str = "") -> Iterator[None]:
    """A `UserError` inside names the row; `more` stands behind its remedy."""
    try:
        yield
    except UserError as error:
        raise UserError(f"row {row.name}: {error}{more}") from error


def _named_folds(row: Row, corpus: Corpus, is_needed: bool) -> FoldSpec:
    try:
        folds = make_folds(select(corpus, row.labels), row.folds)
    except UserError:
        if is_needed:
            raise
        return row.folds
    return replace(row.folds, members=members_digest(folds), num_folds=len(folds))


def members_digest(folds: Sequence[Fold]) -> str:
    """Digest of the utterances in each part of each fold."""
    return digest_of([[f.train, f.dev, f.test] for f in folds])


def check_extras(rows: Sequence[Row], without: str) -> None:
    """`LibraryMissing` if the features of a row need the library of an extra that is not here.

    `without` ends the message where other rows do not need it: how to have these alone.
    """
    for name in EXTRAS:
        needing = [row.name for row in rows if name in _computing(row)]
        if needing:
            noun = "row" if len(needing) == 1 else "rows"
            otherwise = without if len(needing) < len(rows) else ""
            require([name], f"{noun} {'; '.join(needing)}", otherwise)


def _computing(row: Row) -> set[str]:
    """The libraries that compute a row's features."""
    frames = row.model.frames or row.features.frames
    always = (frames_kind(frames) if kind == "frames" else kind for kind in ALWAYS)
    kinds = (*always, *(extra.name for extra in row.model.extras))
    return computing(kinds, row.features.is_english)


def name_features(row: Row, pretrained: Pretrained) -> FeatureSpec:
    """A row's features with what computes them."""
    return replace(
        row.features,
        frames=row.model.frames or row.features.frames,
        vectors=f"{pretrained.vectors.name}@{pretrained.vectors.sha256[:16]}",
        phonemizer=pretrained.phonemizer_of(row.features.language).engine,
        libraries=installed(_computing(row)),
    )


def name_training(row: Row) -> TrainingSpec:
    """A row's training with what trains it."""
    if not is_network(row.model):
        # It has no use for the settings of training.
        return TrainingSpec(libraries=installed(CLASSICAL))
    what = {False: NETWORK, "lora": ADAPTED}.get(row.model.fine_tuning, FINE_TUNED)
    return replace(row.training, libraries=installed(what))


def _named_encoders(row: Row, pretrained: Pretrained) -> Row:
    """The row with its encoders as ``name@digest``, wherever it names them."""
    model, frames = row.model, row.features.frames
    changes: dict[str, Any] = {}
    if model.text_encoder is not None:
        changes["encoder"] = pretrained.encoders.identify(model.text_encoder)
    if model.speech_encoder is not None:
        changes["speech_encoder"] = pretrained.speech_encoders.identify(model.speech_encoder)
    if frames.encoder is not None and model.frames is None:
        frames = replace(frames, encoder=pretrained.speech_encoders.identify(frames.encoder))
    features = replace(row.features, frames=frames)
    return replace(row, model=replace(model, **changes), features=features)
