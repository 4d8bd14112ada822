"""Case tables of core.reference: the grammar, and everything that is not in it."""

import pytest

from hubferry.core import reference
from hubferry.core.errors import Code, OciError

SHA256 = "sha256:" + "a" * 64
SHA512 = "sha512:" + "b" * 128


@pytest.mark.parametrize(
    ("path", "decoded"),
    [("/v2/a", "/v2/a"), ("/v2/%61", "/v2/a"), ("/v2/a%3Ab", "/v2/a:b"), ("/v2/%2e%2E", "/v2/.."), ("", "")],
)
def test_a_path_is_decoded_exactly_once(path: str, decoded: str) -> None:
    assert reference.decode_path(path) == decoded


@pytest.mark.parametrize(
    "path",
    ["/a%2fb", "/a%2Fb", "/a%5cb", "/a%5Cb", "/a%", "/a%2", "/a%zz", "/a%00", "/a%0d%0aX", "/a\x00",
     "/a\r\n", "/ä",
     "/%c3%a4", "/a%7f", "/a\x7f"],
)  # fmt: skip
def test_a_path_with_smuggled_characters_is_refused(path: str) -> None:
    with pytest.raises(OciError) as caught:
        reference.decode_path(path)
    assert (caught.value.status, caught.value.code) == (400, Code.NAME_INVALID)


@pytest.mark.parametrize("path", ["/a%252fb", "/a%25252fb"])
def test_a_doubly_encoded_slash_stays_encoded_and_is_no_name(path: str) -> None:
    decoded = reference.decode_path(path)
    assert decoded.count("/") == 1
    with pytest.raises(OciError):
        reference.check_repository(decoded[1:])


@pytest.mark.parametrize(
    "name", ["a", "library/nginx", "a.b_c__d-e---f/g0", "0", "a/b/c/d/e/f", "a" * 255, "a/" * 127 + "a"]
)
def test_a_name_of_the_grammar_is_a_repository(name: str) -> None:
    assert reference.check_repository(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "A", "a/", "/a", "a//b", ".", "..", "a/../b", "a/./b", ".a", "a.", "-a", "a-", "_a", "a_", "a..b",
     "a___b",
     "a._b", "a b", "a:b", "a@b", "a%2fb", "a\\b", "a\n", "ä", "a/B", "a\x00", "\u0430", "a?b"],
)  # fmt: skip
def test_a_name_that_breaks_the_grammar_is_refused(name: str) -> None:
    with pytest.raises(OciError) as caught:
        reference.check_repository(name)
    assert (caught.value.status, caught.value.code) == (400, Code.NAME_INVALID)


@pytest.mark.parametrize(
    ("length", "registry", "fits"), [(255, "", True), (256, "", False), (251, "r.x", True), (252, "r.x", False)]
)
def test_a_name_counts_with_its_registry_and_has_255_characters(length: int, registry: str, fits: bool) -> None:
    if fits:
        reference.check_repository("a" * length, registry)
        return
    with pytest.raises(OciError, match="longer than 255"):
        reference.check_repository("a" * length, registry)


@pytest.mark.parametrize("digest", [SHA256, SHA512])
def test_sha256_and_sha512_are_digests(digest: str) -> None:
    assert reference.is_digest(digest)
    assert reference.check_digest(digest) == digest
    assert reference.check_reference(digest) == digest


@pytest.mark.parametrize(
    "text",
    ["sha256:", "sha256:" + "a" * 63, "sha256:" + "a" * 65, "sha256:" + "A" * 64, "sha256:" + "g" * 64,
     "md5:" + "a" * 32,
     "sha512:" + "a" * 64, SHA256 + "\n", " " + SHA256, "sha256:../../etc/passwd", "sha256:" + "\u0661" * 64],
)  # fmt: skip
def test_anything_else_with_a_colon_is_a_digest_that_is_refused(text: str) -> None:
    assert not reference.is_digest(text)
    for check in (reference.check_digest, reference.check_reference):
        with pytest.raises(OciError) as caught:
            check(text)
        assert (caught.value.status, caught.value.code) == (400, Code.DIGEST_INVALID)


@pytest.mark.parametrize("tag", ["latest", "1.27", "_x", "A", "a" * 128, "1.0-rc.1_x"])
def test_a_tag_of_the_grammar_is_a_reference(tag: str) -> None:
    assert reference.check_reference(tag) == tag


@pytest.mark.parametrize("tag", ["", ".a", "-a", "a" * 129, "a/b", "a b", "a\n", "ä", "..", "a%"])
def test_a_tag_that_breaks_the_grammar_is_refused(tag: str) -> None:
    with pytest.raises(OciError) as caught:
        reference.check_reference(tag)
    assert (caught.value.status, caught.value.code) == (400, Code.NAME_INVALID)


@pytest.mark.parametrize(
    "host",
    ["a", "hub.example.com", "hub.example.com:8443", "HUB.example.com", "hub.example.com.",
     "127.0.0.1:5000", "[::1]",
     "[::1]:5000", "a_b", "localhost"],
)  # fmt: skip
def test_a_name_or_address_with_or_without_a_port_is_a_host(host: str) -> None:
    assert reference.is_host(host)


@pytest.mark.parametrize(
    "host",
    ["", " ", "a b", "a/b", "a@b", "a:b", "a:", "a:123456", "-a", "a-", ".a", "ä", "a\n", "a\r\nb", "[",
     "[]", "[x]",
     "::1", "a,b", "a" * 256, "https://a", "a%b", "a?b", "a#b"],
)  # fmt: skip
def test_anything_else_is_no_host(host: str) -> None:
    assert not reference.is_host(host)


@pytest.mark.parametrize("host", ["[:]", "[::::]", "[1.2]"])
def test_brackets_without_an_address_are_no_host(host: str) -> None:
    assert not reference.is_host(host)


@pytest.mark.parametrize(
    ("text", "normal"),
    [("Docker.IO", "docker.io"), ("docker.io.", "docker.io"), ("index.docker.io", "docker.io"),
     ("registry-1.docker.io", "docker.io"), ("a:5000", "a:5000"), ("A.:5000", "a:5000"), ("[::1]", "[::1]"),
     ("[::1]:5000", "[::1]:5000"), ("docker.io:443", "docker.io:443"), ("a:", "a:"), ("\u212a8s.io", "\u212a8s.io")],
)  # fmt: skip
def test_registry_hosts_have_one_spelling(text: str, normal: str) -> None:
    assert reference.normal_host(text) == normal


@pytest.mark.parametrize(
    ("host", "bare"), [("a:1", "a"), ("a", "a"), ("[::1]:5000", "[::1]"), ("[::1]", "[::1]"), ("", "")]
)
def test_the_port_comes_off(host: str, bare: str) -> None:
    assert reference.host_without_port(host) == bare


@pytest.mark.parametrize(
    ("segment", "registry"),
    [
        ("ghcr.io", True),
        ("host:5000", True),
        ("localhost", True),
        ("library", False),
        ("localhos", False),
        ("", False),
        ("..", False),
        ("a..b:x", False),
    ],
)
def test_a_dot_a_colon_or_localhost_make_a_registry(segment: str, registry: bool) -> None:
    assert reference.names_registry(segment) is registry


@pytest.mark.parametrize(("name", "full"), [("nginx", "library/nginx"), ("gitlab/gitlab-ce", "gitlab/gitlab-ce")])
def test_single_names_are_completed_with_library(name: str, full: str) -> None:
    assert reference.complete_library(name) == full
