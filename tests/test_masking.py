"""No secret of a URI survives the mask, and everything else does."""

import pytest

from mlt_ray.masking import has_unquoted_password, masked

URIS = {
    "s3://bucket/x": "s3://bucket/x",
    "s3://KEY:SECRET@bucket/x?scheme=http": "s3://KEY:***@bucket/x?scheme=http",
    "s3://KEY:SEC/RET+1@bucket/x": "s3://KEY:***@bucket/x",
    "s3://bucket/x?access_key=KEY&secret_key=SECRET&region=eu": (
        "s3://bucket/x?access_key=***&secret_key=***&region=eu"
    ),
    "s3://b/x?session_token=SECRET;region=eu": "s3://b/x?session_token=***;region=eu",
    "abfs://A:SECRET@account/x": "abfs://A:***@account/x",
    "abfs://A@account.dfs.core.windows.net/x?sas_token=sv=1&sig=SECRET%3D": (
        "abfs://A@account.dfs.core.windows.net/x?sas_token=***&sig=***"
    ),
    "sftp://me:SECRET@host/x": "sftp://me:***@host/x",
    "sftp://me:SEC@RET@host/x": "sftp://me:***@host/x",
    "sftp://me:SEC?RET@host/x": "sftp://me:***@host/x",
    "sftp://me:SEC:RET#1@host:22/x": "sftp://me:***@host:22/x",
    "sftp://me@host/x": "sftp://me@host/x",
    "sftp://:SECRET@host/x": "sftp://:***@host/x",
    "http://host:5000": "http://host:5000",
    "http://host/a?b=c@d": "http://host/a?b=c@d",
    "http://host:5000/a@b": "http://host:***@b",
    "https://me:SECRET@host:5000/mlflow": "https://me:***@host:5000/mlflow",
    "postgresql+psycopg://me:SECRET@host:5432/db?sslmode=require": (
        "postgresql+psycopg://me:***@host:5432/db?sslmode=require"
    ),
    "mysql+pymysql://host/db?user=me&password=SECRET": (
        "mysql+pymysql://host/db?user=me&password=***"
    ),
    "sqlite:////a/b@c/mlflow.db": "sqlite:////a/b@c/mlflow.db",
    "file:///a/b": "file:///a/b",
    "/a/b:c@d": "/a/b:c@d",
}


@pytest.mark.parametrize(("uri", "expected"), URIS.items())
def test_a_uri_keeps_everything_but_its_secrets(uri: str, expected: str) -> None:
    assert masked(uri) == expected
    assert "SEC" not in expected
    assert masked(expected) == expected


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("s3://KEY:a%2Fb@bucket/x", False),
        ("s3://bucket/a:b@c", False),
        ("sftp://me:p@ss@host/x", False),
        ("s3://KEY:a/b@bucket/x", True),
        ("s3://KEY:a@b/c@bucket/x", True),
        ("sftp://me:p?@host/x", True),
    ],
)
def test_a_password_that_would_cut_its_uri_is_found(uri: str, expected: bool) -> None:
    assert has_unquoted_password(uri) is expected


@pytest.mark.parametrize(("uri", "expected"), URIS.items())
def test_a_uri_inside_a_text_is_masked_too(uri: str, expected: str) -> None:
    text = "--store {}: expected a store, got: nothing; ask me@host at 10:30"
    assert masked(text.format(uri)) == text.format(expected)
    assert masked(text.format(f"'{uri}'")) == text.format(f"'{expected}'")
