"""Folds of the corpus of five sessions, as training reads them."""

from pathlib import Path
from typing import Any

import pytest
import torch

from mlt_ray.corpus.folds import make_folds
from mlt_ray.corpus.utterance import Corpus
from mlt_ray.features.batching import FoldData
from mlt_ray.features.extract import FeatureCache
from mlt_ray.spec import FoldSpec, Run
from tests.training.runs import MakeData, uneven


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)


def folds_of(corpus: Corpus, cache: FeatureCache) -> MakeData:
    folds = make_folds(corpus, FoldSpec())

    def make(run: Run) -> FoldData:
        weighing = run.spec.training.class_weights
        fold = folds[run.fold - 1]
        return FoldData(corpus, fold, run.spec.features, cache, weighing=weighing)

    return make


@pytest.fixture
def data(raw: Any, tmp_path: Path) -> MakeData:
    return folds_of(raw.corpus, raw.write(tmp_path))


@pytest.fixture
def uneven_data(raw: Any, tmp_path: Path) -> MakeData:
    """Folds whose classes are of unlike size."""
    return folds_of(uneven(raw.corpus), raw.write(tmp_path))
