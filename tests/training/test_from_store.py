"""Workers train from the store alone, with what the runs were planned with."""

from dataclasses import replace
from pathlib import Path

import pytest

from mlt_ray.errors import UserError
from mlt_ray.storage.store import Store
from mlt_ray.training.from_store import train_from_store
from tests.training.runs import run_of


def test_a_machine_with_another_version_trains_nothing(tmp_path: Path) -> None:
    run = run_of()
    training = replace(run.spec.training, libraries="numpy 0.1, torch 9.9")
    other = replace(run, spec=replace(run.spec, training=training))
    with pytest.raises(UserError, match=r"expected numpy 0\.1, with which the run was planned"):
        train_from_store([other], Store(tmp_path), on_epoch=lambda *a: None, stop=lambda run: False)
