"""Case tables of core.headers and core.http: what crosses the gateway."""

import pytest

from hubferry.core import headers as head
from hubferry.core.http import Headers, Request, get, get_all

DIGEST = "sha256:" + "a" * 64
CLIENT: Headers = (
    ("host", "gw"),
    ("authorization", "Bearer ours"),
    ("cookie", "a=b"),
    ("accept", "application/vnd.oci.image.index.v1+json"),
    ("accept", "application/vnd.oci.image.manifest.v1+json, */*;q=0.1"),
    ("accept-encoding", "gzip"),
    ("if-none-match", DIGEST),
    ("range", "bytes=0-1"),
    ("if-range", "x"),
    ("connection", "close"),
    ("te", "trailers"),
    ("x-forwarded-for", "1.2.3.4"),
    ("x-forwarded-host", "evil.example"),
    ("x-original-url", "/admin"),
    ("user-agent", "docker"),
)


def test_headers_are_found_by_name_in_order() -> None:
    assert get(CLIENT, "accept") == "application/vnd.oci.image.index.v1+json"
    assert get(CLIENT, "nothing") is None
    assert len(get_all(CLIENT, "accept")) == 2
    assert Request("GET", "/", "", CLIENT, "http", "gw", "::1").header("te") == "trailers"


def test_several_accept_lines_become_one() -> None:
    assert head.accept(CLIENT) == (
        "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, */*;q=0.1"
    )


INDEX = "application/vnd.oci.image.index.v1+json"
ACCEPTS: list[tuple[Headers, bool]] = [
    ((), True),
    ((("accept", ""),), True),
    ((("accept", "*/*"),), True),
    ((("accept", "application/*;q=0.5"),), True),
    ((("accept", "text/plain, " + INDEX + ";q=0.1"),), True),
    ((("accept", "text/plain"), ("accept", INDEX)), True),
    ((("accept", "application/vnd.docker.distribution.manifest.v2+json"),), False),
    ((("accept", "text/*"),), False),
]


@pytest.mark.parametrize(("headers", "readable"), ACCEPTS)
def test_a_client_reads_what_it_names_or_anything_if_it_names_nothing(headers: Headers, readable: bool) -> None:
    assert head.accepts(head.accept(headers), INDEX) is readable


@pytest.mark.parametrize("headers", [(), (("accept", "*/*"),), (("accept", ""), ("accept", " "))])
def test_a_client_that_does_not_say_what_it_accepts_accepts_an_index_first(headers: Headers) -> None:
    assert head.accept(headers).startswith("application/vnd.oci.image.index.v1+json, ")
    assert "v1+prettyjws" not in head.accept(headers)


MEDIA = [
    (None, ""),
    ("", ""),
    ("application/json; charset=utf-8", "application/json"),
    (" Application/JSON ;x", "application/json"),
]


@pytest.mark.parametrize(("content_type", "expected"), MEDIA)
def test_a_media_type_has_no_parameters(content_type: str | None, expected: str) -> None:
    assert head.media_type(content_type) == expected


MATCHES: list[tuple[str | None, bool]] = [
    (None, False),
    ("", False),
    (DIGEST, True),
    (f'"{DIGEST}"', True),
    (f'W/"{DIGEST}"', True),
    (f'"other", "{DIGEST}"', True),
    (f"other,{DIGEST}", True),
    ("*", True),
    ('"other"', False),
    (DIGEST[:-1], False),
    (f"x{DIGEST}", False),
]


@pytest.mark.parametrize(("value", "matches"), MATCHES)
def test_if_none_match_is_understood_quoted_bare_weak_and_in_lists(value: str | None, matches: bool) -> None:
    assert head.etag_matches(value, DIGEST) is matches
