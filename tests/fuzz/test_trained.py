"""Checkpoints and exported folders of any content."""

import hashlib
import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlt_ray.inference.folder.layout import CONFIG, INPUTS, WEIGHTS
from mlt_ray.inference.folder.read import is_folder, own_file_in, read_folder
from mlt_ray.inference.folder.write import write_folder
from mlt_ray.inference.trained import open_trained
from mlt_ray.storage.store import Store
from mlt_ray.training.checkpoint import Checkpoint, Unusable, read_state
from mlt_ray.training.learner import Learner
from tests.fuzz.mutated import contents, values
from tests.fuzz.outcome import in_time, told_or_read
from tests.training.conftest import folds_of
from tests.training.runs import CPU, run_of


@pytest.fixture
def saved(raw, tmp_path):
    """A learner and the bytes of its checkpoint."""
    run, data = run_of(), folds_of(raw.corpus, raw.write(tmp_path))
    learner = Learner(run, data(run), CPU)
    Checkpoint(tmp_path / "valid.pt").save(learner, at_once=True)
    return learner, (tmp_path / "valid.pt").read_bytes()


@given(data=st.data())
def test_a_checkpoint_of_any_bytes(data, saved, folder):
    learner, valid = saved
    (folder / "any.pt").write_bytes(data.draw(contents(valid)))
    try:
        with in_time():
            state = read_state(folder / "any.pt", learner)
    except Unusable:
        return
    learner.load_state(state)


@pytest.fixture(scope="module")
def exported(trained, folder):
    """The folder of an exported model."""
    out = folder / "exported"
    out.mkdir()
    write_folder(open_trained("noise/both", Store(trained / "store").looking()), out, {})
    return out


@pytest.fixture
def copied(exported):
    """A copy of the exported folder, to be changed."""
    place = exported.with_name("changed")
    shutil.rmtree(place, ignore_errors=True)
    return shutil.copytree(exported, place)


@given(data=st.data())
def test_an_exported_folder_of_any_configuration(data, exported, copied):
    values_of = json.loads((exported / CONFIG).read_text())
    (copied / CONFIG).write_text(json.dumps(data.draw(values(values_of))))
    assert is_folder(copied) in (True, False)
    told_or_read(own_file_in, copied)
    told_or_read(read_folder, copied)


@pytest.mark.parametrize("name", [INPUTS, WEIGHTS])
@given(data=st.data())
def test_an_exported_folder_of_any_inputs_and_weights(name, data, exported, copied):
    valid = (exported / name).read_bytes()
    if name == INPUTS and data.draw(st.booleans()):
        content = json.dumps(data.draw(values(json.loads(valid)))).encode()
    else:
        content = data.draw(contents(valid))
    (copied / name).write_bytes(content)
    # As if whoever changed the file had said so.
    config = json.loads((exported / CONFIG).read_text())
    config["files"][name] = hashlib.sha256(content).hexdigest()
    (copied / CONFIG).write_text(json.dumps(config))
    told_or_read(read_folder, copied)
