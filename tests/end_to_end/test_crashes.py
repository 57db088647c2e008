"""Every case of the crash table (`python -m tests.crashes`), one by one."""

import pytest

from tests.crashes.cases import CASES
from tests.crashes.scene import Scene
from tests.shared import made_once

# Four commands in a row take a busy machine a while.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """The study that is disturbed, and a store in which it was not."""
    return Scene.at(made_once(tmp_path_factory, "crashes", Scene.set))


@pytest.mark.parametrize("case", CASES)
def test_asking_again_computes_what_is_missing_and_gives_the_undisturbed_scores(scene, case):
    finding = CASES[case](scene)
    if finding.skipped:
        pytest.skip(finding.skipped)
    assert finding.complaints == []
    assert finding.recomputed == 0
    assert finding.equal
