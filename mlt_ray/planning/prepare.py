"""Puts what workers read into the store: the corpus, encoders and features; and models' files."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlt_ray.corpus.labelling import select
from mlt_ray.corpus.utterance import Corpus
from mlt_ray.features.cache import FeatureProgress
from mlt_ray.features.extract import extract
from mlt_ray.models.own import file_of
from mlt_ray.planning.contents import Pretrained
from mlt_ray.storage.store import Store
from mlt_ray.studies.study import Row

if TYPE_CHECKING:
    from mlt_ray.encoders.embedding import Embedder


def fill_cache(
    corpus: Corpus,
    rows: Sequence[Row],
    store: Store,
    pretrained: Pretrained,
    progress: FeatureProgress,
    embed: "Embedder | None" = None,
) -> int:
    """Put what rows read into the store: their utterances of the corpus, encoders and features.

    A copy of each model's file goes beside them, for people. The contents of the rows are named
    (`planning.contents`). `embed` computes the states of speech encoders (None: in this process).
    Returns how many features of recordings and texts had to be computed; 0 if all were cached.
    """
    selections = {row.labels: select(corpus, row.labels) for row in rows}
    for selected in selections.values():
        path = store.corpus(selected.fingerprint)
        if not store.keep(path):
            store.write_json(path, selected.as_dict())
    for model in dict.fromkeys(row.model for row in rows):
        file = file_of(model)
        if file is not None and not store.keep(store.model(file.digest)):
            store.write(store.model(file.digest), file.content)
        if model.text_encoder is not None:
            pretrained.encoders.copy(model.text_encoder, store)
        if model.speech_encoder is not None:
            pretrained.speech_encoders.copy(model.speech_encoder, store)
    for encoder in dict.fromkeys(row.features.frames.encoder for row in rows):
        if encoder is not None:
            pretrained.speech_encoders.copy(encoder, store)
    features = dict.fromkeys((row.labels, row.features) for row in rows)
    computed = sum(
        extract(
            selections[labels],
            spec,
            store,
            pretrained.vectors,
            pretrained.phonemizer_of(spec.language),
            progress,
            embed,
        )
        for labels, spec in features
    )
    extras = dict.fromkeys((r.labels, r.features, e) for r in rows for e in r.model.extras)
    if extras:
        # Not at the top: it imports torch.
        from mlt_ray.encoders.embedding import embed_files
        from mlt_ray.features.extras import extract_extra

        for labels, spec, extra in extras:
            computed += extract_extra(
                selections[labels], extra, store, spec, progress, embed or embed_files
            )
    return computed
