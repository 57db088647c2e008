"""Puts what workers read into the store: the corpus, encoders and features."""

from collections.abc import Sequence

from mlt_ray.corpus.utterance import Corpus
from mlt_ray.features.cache import FeatureProgress
from mlt_ray.features.extract import extract
from mlt_ray.planning.contents import Pretrained
from mlt_ray.storage.store import Store
from mlt_ray.studies.study import Row


def fill_cache(
    corpus: Corpus,
    rows: Sequence[Row],
    store: Store,
    pretrained: Pretrained,
    progress: FeatureProgress,
) -> int:
    """Put the corpus, and the encoders and features that rows read, into the store.

    The contents of the rows are named (`planning.contents`). Returns how many features of
    recordings and texts had to be computed; 0 if all were cached.
    """
    path = store.corpus(corpus.fingerprint)
    if not store.keep(path):
        store.write_json(path, corpus.as_dict())
    for model in dict.fromkeys(row.model for row in rows):
        if model.text_encoder is not None:
            pretrained.encoders.copy(model.text_encoder, store)
        if model.speech_encoder is not None:
            pretrained.speech_encoders.copy(model.speech_encoder, store)
    features = dict.fromkeys(row.features for row in rows)
    computed = sum(
        extract(corpus, spec, store, pretrained.vectors, pretrained.phonemizer, progress)
        for spec in features
    )
    extras = {extra: row.features for row in rows for extra in row.model.extras}
    if extras:
        # Not at the top: it imports torch.
        from mlt_ray.features.extras import extract_extra

        for extra, spec in extras.items():
            computed += extract_extra(corpus, extra, store, spec, progress)
    return computed
