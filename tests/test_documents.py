"""YAML files are read strictly."""

from pathlib import Path

import pytest

from mlt_ray.documents import read_yaml
from mlt_ray.errors import UserError


def read(folder: Path, content: bytes) -> object:
    path = folder / "some.yaml"
    path.write_bytes(content)
    return read_yaml(path)


@pytest.mark.parametrize(("text", "value"), [("1e-5", 1e-5), ("-2E3", -2000.0), ("3.e+2", 300.0)])
def test_a_number_with_an_exponent_is_a_number(tmp_path: Path, text: str, value: float) -> None:
    assert read(tmp_path, f"rate: {text}".encode()) == {"rate": value}


def test_a_text_that_contains_an_exponent_is_a_text(tmp_path: Path) -> None:
    assert read(tmp_path, b"name: 1e5a") == {"name": "1e5a"}


def test_merged_keys_may_be_overridden_and_repeated_keys_are_refused(tmp_path: Path) -> None:
    merging = b"a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}"
    assert read(tmp_path, merging) == {"a": {"x": 1, "y": 2}, "b": {"x": 3, "y": 2}}
    with pytest.raises(UserError, match="key x stands twice"):
        read(tmp_path, b"b:\n  x: 1\n  x: 1\n")


def test_files_are_read_as_utf_8_in_any_locale(tmp_path: Path) -> None:
    assert read(tmp_path, "title: é".encode()) == {"title": "é"}
    with pytest.raises(UserError, match=r"some\.yaml: expected YAML in UTF-8, got: "):
        read(tmp_path, "title: é".encode("latin-1"))
