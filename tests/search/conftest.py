"""Optuna's storage for tests of searches."""

import optuna
import pytest


@pytest.fixture
def storage() -> optuna.storages.BaseStorage:
    """Optuna's storage; it outlives the searches of a test, as a file would."""
    return optuna.storages.InMemoryStorage()
