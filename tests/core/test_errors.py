"""Case tables of core.errors: what an upstream's status becomes, and how an error is written."""

import json

import pytest

from hubferry.core.errors import Asked, Code, OciError, relay_error

TAG = Asked("docker.io", "library/nginx", "1.27")
BLOB = Asked("docker.io", "library/nginx", "sha256:aa", Code.BLOB_UNKNOWN)


def test_an_error_is_written_as_the_specification_says() -> None:
    error = OciError(404, Code.MANIFEST_UNKNOWN, "no such thing", detail={"a": 1})
    assert json.loads(error.body()) == {
        "errors": [{"code": "MANIFEST_UNKNOWN", "message": "no such thing", "detail": {"a": 1}}]
    }


def test_an_error_without_detail_has_none() -> None:
    assert json.loads(OciError(400, Code.UNSUPPORTED, "ä").body()) == {
        "errors": [{"code": "UNSUPPORTED", "message": "ä"}]
    }


def test_an_error_can_be_written_whatever_its_message_holds() -> None:
    json.loads(OciError(502, Code.UNKNOWN, "its mediaType is \ud800").body())


RELAYED = [
    (400, 400, "MANIFEST_INVALID"),
    (401, 401, "UNAUTHORIZED"),
    (403, 403, "DENIED"),
    (404, 404, "MANIFEST_UNKNOWN"),
    (405, 405, "UNSUPPORTED"),
    (410, 404, "MANIFEST_UNKNOWN"),
    (416, 416, "UNSUPPORTED"),
    (429, 429, "TOOMANYREQUESTS"),
    (451, 451, "DENIED"),
    (503, 503, "UNAVAILABLE"),
    (504, 504, "UNAVAILABLE"),
    (500, 502, "UNKNOWN"),
    (502, 502, "UNKNOWN"),
    (408, 502, "UNKNOWN"),
    (418, 502, "UNKNOWN"),
    (304, 502, "UNKNOWN"),
    (204, 502, "UNKNOWN"),
    (999, 502, "UNKNOWN"),
]


@pytest.mark.parametrize(("status", "ours", "code"), RELAYED)
def test_a_status_that_means_something_to_a_client_is_kept(status: int, ours: int, code: str) -> None:
    error = relay_error(status, (), TAG)
    assert (error.status, error.code.value) == (ours, code)
    assert "docker.io" in error.message
    assert error.detail == {"upstream": "docker.io", "status": status}


def test_a_missing_blob_is_blob_unknown_and_a_missing_repository_name_unknown() -> None:
    assert relay_error(404, (), BLOB).code is Code.BLOB_UNKNOWN
    assert relay_error(404, (), Asked("docker.io", "a/b", "", Code.NAME_UNKNOWN)).code is Code.NAME_UNKNOWN


def test_retry_after_and_quota_survive_and_nothing_else_does() -> None:
    headers = (
        ("retry-after", "7"),
        ("ratelimit-limit", "100;w=21600"),
        ("ratelimit-remaining", "0;w=21600"),
        ("docker-ratelimit-source", "1.2.3.4"),
        ("content-range", "bytes */10"),
        ("set-cookie", "a=b"),
        ("www-authenticate", 'Bearer realm="https://auth.docker.io/token"'),
        ("content-type", "text/html"),
        ("content-length", "999"),
        ("location", "https://cdn.example/"),
    )
    error = relay_error(429, headers, TAG)
    assert error.headers == headers[:5]
    assert "retry after 7" in error.message
    assert "its limit, not hubferry's" in error.message


@pytest.mark.parametrize(("status", "seconds"), [(429, "60"), (503, "5"), (404, None), (401, None)])
def test_a_client_is_told_how_long_to_wait_when_the_upstream_forgot(status: int, seconds: str | None) -> None:
    assert dict(relay_error(status, (), TAG).headers).get("retry-after") == seconds


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        (TAG, "docker.io/library/nginx:1.27"),
        (BLOB, "docker.io/library/nginx@sha256:aa"),
        (Asked("docker.io", "a/b", ""), "docker.io/a/b"),
    ],
)
def test_what_was_asked_reads_as_a_reference(asked: Asked, shown: str) -> None:
    assert str(asked) == shown


def test_braces_in_what_an_upstream_says_are_no_format() -> None:
    error = relay_error(429, (("retry-after", "{upstream}{0}"),), Asked("docker.io", "a", "{x}"))
    assert "{upstream}{0}" in error.message
