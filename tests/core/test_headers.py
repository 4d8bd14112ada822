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


SENT: dict[str, tuple[str, set[str]]] = {
    "manifest": ("manifest", {"accept", "if-none-match", "accept-encoding"}),
    "blob": ("blob", {"range", "if-range", "if-none-match", "accept-encoding"}),
    "list": ("list", {"accept-encoding"}),
}


@pytest.mark.parametrize(("kind", "names"), SENT.values(), ids=SENT.keys())
def test_an_upstream_sees_only_what_is_on_the_list_and_is_asked_for_plain_bodies(kind: str, names: set[str]) -> None:
    sent = head.to_upstream(kind, CLIENT)
    assert {name for name, _ in sent} == names
    assert get_all(sent, "accept-encoding") == ["identity"]


def test_several_accept_lines_become_one() -> None:
    sent = head.to_upstream("manifest", CLIENT)
    assert get_all(sent, "accept") == [
        "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, */*;q=0.1"
    ]
    assert get(sent, "if-none-match") == f'"{DIGEST}"'


@pytest.mark.parametrize("headers", [(), (("accept", "*/*"),), (("accept", ""), ("accept", " "))])
def test_a_client_that_does_not_say_what_it_accepts_accepts_an_index_first(headers: Headers) -> None:
    assert head.accept(headers).startswith("application/vnd.oci.image.index.v1+json, ")
    assert "v1+prettyjws" not in head.accept(headers)


UPSTREAM: Headers = (
    ("content-type", "application/json; charset=utf-8"),
    ("content-length", "7"),
    ("content-length", "8"),
    ("content-range", "bytes 0-6/7"),
    ("docker-content-digest", DIGEST),
    ("etag", '"x"'),
    ("ratelimit-limit", "100"),
    ("ratelimit-remaining", "99"),
    ("docker-ratelimit-source", "1.2.3.4"),
    ("set-cookie", "a=b"),
    ("www-authenticate", "Bearer realm=x"),
    ("alt-svc", "h3"),
    ("location", "https://cdn.example/"),
    ("transfer-encoding", "chunked"),
    ("connection", "close"),
    ("strict-transport-security", "max-age=1"),
)
QUOTA = {"ratelimit-limit", "ratelimit-remaining", "docker-ratelimit-source"}
RECEIVED: dict[str, tuple[str, set[str]]] = {
    "manifest": ("manifest", {"content-type", "content-length", "docker-content-digest", "etag"} | QUOTA),
    "blob": (
        "blob",
        {"content-type", "content-length", "content-range", "docker-content-digest", "etag"} | QUOTA,
    ),
    "list": ("list", {"content-type"} | QUOTA),
}


@pytest.mark.parametrize(("kind", "names"), RECEIVED.values(), ids=RECEIVED.keys())
def test_a_client_sees_only_what_is_on_the_list_and_each_once(kind: str, names: set[str]) -> None:
    received = head.from_upstream(kind, UPSTREAM)
    assert sorted(name for name, _ in received) == sorted(names)


MEDIA = [
    (None, ""),
    ("", ""),
    ("application/json; charset=utf-8", "application/json"),
    (" Application/JSON ;x", "application/json"),
]


@pytest.mark.parametrize(("content_type", "expected"), MEDIA)
def test_a_media_type_has_no_parameters(content_type: str | None, expected: str) -> None:
    assert head.media_type(content_type) == expected


@pytest.mark.parametrize(
    ("value", "quoted"),
    [("x", '"x"'), (' "x" ', '"x"'), ('W/"x"', 'W/"x"'), ("*", "*"), ('"x", "y"', '"x", "y"')],
)
def test_a_bare_entity_tag_is_quoted(value: str, quoted: str) -> None:
    assert head.quote_etag(value) == quoted


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
