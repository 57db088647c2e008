"""Which errors of a store behind a URI may pass, so that trying again makes sense."""

import pytest

from mlt_ray.errors import StoreSilent, StoreUnreachable
from mlt_ray.storage.remote import Remote, is_silence


@pytest.mark.parametrize(
    "error",
    [
        OSError("AWS Error NETWORK_CONNECTION during HeadObject operation: curlCode: 7, Could not"),
        OSError("AWS Error NETWORK_CONNECTION during PutObject: curlCode: 28, Timeout was reached"),
        OSError("AWS Error SLOW_DOWN during PutObject operation: Please reduce your request rate."),
        OSError(
            "AWS Error UNKNOWN (HTTP status 503) during HeadObject operation: No response body"
        ),
        OSError("AWS Error INTERNAL_FAILURE during CreateMultipartUpload operation"),
        OSError("google::cloud::Status(UNAVAILABLE: Permanent error GetObjectMetadata)"),
        ConnectionResetError("peer"),
        TimeoutError(),
    ],
)
def test_errors_of_the_network_and_of_a_busy_server_may_pass(error: Exception) -> None:
    assert is_silence(error)


@pytest.mark.parametrize(
    "error",
    [
        OSError("AWS Error NO_SUCH_BUCKET during CreateMultipartUpload operation: does not exist"),
        OSError("AWS Error ACCESS_DENIED during HeadBucket operation: No response body."),
        OSError("AWS Error INVALID_ACCESS_KEY_ID (HTTP status 403): cannot connect as that user"),
        PermissionError("Permission denied"),
        IsADirectoryError("x"),
        RuntimeError("a bug"),
    ],
)
def test_refusals_and_bugs_do_not_pass(error: Exception) -> None:
    assert not is_silence(error)


@pytest.mark.parametrize(
    ("error", "kind"),
    [(ConnectionError("gone"), StoreSilent), (PermissionError("no"), StoreUnreachable)],
)
def test_a_request_that_may_be_answered_later_is_silent(
    tmp_path: object, error: Exception, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing:
        def get_file_info(self, path: object) -> None:
            raise error

    remote = Remote(f"local://{tmp_path}")
    monkeypatch.setattr(remote, "_fs", Failing())
    for request in (lambda: remote.file("x"), lambda: remote.files("x")):
        with pytest.raises(StoreUnreachable) as raised:
            request()
        assert type(raised.value) is kind
