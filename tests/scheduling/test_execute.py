"""What Tune is handed with every trial."""

import pytest
from ray import cloudpickle

from mlt_ray.scheduling import execute


@pytest.mark.parametrize("named", [execute._trial_name, execute._trial_folder])
def test_what_tune_pickles_with_every_trial_is_a_name_alone(named) -> None:
    """A closure would be pickled whole, names of all runs included, for every run."""
    assert len(cloudpickle.dumps(named)) < 200
