"""A few rounds of `python -m tests.endurance`: random damages, and what verbs leave."""

import shutil
import tempfile
from pathlib import Path

import pytest

from tests.crashes.scene import Scene
from tests.endurance.kills import kill_until
from tests.endurance.verbs import Place, leave_all

# Several commands in a row take a busy machine a while.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def scene():
    """The study that is disturbed. Its path is short, since Ray's sockets are inside."""
    folder = Path(tempfile.mkdtemp(prefix="e-"))
    yield Scene.set(folder / "s")
    shutil.rmtree(folder)


def test_after_random_kills_a_study_has_the_undisturbed_results_and_leaves_nothing(scene):
    tally = kill_until(4, 5, scene, ["study"])
    assert [complaint for finding in tally.findings for complaint in finding.complaints] == []
    assert all(finding.ok for finding in tally.findings)
    assert tally.kills >= 4


@pytest.mark.parametrize("verb", ["run", "corpus synthesize"])
def test_however_a_verb_ends_it_leaves_no_process_port_or_temporary_file(scene, verb):
    place = Place(scene=scene, folder=scene.folder.parent)
    assert [left for left in leave_all(place, [verb], 1, print) if not left.ok] == []
