"""Makes a study ready to run on a corpus: defaults named, folds checked, features in the cache."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mlt_ray.corpus.folds import Fold, make_folds
from mlt_ray.corpus.utterance import Corpus
from mlt_ray.encoders.catalogue import SPEECH
from mlt_ray.encoders.folder import Encoders
from mlt_ray.errors import UserError
from mlt_ray.features.cache import FeatureProgress
from mlt_ray.features.extract import extract
from mlt_ray.features.phonemes import Phonemizer
from mlt_ray.features.vectors import WordVectors, load_vectors
from mlt_ray.models.registry import is_network
from mlt_ray.spec import FeatureSpec, FoldSpec, ModelSpec, TrainingSpec, digest_of
from mlt_ray.storage.store import Store
from mlt_ray.studies.study import Row, Study


@dataclass(frozen=True)
class Tools:
    """What computes features; what they are called stands in every RunSpec."""

    vectors: WordVectors
    phonemizer: Phonemizer
    encoders: Encoders = field(default_factory=Encoders)
    speech_encoders: Encoders = field(default_factory=lambda: Encoders(modality=SPEECH))
    glove: Path | None = None

    @classmethod
    def load(
        cls, glove: Path | None, encoder: str | None = None, speech_encoder: str | None = None
    ) -> "Tools":
        """The packaged GloVe vectors, or those of a file; `UserError` if it is not that.

        `encoder` and `speech_encoder`, where given, take the place of every encoder of text and
        of speech that a study names.
        """
        return cls(
            vectors=load_vectors(glove),
            phonemizer=Phonemizer(),
            encoders=Encoders(encoder),
            speech_encoders=Encoders(speech_encoder, SPEECH),
            glove=glove,
        )

    def changes(self, model: ModelSpec) -> tuple[str, ...]:
        """The options that put something else in place of what a row with this model names."""
        given = {
            "--glove": self.glove.name if self.glove else None,
            "--encoder": _other(self.encoders.instead, model.text_encoder),
            "--speech-encoder": _other(self.speech_encoders.instead, model.speech_encoder),
        }
        return tuple(f"{option} {name}" for option, name in given.items() if name)


def _other(instead: str | None, named: str | None) -> str | None:
    """What stands in place of a named encoder; None where nothing does."""
    if instead is None or named is None or instead == named:
        return None
    return Path(instead).name


def check_usable(corpus: Corpus, path: Path) -> None:
    """`UserError` where something in the corpus would silently change numbers."""
    fatal = [p for p in corpus.problems if p.fatal]
    if fatal:
        more = f" (and {len(fatal) - 1} more)" if len(fatal) > 1 else ""
        raise UserError(f"{fatal[0]}{more}; mlt-ray corpus check {path} lists all of them")
    if not corpus.utterances:
        raise UserError(f"{path}: expected utterances, found none; see mlt-ray corpus check")


def resolve(
    study: Study, corpus: Corpus, tools: Tools, asked: Collection[str] | None = None
) -> Study:
    """The study with what its rows leave at ``default``, and their encoders, named by content.

    Rows that are not `asked` for (None: all are) keep their encoder's name, since it may not be at
    hand. Raises `UserError` where the corpus cannot be split as a row asks for, or an encoder
    cannot be found.
    """
    folds = {row.folds: _resolve_folds(row.folds, corpus) for row in study.rows}
    features = {row.features: _resolve_features(row.features, tools) for row in study.rows}
    rows = [
        replace(
            row,
            folds=folds[row.folds],
            features=features[row.features],
            changes=(*row.changes, *tools.changes(row.model)),
            # What trains no network has no use for the settings of training.
            training=row.training if is_network(row.model) else TrainingSpec(),
            model=row.model
            if asked is not None and row.name not in asked
            else _resolve_model(row.model, tools),
        )
        for row in study.rows
    ]
    return replace(study, rows=tuple(rows))


def _resolve_folds(spec: FoldSpec, corpus: Corpus) -> FoldSpec:
    return replace(spec, members=members_digest(make_folds(corpus, spec)))


def members_digest(folds: Sequence[Fold]) -> str:
    """Digest of who is in which part of which fold."""
    return digest_of([[f.train, f.dev, f.test] for f in folds])


def _resolve_features(spec: FeatureSpec, tools: Tools) -> FeatureSpec:
    vectors = f"{tools.vectors.name}@{tools.vectors.sha256[:16]}"
    return replace(spec, vectors=vectors, phonemizer=tools.phonemizer.engine)


def _resolve_model(spec: ModelSpec, tools: Tools) -> ModelSpec:
    changes: dict[str, Any] = {}
    if spec.text_encoder is not None:
        changes["encoder"] = tools.encoders.identify(spec.text_encoder)
    if spec.speech_encoder is not None:
        changes["speech_encoder"] = tools.speech_encoders.identify(spec.speech_encoder)
    return replace(spec, **changes)


def prepare(
    corpus: Corpus, rows: Sequence[Row], store: Store, tools: Tools, progress: FeatureProgress
) -> int:
    """Put the corpus's table, the encoders and every feature of the (resolved) rows into the store.

    Returns how many recordings and texts had to be computed; 0 where all was cached.
    """
    path = store.corpus(corpus.fingerprint)
    if not store.pull(path):
        store.write_json(path, corpus.as_dict())
    for model in dict.fromkeys(row.model for row in rows):
        if model.text_encoder is not None:
            tools.encoders.copy(model.text_encoder, store)
        if model.speech_encoder is not None:
            tools.speech_encoders.copy(model.speech_encoder, store)
    features = dict.fromkeys(row.features for row in rows)
    computed = sum(
        extract(corpus, spec, store, tools.vectors, tools.phonemizer, progress) for spec in features
    )
    extras = {extra: row.features for row in rows for extra in row.model.extras}
    if extras:
        from mlt_ray.features.extras import extract_extra

        for extra, spec in extras.items():
            computed += extract_extra(corpus, extra, store, spec, progress)
    return computed
