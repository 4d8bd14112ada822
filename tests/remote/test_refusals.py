"""What clients are told of what upstreams did: who, what, and what to do about it."""

import pytest

from hubferry.core.errors import Asked, Code, OciError
from hubferry.core.http import Headers
from hubferry.ports.content import NotKept
from hubferry.ports.upstream import Cause, UpstreamFailure
from hubferry.remote.refusals import refuse_encoded, refused, unreachable, unusable

ASKED = Asked("ghcr.io", "a/b", "1.0")


@pytest.mark.parametrize("cause", [cause for cause in Cause if cause is not Cause.WRONG])
def test_an_upstream_that_cannot_be_reached_is_503_with_who_why_and_what_to_do(cause: Cause) -> None:
    error = unreachable("ghcr.io", UpstreamFailure(cause, "cdn.example", "the detail"))
    assert (error.status, error.code, error.headers) == (503, Code.UNAVAILABLE, (("retry-after", "5"),))
    assert error.message.startswith("ghcr.io cannot be reached from this gateway: cdn.example: ")
    assert f"{cause.value}: the detail; " in error.message
    assert error.detail == {"upstream": "ghcr.io", "cause": cause.name.lower()}
    others = {Cause.PROXY: "check the proxy that is set", Cause.ADDRESS: "set allow_private_addresses"}
    advice = others.get(cause, "set a mirror or, on a server, a proxy")
    assert error.message.partition("the detail; ")[2].count(advice) == 1


def test_an_upstream_that_gave_wrong_bytes_was_reached_and_is_502() -> None:
    error = unreachable("ghcr.io", UpstreamFailure(Cause.WRONG, "cdn.example", "another digest"))
    assert (error.status, error.code, error.headers) == (502, Code.UNKNOWN, ())
    assert "ghcr.io gave something that cannot be delivered: another digest; try again" in error.message
    assert error.detail == {"upstream": "ghcr.io", "cause": "wrong"}


def test_what_a_cache_could_not_give_is_told_as_any_failure() -> None:
    assert unreachable("ghcr.io", NotKept(Cause.CUT, "ghcr.io", "its disk failed")).status == 503


def test_what_must_not_be_delivered_is_502_and_named() -> None:
    error = unusable(ASKED, "it is a web page")
    assert (error.status, error.code) == (502, Code.UNKNOWN)
    assert error.message == "ghcr.io gave something for ghcr.io/a/b:1.0 that cannot be delivered: it is a web page"
    assert error.detail == {"upstream": "ghcr.io", "problem": "it is a web page"}


def test_what_is_not_followed_is_502_and_names_the_settings_that_allow_it() -> None:
    error = refused("ghcr.io", "a redirect to the private address 10.0.0.1")
    assert (error.status, error.code, error.detail) == (502, Code.UNKNOWN, {"upstream": "ghcr.io"})
    assert error.message.startswith("ghcr.io answered with a redirect to the private address 10.0.0.1: not followed")
    assert "allow_private_addresses" in error.message
    assert "realm_hosts" in error.message


ENCODINGS: dict[str, tuple[Headers, str | None]] = {
    "none": ((), None),
    "empty": ((("content-encoding", ""),), None),
    "identity": ((("content-encoding", "identity"),), None),
    "identity in another case": ((("content-encoding", " Identity "),), None),
    "gzip": ((("content-encoding", "gzip"),), "(gzip)"),
    "two": ((("content-encoding", "identity, br"),), "(identity, br)"),
    "a long one is cut": ((("content-encoding", "x" * 40),), f"({'x' * 32})"),
    "a type is none": ((("content-type", "application/gzip"),), None),
}


@pytest.mark.parametrize(("headers", "words"), ENCODINGS.values(), ids=ENCODINGS.keys())
def test_an_encoding_that_nobody_asked_for_is_refused(headers: Headers, words: str | None) -> None:
    if words is None:
        refuse_encoded("ghcr.io", headers)
        return
    with pytest.raises(OciError) as raised:
        refuse_encoded("ghcr.io", headers)
    assert raised.value.status == 502
    assert f"ghcr.io sent an encoded body {words} " in raised.value.message
