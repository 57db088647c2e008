"""Folds of the corpus of five sessions, as training reads them."""

from pathlib import Path
from typing import Any

import pytest
import torch

from mlt_ray.corpus.folds import make_folds
from mlt_ray.features.batching import FoldData
from mlt_ray.spec import FoldSpec
from tests.training.runs import MakeData


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def data(raw: Any, tmp_path: Path) -> MakeData:
    corpus, cache = raw.corpus, raw.write(tmp_path)
    folds = make_folds(corpus, FoldSpec())
    return lambda run: FoldData(corpus, folds[run.fold - 1], run.spec.features, cache)
