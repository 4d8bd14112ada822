"""What was seen on the way to an upstream or gateway -> a mark, and what to do."""

import pytest

from hubferry.core.diagnosis import REMEDIES, Failure, Seen, Side, judge_failure, judge_names, judge_registry
from hubferry.ports.upstream import Cause

HTML = (("content-type", "text/html; charset=utf-8"),)
JSON = (("content-type", "application/json"),)
BEARER = (("www-authenticate", 'Bearer realm="https://auth.test/token",service="r"'),)

NAMES: dict[str, tuple[list[str], bool, str, str]] = {
    "public": (["44.208.254.194", "2600:1f18::1"], False, "ok", ""),
    "fake-ip of Clash": (["198.18.0.7"], False, "failed", "fake-ip"),
    "fake-ip at the end of the range": (["198.19.255.255"], False, "failed", "fake-ip"),
    "fake-ip of IPv6": (["fc00::7"], False, "failed", "fake-ip"),
    "blocked": (["0.0.0.0"], False, "failed", "blocks it"),
    "blocked with loopback": (["::1"], False, "failed", "blocks it"),
    "private": (["10.0.0.7"], False, "failed", "private or special address"),
    "private, and allowed": (["10.0.0.7"], True, "ok", ""),
    "one of two is private": (["44.208.254.194", "192.168.1.1"], False, "failed", "192.168.1.1"),
    "false, Facebook's": (["157.240.7.5"], False, "failed", "false DNS answers"),
    "false, also where private ones are allowed": (["162.125.32.5"], True, "failed", "false DNS answers"),
    "false, Teredo": (["2001::1"], False, "failed", "false DNS answers"),
}


@pytest.mark.parametrize(("addresses", "allow_private", "mark", "words"), NAMES.values(), ids=NAMES.keys())
def test_names(addresses: list[str], allow_private: bool, mark: str, words: str) -> None:
    found = judge_names("names", "registry.test", addresses, allow_private=allow_private)
    assert (found.mark, bool(found.remedy)) == (mark, mark != "ok")
    assert words in found.text


REGISTRY: dict[str, tuple[int, tuple[tuple[str, str], ...], bytes, str, str]] = {
    "a challenge": (401, BEARER, b"{}", "ok", "with a challenge (bearer)"),
    "open": (200, JSON, b"{}", "ok", "without a challenge"),
    "open, without a type": (200, (), b"", "ok", "without a challenge"),
    "a captive portal": (200, HTML, b"<!doctype html>", "failed", "captive portal"),
    "a portal that hides its type": (200, (), b"\n <html>", "failed", "captive portal"),
    "a redirect that is not followed": (302, (), b"", "failed", "a redirect that is not followed"),
    "401 of a proxy": (401, (("www-authenticate", "Negotiate"),), b"", "failed", "without a challenge"),
    "a firewall's page": (403, HTML, b"<html>", "failed", "which no registry does"),
    "no registry": (404, JSON, b"{}", "failed", "which no registry does"),
    "too many": (429, JSON, b"{}", "warning", "too many requests"),
    "broken": (503, HTML, b"<html>", "failed", "503"),
}


@pytest.mark.parametrize(("status", "headers", "beginning", "mark", "words"), REGISTRY.values(), ids=REGISTRY.keys())
def test_registry(status: int, headers: tuple[tuple[str, str], ...], beginning: bytes, mark: str, words: str) -> None:
    sides: tuple[Side, ...] = ("upstream", "gateway")
    for side in sides:
        found = judge_registry("registry", side, Seen("https://u:geheim@r.test/v2/", status, headers, beginning))
        assert (found.mark, bool(found.remedy)) == (mark, mark != "ok")
        assert words in found.text
        assert "geheim" not in found.text


TLS = {
    "certificate: Hostname mismatch, certificate is not valid for 'r.test'.": "other name",
    "certificate: IP address mismatch, certificate is not valid for '127.0.0.1'.": "other name",
    "certificate: self-signed certificate in certificate chain": "unknown authority",
    "certificate: unable to get local issuer certificate": "unknown authority",
    "certificate: certificate has expired": "out of date",
    "certificate: certificate is not yet valid": "out of date",
    "WRONG_VERSION_NUMBER": "TLS",
}


@pytest.mark.parametrize(("detail", "kind"), TLS.items())
@pytest.mark.parametrize("side", ["upstream", "gateway"])
def test_tls(detail: str, kind: str, side: Side) -> None:
    found = judge_failure("connection", side, Failure("TLS", "r.test", "r.test: TLS failed", detail))
    assert (found.mark, found.remedy) == ("failed", REMEDIES[side][kind])


@pytest.mark.parametrize("cause", Cause)
@pytest.mark.parametrize("side", ["upstream", "gateway"])
def test_every_cause_has_a_remedy(cause: Cause, side: Side) -> None:
    assert judge_failure("connection", side, Failure(cause.name, "r.test", "it failed")).remedy


def test_texts_of_others_do_not_control_a_terminal() -> None:
    assert "\x1b" not in judge_failure("connection", "upstream", Failure("TCP", "r.test", "\x1b[2J")).text


def test_an_address_that_is_not_dialled_is_explained() -> None:
    """Such as that of a token service or a CDN, whose names are looked up on the way."""
    failure = Failure("ADDRESS", "cdn.test", "cdn.test: no", "the private or special address 198.18.0.9")
    assert "Clash" in judge_failure("content", "upstream", failure).text
    failure = Failure("ADDRESS", "localhost", "localhost: no", "the private name localhost")
    assert "allow_private_addresses" in judge_failure("content", "upstream", failure).remedy
