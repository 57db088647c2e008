"""Surroundings in which a command ends before Ray starts."""

from typing import Final

from tests.bad_input.case import Case

CASES: Final = {
    "a cache that is a file": Case(
        command="report table1 --store memory://x/y",
        says="expected a folder that can be made for copies of memory://x/y",
        files={"cache": ""},
        environment={"MLT_RAY_CACHE": "cache/deeper"},
    ),
}
