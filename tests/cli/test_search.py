"""What the verb search makes of its options."""

import pytest

from mlt_ray.cli.search import parse_duration
from mlt_ray.errors import UserError


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("1.5h", 5400), ("2d", 172_800)]
)
def test_a_time_is_read_with_its_unit(text: str, seconds: float) -> None:
    assert parse_duration("--timeout", text) == seconds


@pytest.mark.parametrize("text", ["90", "m", "0s", "-3m", "1.5.2h", "2 hours"])
def test_a_time_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="--timeout: expected a time such as 90s, 30m or 2h, got"):
        parse_duration("--timeout", text)


@pytest.mark.parametrize("text", ["366d", "9" * 400 + "s"])
def test_a_time_that_never_ends_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="--timeout: expected at most 365d, got '"):
        parse_duration("--timeout", text)
