"""Tries every parser of what comes from outside with many made-up inputs.

    python -m tests.fuzz --examples 5000 [-k WORDS]

Each property gets that many. Without the option there are as many as the suite tries.
"""

import argparse
import os
import sys
from pathlib import Path

import pytest


def main() -> int:
    """Run the properties; returns pytest's exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--examples", type=int, help="inputs for each property")
    parser.add_argument("-k", default="", help="names of properties, as pytest's -k")
    given = parser.parse_args()
    if given.examples:
        os.environ["FUZZ_EXAMPLES"] = str(given.examples)
    folder = str(Path(__file__).parent)
    # A property with many examples takes longer than a test may.
    options = ["--hypothesis-show-statistics", "--timeout=0", "-q", "-k", given.k]
    return int(pytest.main([folder, *options]))


if __name__ == "__main__":
    sys.exit(main())
