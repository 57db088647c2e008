"""Studies, search spaces, profiles, labels and the texts of options."""

import json
import math
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mlt_ray.cli.run import parse_numbers
from mlt_ray.cli.search import parse_duration
from mlt_ray.documents import parse_yaml, read_yaml, shipped_folder
from mlt_ray.planning.profile import load_profile
from mlt_ray.studies.files import is_space
from mlt_ray.studies.labels import parse_labels
from mlt_ray.studies.overrides import parse_overrides
from mlt_ray.studies.space import load_space, parse_space
from mlt_ray.studies.study import load_study, parse_study
from tests.fuzz.mutated import JUNK, PIECES, TEXTS, encoded, texts, values
from tests.fuzz.outcome import told_or_read

SPACES = ("layers", "optimizer")
STUDIES = ("demo", "beyond", "open", "emobox")


def shipped(name: str, folder: str = "search_spaces") -> str:
    return (shipped_folder(folder) / f"{name}.yaml").read_text()


STUDY_VALUES = [yaml.safe_load(shipped(name)) for name in STUDIES]
# Few rows: what is asked is how values are read, and all rows are read alike.
STUDY_VALUES = [{**study, "rows": study["rows"][:2]} for study in STUDY_VALUES]
STUDY_TEXTS = [yaml.safe_dump(study, sort_keys=False) for study in STUDY_VALUES]
SPACE_VALUES = [yaml.safe_load(shipped(name)) for name in SPACES]
PROFILE = """address: auto
store: s3://bucket/runs
tracking_uri: http://host:5000
resources: {gpus_per_run: 0.5, cpus_per_run: 2, concurrency: 3, max_pack_size: 15}
"""
LABELS = [
    "four",
    ["angry", "sad"],
    {"angry": ["anger", "ang"], "calm": "calm", "leave_out": ["other"]},
    {"angry": "ang", "other": ["hap", "sad"], "leave_out": "rest"},
]


@given(values(*STUDY_VALUES))
def test_a_study_of_any_values(study):
    told_or_read(parse_study, "mine", study)


@given(values(*SPACE_VALUES))
def test_a_search_space_of_any_values(space):
    if is_space(space):  # else it is read as a study
        told_or_read(parse_space, Path("mine.yaml"), space)


@pytest.mark.parametrize("load", [load_study, load_space, load_profile, read_yaml])
@given(content=encoded(*STUDY_TEXTS, shipped("optimizer"), PROFILE))
def test_a_file_of_any_text(load, content, folder):
    path = folder / "mine.yaml"
    path.write_bytes(content)
    told_or_read(load, path if load is read_yaml else str(path))


@given(profile=values(yaml.safe_load(PROFILE)))
def test_a_profile_of_any_values(profile, folder):
    path = folder / "profile.yaml"
    path.write_text(json.dumps(profile))
    told_or_read(load_profile, str(path))


@given(values(*LABELS))
def test_labels_of_any_values(labels):
    found = told_or_read(parse_labels, labels, "labels")
    if found is not None:
        found.class_of("anger")


@given(texts("{a: [1, 2], b: &x {c: 1e-5}, d: *x}", "[1, 2.5, no]", "2001-01-01", "1:30"))
def test_the_value_of_an_option(text):
    told_or_read(parse_yaml, text, "--set")


@given(
    st.lists(
        texts("training.max_epochs=20", "labels=[angry, sad]", "model.width=[[1]]", "a.b.c=1"),
        max_size=3,
    )
)
def test_changes_of_any_text(changes):
    told_or_read(parse_overrides, changes)


@given(st.one_of(texts("1,3-5", "1-5", "1,1"), TEXTS, st.lists(PIECES).map("".join)))
def test_numbers_of_any_text(text):
    found = told_or_read(parse_numbers, "--seeds", text)
    assert found is None or all(type(number) is int for number in found)


@given(st.one_of(texts("90s", "1.5h", "30m", "2d"), TEXTS))
def test_a_duration_of_any_text(text):
    found = told_or_read(parse_duration, "--time", text)
    assert found is None or 0 < found < math.inf


@given(st.lists(st.integers(1, 50), min_size=1))
def test_numbers_that_are_written_are_read(numbers):
    once = list(dict.fromkeys(numbers))
    assert parse_numbers("--seeds", ",".join(map(str, numbers))) == once


@given(JUNK)
def test_a_value_of_json_is_one_of_yaml(value):
    text = json.dumps(value)
    found = told_or_read(parse_yaml, text, "--set")
    if isinstance(value, bool | None) or type(value) is int:
        assert found is None or found == value
