"""Where an export may go: a new or an empty folder; whatever else is there is named in one line."""

from pathlib import Path

import pytest

from mlt_ray.errors import UserError
from mlt_ray.storage.store import Store
from mlt_ray.workflows.export import export_model


def export(trained: Path, out: Path) -> Path:
    return export_model("noise/audio", Store(trained / "store"), "folder", out).folder


@pytest.mark.parametrize("name", ["new", "empty", "deep/er"])
def test_a_new_or_empty_folder_is_filled(trained: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    assert (export(trained, tmp_path / name) / "predict.py").is_file()


@pytest.mark.parametrize(
    ("name", "got"),
    [
        ("link", "a link"),
        ("dangling", "a link"),
        ("file", "a file"),
        ("file/deeper", "one below a file"),
        ("full", "one with files"),
        (".", "the one you are in"),
    ],
)
def test_what_cannot_be_replaced_is_one_line(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, got: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "here").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    (tmp_path / "dangling").symlink_to(tmp_path / "absent")
    monkeypatch.chdir(tmp_path / "here")
    out = Path(name) if name == "." else tmp_path / name
    with pytest.raises(UserError) as caught:
        export(trained, out)
    assert str(caught.value) == (
        f"{out}: expected a new or empty folder for the export, got {got}; name another with --out"
    )
    assert not list((tmp_path / "here").iterdir())
    assert not list((tmp_path / "empty").iterdir())
