"""Growth is the slope after the warm-up, whatever single samples say."""

import pytest

from tests.endurance.growth import Growth, Sample


def growth(memory_mb) -> Growth:
    """Of 500 runs, with this memory after each fifth of them."""
    made = Growth(program="made up", runs=500)
    for runs in range(0, 500, 5):
        sample = Sample(
            role="driver",
            runs=runs,
            processes=1,
            memory_mb=memory_mb(runs),
            files=30,
            threads=20 + (runs % 2),
        )
        made.samples.append(sample)
    return made


def test_growth_is_given_for_a_hundred_runs():
    assert growth(lambda runs: 200 + 0.07 * runs).slope("driver", "memory_mb") == pytest.approx(7)


def test_what_is_loaded_in_the_warm_up_and_single_leaps_are_no_growth():
    def memory_mb(runs):
        return 200 + min(runs, 140) + 500 * (runs in (250, 400, 480))

    found = growth(memory_mb)
    found.judge()
    assert found.complaints == []
    assert found.slope("driver", "memory_mb") == 0


def test_memory_that_grows_is_complained_of():
    found = growth(lambda runs: 200 + 0.08 * runs)
    found.judge()
    assert found.complaints == ["made up: memory_mb of driver grow by 8.0 in 100 runs"]


def test_too_few_samples_have_no_slope():
    made = Growth(program="made up", runs=500, samples=growth(lambda runs: 1.0).samples[-3:])
    assert made.slope("driver", "memory_mb") is None
