"""Surroundings in which a command ends before Ray starts."""

from typing import Final

from tests.bad_input.case import Case

RUN: Final = "run table1 --corpus @corpus --store @here/new --dry-run"

CASES: Final = {
    "a cache that is a file": Case(
        command="report table1 --store memory://x/y",
        says="expected a folder that can be made for copies of memory://x/y",
        files={"cache": ""},
        environment={"MLT_RAY_CACHE": "cache/deeper"},
    ),
    "a bucket without credentials": Case(
        command="report table1 --store s3://x?endpoint_override=http://127.0.0.1:9&region=us-east-1",
        says="--store s3://x",
        environment={"AWS_ACCESS_KEY_ID": None, "AWS_EC2_METADATA_DISABLED": "true"},
    ),
}
