"""The predictions of a row's runs for a corpus, whose features are kept in the store's cache.

Shapes: M runs, N utterances, K classes.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from mlt_ray.corpus.utterance import Corpus
from mlt_ray.features.cache import FeatureProgress
from mlt_ray.features.extract import FeatureCache, extract
from mlt_ray.features.extras import INPUTS, extract_extra, open_cache
from mlt_ray.inference.predictor import Predictor, Probabilities
from mlt_ray.inference.raw import RawFeatures, Tools
from mlt_ray.spec import RunSpec
from mlt_ray.storage.store import Store

BLOCK: Final = 128
"""Utterances that are predicted before it is told how far it is."""


def fill_cache(
    corpus: Corpus, spec: RunSpec, tools: Tools, store: Store, progress: FeatureProgress
) -> int:
    """Put the features of a corpus into the cache; `spec` names the libraries that are installed.

    Returns how many features of recordings and texts had to be computed; 0 if all were cached.
    """
    features = spec.features
    # Predictors look word vectors up themselves, where a network reads any.
    computed = extract(corpus, features, store, None, tools.phonemizer, progress)
    for extra in spec.model.extras:
        computed += extract_extra(corpus, extra, store, features, progress)
    return computed


def cached_features(corpus: Corpus, spec: RunSpec, store: Store) -> list[RawFeatures]:
    """The features of every utterance from the cache, which has them all; arrays are mapped."""
    cache = FeatureCache.open(store, spec.features)
    extras = {x.name: open_cache(x, store, spec.features) for x in spec.model.extras}
    return [
        RawFeatures(
            frames=cache.frames[u.audio_sha256],
            words=cache.words_of(u.text),
            extras={name: found[INPUTS[name].key(u)] for name, found in extras.items()},
        )
        for u in corpus.utterances
    ]


def probabilities_on(
    corpus: Corpus,
    predictor: Predictor,
    features: Sequence[RawFeatures],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Probabilities:
    """(M, N, K) probabilities that each run gives the utterances of a corpus.

    A row that is standardised by speaker hears all utterances of the corpus at once.
    """
    size = len(corpus) if predictor.model.is_by_speaker else BLOCK
    found = []
    progress(0, len(corpus))
    for start in range(0, len(corpus), size):
        block = corpus.utterances[start : start + size]
        found.append(predictor.of_features(features[start : start + size], block))
        progress(start + len(block), len(corpus))
    return np.concatenate(found, axis=1)
