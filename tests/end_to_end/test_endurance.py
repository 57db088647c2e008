"""A few rounds of `python -m tests.endurance`: random damages, and what verbs leave."""

import shutil
import tempfile
from pathlib import Path

import pytest

from tests.crashes.journal import wait_until
from tests.crashes.scene import Scene
from tests.end_to_end.conftest import start_mlt_ray
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
    tally = kill_until(3, 5, scene, ["study"], most=3)
    assert [complaint for finding in tally.findings for complaint in finding.complaints] == []
    assert all(finding.ok for finding in tally.findings)
    assert tally.kills >= 3


@pytest.mark.parametrize("verb", ["run", "corpus synthesize"])
def test_however_a_verb_ends_it_leaves_no_process_port_or_temporary_file(scene, verb):
    place = Place(scene=scene, folder=scene.folder.parent)
    assert [left for left in leave_all(place, [verb], 1, print) if not left.ok] == []


def test_sigterm_ends_a_verb_as_ctrl_c_does(tmp_path):
    process = start_mlt_ray("corpus", "demo", tmp_path / "out", "--utterances", "400")
    wait_until(lambda: any(tmp_path.rglob("*.wav")), "the first recording")
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "mlt-ray: interrupted" in errors
    assert "Traceback" not in errors
