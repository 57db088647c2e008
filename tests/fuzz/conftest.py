"""How many examples each property is tried with, and the bound on memory.

`FUZZ_EXAMPLES` sets the number; without it there are few, the same at every call.
"""

import os

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.benchmarks.figures import peak_memory_mib

FEW = 60
"""Examples of a property where no number is asked for."""

MOST_GROWTH_MIB = 1024
"""Memory that the examples of a property may take on top of what was there."""

ASKED = os.environ.get("FUZZ_EXAMPLES")

settings.register_profile(
    "fuzz",
    max_examples=int(ASKED or FEW),
    derandomize=not ASKED,
    database=None,
    deadline=None,
    print_blob=False,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("fuzz")


@pytest.fixture(autouse=True)
def memory_stays_bounded():
    before = peak_memory_mib()
    yield
    assert peak_memory_mib() - before < MOST_GROWTH_MIB


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder for all examples of a module's properties, which each write their own files."""
    return tmp_path_factory.mktemp("fuzz")
