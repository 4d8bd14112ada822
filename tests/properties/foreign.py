"""Every parser of what clients, upstreams, token services and files say, each as a function of one text.

Whatever a parser may raise for a text is caught here: anything else is a defect. `limit` is the length up to which
its caller lets a text come.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any, cast

from hubferry.core import headers as head
from hubferry.core.access import Credential
from hubferry.core.access_values import AccessRules, Groups, Issuer
from hubferry.core.archive import parse_image_parts
from hubferry.core.challenge import parse_challenges
from hubferry.core.client import behind_proxy, check_request
from hubferry.core.descriptors import parse_contents
from hubferry.core.documents import parse_json
from hubferry.core.errors import Asked, OciError, relay_error
from hubferry.core.exchange import Send, choose
from hubferry.core.http import Request
from hubferry.core.image import parse_image
from hubferry.core.image_config import parse_config, parse_manifest_parts, parse_referrers, tidy_command
from hubferry.core.issuers import CheckedClaims, is_token, issuers_of, login_of
from hubferry.core.limit_values import ByteRate, RateSchedule, RequestRate
from hubferry.core.manifest import SCHEMA1_SIGNED, ManifestProblem, decide_media_type, parts_of, signed_payload
from hubferry.core.masking import mask_secrets
from hubferry.core.platforms import choose as choose_platforms
from hubferry.core.platforms import parse_platform
from hubferry.core.proxy_protocol import parse_proxy_header
from hubferry.core.quota import block_s, parse_quota
from hubferry.core.ranges import parse_content_range, parse_range
from hubferry.core.redirect import Trust, decide_hop, decide_realm
from hubferry.core.reference import check_reference, check_repository, normal_host
from hubferry.core.referrers import subject_of
from hubferry.core.routing import parse_endpoint
from hubferry.core.rules import parse_pattern
from hubferry.core.scope import narrow_upstream_scope, parse_scopes
from hubferry.core.search_results import parse_search, to_docker_form
from hubferry.core.settings import UpstreamSettings
from hubferry.core.tag_order import sort_tags
from hubferry.core.tags import Page, decide_page, next_last, parse_page, parse_tags
from hubferry.core.token_request import from_form, parse_basic
from hubferry.core.users import parse_secrets, parse_users, split_password, take_secret_from_path
from hubferry.remote.tokens import parse_token
from hubferry.server.seal import BEGINNING, JweSealer
from hubferry.store.partial import expected_bytes
from hubferry.transport.http1 import Broken, ProtocolError, send_request
from hubferry.transport.wire import Wire

__all__ = ["DOCUMENTS", "FRAMING", "TEXTS", "Parser"]

HEADER = 64 * 1024
REFUSALS = (ValueError, OciError, ManifestProblem)
_ASKED = Asked("a.test", "b", "c")
_SEALER = JweSealer(bytes(32))
_PROXIES = [ip_network("127.0.0.0/8")]
_SECRET = "hubferry_" + "0" * 40
_ISSUER = Issuer("a", "b", "c", (("sub", "*"),))


@dataclass(frozen=True)
class Parser:
    """A parser, how long its texts may be, and how such texts begin that get far."""

    parse: Callable[[Any], object]
    limit: int = HEADER
    beginnings: tuple[str, ...] = ("",)

    def __call__(self, text: Any) -> None:
        with contextlib.suppress(*REFUSALS):
            self.parse(text)


def _request(name: str, value: str) -> Request:
    return Request("GET", "/v2/", "", ((name, value),), "http", "a.test", "127.0.0.1")


def _accept(text: str) -> str:
    return head.accept((("accept", text),))


def _finished(work: Coroutine[Any, Any, object]) -> object:
    """The result of what never waits for anything."""
    return asyncio.run(work)


def _choose(body: bytes) -> None:
    entries = parse_contents(body).manifests
    for wanted in ("linux/amd64", "windows/amd64", "linux/arm/v7"):
        choose_platforms(entries, [parse_platform(wanted)])


def _page(body: bytes) -> None:
    tags = parse_tags(body)
    decide_page(Page(None, ""), tags, "")
    decide_page(Page(3, "a"), tags, "")


def _tokens(header: str) -> None:
    found = choose(parse_challenges([header, header]))
    if found is not None:
        narrow_upstream_scope(found.param("scope"), "a/b")


def _claims(body: bytes) -> None:
    claims = parse_json(body)
    if isinstance(claims, dict):
        login_of(_ISSUER, CheckedClaims(claims), 0.0)


def _match(text: str) -> None:
    upstreams = {"a.test": UpstreamSettings(url="https://a.test")}
    pattern = parse_pattern(text, upstreams)
    for image in (["a.test", "a"], ["a.test", "a", "b"], ["a.test", *"abababab"]):
        pattern.matches(image, "latest", without_tag=True)


def _password(text: str) -> None:
    split_password(Credential("a", text))
    if is_token(text):
        issuers_of(text, (_ISSUER,))


def _domain(host: str) -> str | None:
    return host


DOCUMENTS = {
    "JSON": Parser(parse_json),
    "JSON with names once": Parser(lambda body: parse_json(body, unique=True)),
    "manifest": Parser(lambda body: decide_media_type("application/json", body)),
    "its parts": Parser(parts_of),
    "its descriptors": Parser(parse_contents),
    "its parts, for a file": Parser(parse_image_parts),
    "its platforms": Parser(_choose),
    "its layers for people": Parser(parse_manifest_parts),
    "a config for people": Parser(parse_config),
    "referrers for people": Parser(parse_referrers),
    "search results": Parser(lambda body: (parse_search(body), to_docker_form(body, "a"))),
    "signed manifest": Parser(signed_payload),
    "schema 1": Parser(lambda body: decide_media_type(SCHEMA1_SIGNED, body)),
    "tags": Parser(_page),
    "token": Parser(lambda body: parse_token("a.test", body)),
    "users": Parser(lambda body: parse_users(body.decode("utf-8", "replace"))),
    "secrets": Parser(lambda body: parse_secrets(body.decode("utf-8", "replace"))),
    "claims": Parser(_claims),
    "PROXY header": Parser(parse_proxy_header),
}

TEXTS = {
    "Link": Parser(next_last, beginnings=("", "<", "</x?last=", '</x>; rel="next"')),
    "WWW-Authenticate": Parser(_tokens, beginnings=("", "Bearer ", 'Bearer realm="', "Bearer realm=")),
    "Content-Range": Parser(parse_content_range, beginnings=("", "bytes ", "bytes 0-1/")),
    "Range": Parser(parse_range, beginnings=("", "bytes=", "bytes=0-")),
    "Accept": Parser(
        lambda text: (head.accepts(_accept(text), "a/b"), head.manifest_types(_accept(text))),
    ),
    "If-None-Match": Parser(lambda text: head.etag_matches(text, "sha256:0"), beginnings=("", 'W/"')),
    "Content-Type": Parser(head.media_type),
    "RateLimit": Parser(
        lambda text: parse_quota((("ratelimit-limit", text), ("ratelimit-remaining", text))),
        beginnings=("", "100;w="),
    ),
    "Retry-After": Parser(
        lambda text: block_s((("retry-after", text), ("date", text)), 0.0, 0),
        beginnings=("", "Wed, ", "Wed, 21 Oct 2015 07:28:00 ", "Wed, 21 Oct "),
    ),
    "headers of an error": Parser(lambda text: relay_error(429, (("retry-after", text),), _ASKED)),
    "Location": Parser(
        lambda text: decide_hop("https://a.test/v2/", text, 0, Trust()),
        beginnings=("", "https://", "https://a.test/", "//", "https://[", "https://a.test:"),
    ),
    "realm": Parser(
        lambda text: decide_realm("https://a.test/", text, Trust(), _domain),
        beginnings=("", "https://", "https://a.test/", "https://["),
    ),
    "Forwarded": Parser(
        lambda text: check_request(behind_proxy(_request("x-forwarded-for", text), _PROXIES)),
        beginnings=("", "127.0.0.1,"),
    ),
    "Origin": Parser(lambda text: check_request(_request("origin", text))),
    "Host": Parser(normal_host, beginnings=("", "a.", "[", "a:")),
    "path": Parser(
        lambda text: parse_endpoint("GET", text, ""),
        beginnings=("", "/v2/", "/v2/a/manifests/", "/v2/a/tags/list/"),
    ),
    "query": Parser(lambda text: parse_endpoint("GET", "/v2/", text), beginnings=("", "ns=", "n=1&")),
    "n": Parser(lambda text: parse_page(text, text)),
    "repository": Parser(check_repository),
    "reference": Parser(check_reference, beginnings=("", "sha256:")),
    "tag of referrers": Parser(subject_of, beginnings=("", "sha256-")),
    "Basic": Parser(parse_basic, beginnings=("", "Basic ")),
    "password": Parser(_password, limit=16 * 1024, beginnings=("", _SECRET, f"{_SECRET}:", "eyJ", "eyJhIjoiYiJ9.e30.")),
    "secret in the path": Parser(
        lambda text: take_secret_from_path(Request("GET", text, "", (), "http", "a.test", "127.0.0.1")),
        beginnings=("", "/hubferry_", f"/{_SECRET}", f"/{_SECRET}/v2/"),
    ),
    "masking": Parser(mask_secrets, beginnings=("", "hubferry_", _SECRET)),
    "rate of requests": Parser(RequestRate.parse, limit=1024, beginnings=("", "1/", "10/s")),
    "rate of bytes": Parser(ByteRate.parse, limit=1024, beginnings=("", "1MiB/", "1MiB/s")),
    "schedule": Parser(
        lambda text: RateSchedule.parse([{"from": text, "to": text, "total_rate": "1MiB/s"}]),
        limit=1024,
        beginnings=("", "12:", "12:00"),
    ),
    "rules": Parser(AccessRules.parse, limit=4096, beginnings=("", "[", '[{"who":["', '[{"what":["*"],"allow":true}')),
    "groups": Parser(Groups.parse, limit=4096, beginnings=("", "{", '{"a":["b')),
    "pattern": Parser(_match, limit=1024, beginnings=("", "a.test/", "a.test/**/", "a.test/*:")),
    "form": Parser(
        lambda text: from_form(text.encode(), None),
        limit=16 * 1024,
        beginnings=("", "grant_type=password&scope=", "grant_type=password&username="),
    ),
    "scopes": Parser(
        lambda text: (parse_scopes([text]), narrow_upstream_scope(text, "a")),
        limit=16 * 1024,
        beginnings=("", "repository:a:"),
    ),
    "sealed token": Parser(
        lambda text: _finished(_SEALER.open(text)), limit=16 * 1024, beginnings=("", BEGINNING, "e30..")
    ),
    "image": Parser(
        lambda text: parse_image(text, {"docker.io": UpstreamSettings(url="https://a.test")}, "docker.io"),
        beginnings=("", "docker.io/", "a@sha256:"),
    ),
    "command of a layer": Parser(tidy_command, beginnings=("", "|1 ", "RUN /bin/sh -c ")),
    "order of tags": Parser(
        lambda text: sort_tags([text, text[1:]]), limit=1024, beginnings=("", "1.", "1-", "sha256-")
    ),
    "platform": Parser(parse_platform, beginnings=("", "linux/")),
    "sidecar": Parser(lambda text: _sidecar(text.encode("utf-8", "replace"))),
}


def _sidecar(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "blob"
        file.with_name("blob.json").write_bytes(content)
        expected_bytes(file)


class _Script:
    """A connection on which an answer arrives in pieces."""

    has_proper_ends, ended_cleanly = False, True

    def __init__(self, answer: bytes, piece_bytes: int) -> None:
        self._pieces = (answer[at : at + piece_bytes] for at in range(0, len(answer), piece_bytes))

    async def send(self, _: bytes) -> None:
        """Nothing is looked at."""

    async def receive(self, _at_most_bytes: int = 0) -> bytes:
        return next(self._pieces, b"")


async def _read_answer(answer: bytes, piece_bytes: int) -> None:
    with contextlib.suppress(Broken, ProtocolError):
        wire = cast("Wire", _Script(answer, piece_bytes))
        reply = await send_request(wire, "/", "a.test", Send("GET", "http://a.test/", ()))
        while await reply.next_piece() is not None:
            pass


FRAMING = {
    "answer at once": Parser(lambda answer: _finished(_read_answer(answer, 2**20))),
    "answer in pieces": Parser(lambda answer: _finished(_read_answer(answer, 1000))),
}
