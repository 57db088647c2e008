"""The command's first moments: it can be interrupted while it is loaded."""

import subprocess
import sys

import pytest

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
