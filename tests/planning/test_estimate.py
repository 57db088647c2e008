"""A dry run says how long runs take, where it can know."""

from pathlib import Path
from typing import Any

import pytest

from mlt_ray.planning.estimate import estimate, made_up_batch
from mlt_ray.planning.plan import make_plan
from mlt_ray.storage.store import Store
from mlt_ray.studies.study import load_study, parse_study


@pytest.mark.parametrize("row", load_study("beyond").rows[:4], ids=lambda row: row.name)
def test_a_system_without_steps_has_no_estimate_before_its_first_run(
    row: Any, raw: Any, tmp_path: Path
) -> None:
    study = load_study("beyond")
    (planned,) = (r for r in make_plan(study, raw.corpus).rows if r.name == row.name)
    assert estimate(planned, raw.corpus, Store(tmp_path)) is None


def test_a_network_is_timed(raw: Any, tmp_path: Path) -> None:
    model = {"system": "multilevel", "width": 8, "num_heads": 2, "feed_forward": 8}
    study = parse_study("mine", {"rows": [{"name": "one", "model": model}]})
    (planned,) = make_plan(study, raw.corpus).rows
    found = estimate(planned, raw.corpus, Store(tmp_path))
    assert found is not None
    assert found.seconds > 0
    assert not found.is_measured


def test_a_batch_is_no_larger_than_the_training_part(raw: Any, tmp_path: Path) -> None:
    """A batch of a million utterances would take 30 GiB."""
    model = {"system": "multilevel", "width": 8, "num_heads": 2, "feed_forward": 8}
    rows = [{"name": "one", "model": model, "training": {"batch_size": 1_000_000}}]
    (planned,) = make_plan(parse_study("mine", {"rows": rows}), raw.corpus).rows
    found = estimate(planned, raw.corpus, Store(tmp_path))
    assert found is not None
    batch = made_up_batch(planned.spec, 1.0, 24)
    assert len(batch) == 24
