"""The command's first moments: it can be interrupted while it is loaded."""

import os
import subprocess
import sys

import pytest

from mlt_ray.cli import app as app_module

INTERRUPTED_AT = """
import sys
class Finder:
    def find_spec(self, name, path, target=None):
        if name == {name!r}:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Finder())
sys.argv = ["mlt-ray", "studies"]
from mlt_ray.__main__ import main
main()
"""


@pytest.mark.parametrize("name", ["mlt_ray.cli.app", "typer", "mlt_ray.cli.search"])
def test_ctrl_c_while_the_command_is_loaded_is_one_line(name: str) -> None:
    code = INTERRUPTED_AT.format(name=name)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 130
    assert done.stderr == "\nmlt-ray: interrupted; nothing was begun\n"
    assert done.stdout == ""


def test_the_package_is_the_command_too() -> None:
    words = [sys.executable, "-m", "mlt_ray", "studies"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "table1" in done.stdout


def test_the_figures_of_a_notebook_s_choice_are_drawn_all_the_same() -> None:
    code = "import sys; sys.argv = ['mlt-ray', 'studies']; import mlt_ray.cli.app as app; "
    code += "app.leave = lambda code: None; app.main(); import matplotlib; print('drawn')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"MPLBACKEND": "module://nowhere.backend_inline"},
    )
    assert "drawn" in done.stdout, done.stderr


@pytest.mark.parametrize("words", ["failed to map segment from shared object", "other words"])
def test_a_library_without_room_is_told_in_a_line(
    words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def loading(*_: object, **__: object) -> None:
        raise ImportError(f"libtorch_cpu.so: {words}")

    monkeypatch.setattr(app_module, "app", loading)
    if words == "other words":
        with pytest.raises(ImportError):
            app_module.exit_code(["studies"])
        return
    assert app_module.exit_code(["studies"]) == 2
    assert capsys.readouterr().err == (
        f"mlt-ray: memory: expected room to load libraries, got: libtorch_cpu.so: {words}; "
        "raise ulimit -v\n"
    )
