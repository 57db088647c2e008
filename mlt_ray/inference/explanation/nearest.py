"""The training utterances whose vectors are nearest to an utterance's.

Shapes: B and N utterances, D values of a vector.
"""

from functools import partial
from typing import Final

import numpy as np
import torch

from mlt_ray.errors import UserError
from mlt_ray.features.batching import FoldData
from mlt_ray.inference.ensemble import Member
from mlt_ray.inference.explanation.parts import Altered
from mlt_ray.inference.explanation.seeing import last_vectors
from mlt_ray.inference.explanation.values import Nearest, Neighbour
from mlt_ray.inference.predictor import Predictor
from mlt_ray.inference.raw import RawFeatures
from mlt_ray.inference.trained import TrainedModel
from mlt_ray.models.faults import explained
from mlt_ray.spec import Run
from mlt_ray.storage.store import Store
from mlt_ray.training.from_store import fold_data

NUM_NEAREST: Final = 5

CLASSICAL = "It has classifiers of scikit-learn, which have no layers whose vectors to compare."
NO_STORE = "They are not available: the model is in a folder, without its training part."
FINE_TUNED = "This row fine-tunes an encoder, and to read the training part with it takes too long."
NO_FEATURES = "They are not available: the store has no features of the training part any more."
NO_VECTOR = "They are not available: the network's last layer reads no vector of the utterance."


def nearest_of(
    predictor: Predictor, features: RawFeatures, spoken: Altered, store: Store | None
) -> Nearest | str:
    """The nearest utterances for the run with the best score on dev, or why there are none."""
    model, ensemble = predictor.model, predictor.ensemble
    if ensemble is None:
        return CLASSICAL
    if store is None:
        return NO_STORE
    if model.spec.model.fine_tuning is not False:
        return FINE_TUNED
    place = best_on_dev(model, store)
    if place is None:
        return NO_STORE
    member, found = ensemble.members[place], model.runs[place]
    assert isinstance(member, Member)
    inputs = predictor.inputs([features], [spoken]).to(predictor.device)
    vector = last_vectors(member.network, lambda: member(inputs))
    if vector is None:
        return NO_VECTOR
    run = Run(spec=model.spec, fold=found.fold, seed=found.seed)
    try:
        data = fold_data(run, store)
    except (KeyError, UserError):  # its corpus or cache was deleted
        return NO_FEATURES
    with explained(model.spec.model.source):
        indices, vectors = training_vectors(member, data, predictor.device)
    similarities = cosines(vector[0].double().cpu().numpy(), vectors)
    order = np.argsort(-similarities, kind="stable")[:NUM_NEAREST]
    return Nearest(
        run=str(run),
        num_utterances=len(indices),
        neighbours=tuple(_neighbour(data, int(indices[n]), similarities[n]) for n in order),
    )


def best_on_dev(model: TrainedModel, store: Store) -> int | None:
    """Place of the run with the best dev score, of equals the first; None without any report.

    The score is the one that chose the epochs.
    """
    by = model.spec.training.select_by
    scores = {}
    for place, run in enumerate(model.runs):
        report = store.report(run.digest)
        if report is not None:
            scores[place] = report.scores["dev"].get(by, 0.0)
    return max(scores, key=lambda place: scores[place]) if scores else None


def training_vectors(
    member: Member, data: FoldData, device: torch.device
) -> tuple[np.ndarray, np.ndarray]:
    """(N,) indices of the training part, and the (N, D) vectors that the last layer reads."""
    indices: list[np.ndarray] = []
    vectors: list[np.ndarray] = []
    for places in data.evaluation_order("train"):
        batch = data.batch(places).to(device)
        found = last_vectors(member.network, partial(member.network, batch))
        assert found is not None
        indices.append(np.asarray(places))
        vectors.append(found.double().cpu().numpy())
    return np.concatenate(indices), np.concatenate(vectors)


def cosines(vector: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """(N,) cosines of the angles between a (D,) vector and (N, D) others; 0 for one of zeros."""
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(vector)
    found: np.ndarray = vectors @ vector / np.maximum(lengths, np.finfo(float).tiny)
    return found


def _neighbour(data: FoldData, index: int, similarity: float) -> Neighbour:
    utterance = data.corpus.utterances[index]
    return Neighbour(
        id=utterance.id,
        label=utterance.emotion,
        speaker=utterance.speaker,
        text=utterance.text,
        similarity=float(similarity),
    )
