"""Transcripts of upstream exchanges: what is sent, what comes back, what is sent next.

    > a request of ours (with the Authorization it carries)
    < what the upstream answers

Each test reads from top to bottom as the conversation does.
"""

import pytest

from hubferry.core.challenge import Challenge
from hubferry.core.exchange import Authenticate, Deliver, Exchange, Fail, Send, Step, choose
from hubferry.core.http import Headers, get, get_all
from hubferry.core.redirect import Trust

HUB = "https://registry-1.docker.io"
BLOB = f"{HUB}/v2/library/nginx/blobs/sha256:aa"
CDN = "https://cdn.example.net/signed?x=1"
REALM = "https://auth.docker.io/token"
BEARER = f'Bearer realm="{REALM}",service="registry.docker.io",scope="repository:library/nginx:pull"'
KNOWN = Challenge("bearer", (("realm", REALM),))
ACCEPT = (("accept", "*/*"),)
CLOSED = Trust()


class Talk:
    """One exchange, step by step; every method asserts that it is its turn."""

    def __init__(self, trust: Trust = CLOSED, *, known: Challenge | None = None, url: str = BLOB) -> None:
        self._exchange = Exchange("GET", url, ACCEPT, trust, known=known)
        self._step: Step = self._exchange.begin()

    def sends(self, url: str, authorization: str | None = None) -> None:
        """> GET url"""
        assert isinstance(self._step, Send), self._step
        assert self._step.url == url
        assert self._step.method == "GET"
        lines = get_all(self._step.headers, "authorization")
        assert lines == ([] if authorization is None else [authorization])
        assert get(self._step.headers, "accept") == "*/*"

    def hears(self, status: int, *lines: str, location: str | None = None) -> None:
        """< status, with a WWW-Authenticate line for each of `lines`"""
        assert isinstance(self._step, Send), self._step
        headers: Headers = tuple(("www-authenticate", line) for line in lines)
        if location is not None:
            headers = (*headers, ("location", location))
        self._step = self._exchange.received(status, headers)

    def asks_for_a_token(self, challenger: str, *, refused: str = "", anonymous: bool = False) -> Challenge:
        assert isinstance(self._step, Authenticate), self._step
        assert self._step.challenger == challenger
        assert self._step.refused == refused
        assert self._step.anonymous is anonymous
        return self._step.challenge

    def obtains(self, value: str | None, *, fresh: bool = True) -> None:
        assert isinstance(self._step, Authenticate), self._step
        self._step = self._exchange.authorized(value, fresh=fresh)

    def delivers(self, url: str = BLOB) -> None:
        assert self._step == Deliver(url)

    def fails(self, words: str) -> None:
        assert isinstance(self._step, Fail), self._step
        assert words in self._step.reason


@pytest.mark.parametrize("status", [200, 206, 304, 400, 403, 404, 416, 429, 500, 503])
def test_any_status_that_is_no_challenge_and_no_redirect_is_the_answer(status: int) -> None:
    talk = Talk()
    talk.sends(BLOB)
    talk.hears(status, location="https://elsewhere.example/")
    talk.delivers()


def test_a_challenge_is_answered_with_a_token_and_the_redirect_loses_it() -> None:
    talk = Talk()
    talk.sends(BLOB)
    talk.hears(401, BEARER)
    assert talk.asks_for_a_token(BLOB).param("realm") == REALM
    talk.obtains("Bearer T1")
    talk.sends(BLOB, "Bearer T1")
    talk.hears(307, location=CDN)
    talk.sends(CDN)
    talk.hears(200)
    talk.delivers(CDN)


def test_a_known_challenge_brings_the_token_with_the_first_request() -> None:
    talk = Talk(known=KNOWN)
    talk.asks_for_a_token(BLOB)
    talk.obtains("Bearer T1", fresh=False)
    talk.sends(BLOB, "Bearer T1")
    talk.hears(200)
    talk.delivers()


def test_a_known_challenge_without_a_token_is_tried_anonymously_and_asked_about_once_more() -> None:
    talk = Talk(known=Challenge("basic"))
    talk.asks_for_a_token(BLOB)
    talk.obtains(None)
    talk.sends(BLOB)
    talk.hears(401, "Basic realm=x")
    talk.asks_for_a_token(BLOB)
    talk.obtains(None)
    talk.delivers()


def test_a_challenge_that_nobody_can_answer_is_the_answer() -> None:
    talk = Talk()
    talk.hears(401, "Basic realm=x")
    talk.asks_for_a_token(BLOB)
    talk.obtains(None)
    talk.delivers()


@pytest.mark.parametrize("lines", [(), ("Negotiate",), ("Bearer",), ("Bearer realm=",), ("\x00",), ("Digest realm=x",)])
def test_a_401_without_a_readable_challenge_is_the_answer(lines: tuple[str, ...]) -> None:
    talk = Talk()
    talk.hears(401, *lines)
    talk.delivers()


def test_a_fresh_token_that_is_refused_is_not_renewed() -> None:
    talk = Talk()
    talk.hears(401, BEARER)
    talk.obtains("Bearer T1")
    talk.sends(BLOB, "Bearer T1")
    talk.hears(401, BEARER)
    talk.delivers()


def test_a_kept_token_that_is_refused_is_renewed_once_and_named_as_refused() -> None:
    talk = Talk(known=KNOWN)
    talk.obtains("Bearer OLD", fresh=False)
    talk.sends(BLOB, "Bearer OLD")
    talk.hears(401, BEARER)
    talk.asks_for_a_token(BLOB, refused="Bearer OLD")
    talk.obtains("Bearer NEW")
    talk.sends(BLOB, "Bearer NEW")
    talk.hears(401, BEARER)
    talk.delivers()


def test_two_kept_tokens_that_are_refused_are_enough() -> None:
    talk = Talk()
    for value in ("Bearer A", "Bearer B"):
        talk.hears(401, BEARER)
        talk.obtains(value, fresh=False)
        talk.sends(BLOB, value)
    talk.hears(401, BEARER)
    talk.delivers()


def test_a_401_after_a_redirect_elsewhere_is_answered_without_anybodys_credential() -> None:
    talk = Talk()
    talk.hears(401, BEARER)
    talk.obtains("Bearer HOME")
    talk.hears(307, location=CDN)
    talk.sends(CDN)
    talk.hears(401, 'Bearer realm="https://cdn.example.net/token"')
    talk.asks_for_a_token(CDN, anonymous=True)
    talk.obtains("Bearer ANON")
    talk.sends(CDN, "Bearer ANON")
    talk.hears(401, 'Bearer realm="https://cdn.example.net/token"')
    talk.delivers(CDN)


def test_each_origin_gets_its_own_authorization_when_redirects_go_back_and_forth() -> None:
    talk = Talk()
    talk.hears(401, BEARER)
    talk.obtains("Bearer HOME")
    talk.hears(302, location=CDN)
    talk.hears(401, 'Bearer realm="https://cdn.example.net/token"')
    talk.obtains("Bearer CDN")
    talk.sends(CDN, "Bearer CDN")
    talk.hears(302, location=f"{HUB}/again")
    talk.sends(f"{HUB}/again", "Bearer HOME")
    talk.hears(302, location="https://third.example/")
    talk.sends("https://third.example/")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_relative_location_stays_on_the_origin_and_keeps_its_token(status: int) -> None:
    talk = Talk(known=KNOWN)
    talk.obtains("Bearer T")
    talk.hears(status, location="/v2/moved?x=1#part")
    talk.sends(f"{HUB}/v2/moved?x=1", "Bearer T")


@pytest.mark.parametrize(
    ("start", "location"),
    [
        pytest.param("https://reg.example/x", "https://reg.example:8443/x", id="port"),
        pytest.param("https://reg.example/x", "https://reg2.example/x", id="host"),
        pytest.param("https://reg.example/x", "https://reg.example.evil.example/x", id="our host in front"),
        pytest.param("https://reg.example/x", "https://cdn.reg.example/x", id="subdomain"),
        pytest.param("https://reg.example/x", "//cdn.example.net/x", id="network-path reference"),
        pytest.param("https://reg.example/x", "https://reg.example./x", id="trailing dot"),
        pytest.param("http://reg.example/x", "https://reg.example/x", id="upgraded scheme"),
        pytest.param("http://reg.example:443/x", "https://reg.example:443/x", id="scheme on the same port"),
    ],
)
def test_authorization_is_dropped_on_any_change_of_scheme_host_or_port(start: str, location: str) -> None:
    talk = Talk(Trust(allow_http=True), known=KNOWN, url=start)
    talk.obtains("Bearer T")
    talk.sends(start, "Bearer T")
    talk.hears(307, location=location)
    talk.sends(location if location.startswith("http") else f"https:{location}")


@pytest.mark.parametrize(
    "location",
    ["https://registry-1.docker.io:443/x", "https://REGISTRY-1.docker.io/x", "HTTPS://registry-1.docker.io/x"],
)
def test_another_spelling_of_the_same_origin_keeps_the_token(location: str) -> None:
    exchange = Exchange("GET", BLOB, ACCEPT, Trust(), known=KNOWN)
    exchange.begin()
    exchange.authorized("Bearer T")
    step = exchange.received(307, (("location", location),))
    assert isinstance(step, Send)
    assert get(step.headers, "authorization") == "Bearer T"


def test_five_redirects_are_followed_and_the_sixth_is_refused() -> None:
    talk = Talk()
    for hop in range(5):
        talk.hears(302, location=f"/hop/{hop}")
        talk.sends(f"{HUB}/hop/{hop}")
    talk.hears(302, location="/hop/5")
    talk.fails("more than 5 redirects")


def test_a_redirect_to_itself_ends() -> None:
    talk = Talk()
    for _ in range(5):
        talk.hears(302, location=BLOB)
        talk.sends(BLOB)
    talk.hears(302, location=BLOB)
    talk.fails("more than 5 redirects")


def test_challenges_between_redirects_do_not_reset_the_count() -> None:
    talk = Talk()
    for hop in range(5):
        talk.hears(302, location=f"https://h{hop}.example/")
        talk.hears(401, f'Bearer realm="https://h{hop}.example/t"')
        talk.obtains(f"Bearer {hop}")
        talk.sends(f"https://h{hop}.example/", f"Bearer {hop}")
    talk.hears(302, location="https://h9.example/")
    talk.fails("more than 5 redirects")


@pytest.mark.parametrize(
    ("location", "words"),
    [
        pytest.param(None, "without a Location", id="missing Location"),
        pytest.param("", "without a Location", id="empty Location"),
        pytest.param("http://cdn.example.net/x", "plain http", id="https to http"),
        pytest.param("http://169.254.169.254/latest/meta-data/", "plain http", id="metadata over http"),
        pytest.param("https://169.254.169.254/latest/meta-data/", "private", id="metadata"),
        pytest.param("https://[::ffff:127.0.0.1]/", "private", id="IPv4-mapped IPv6"),
        pytest.param("https://2130706433/", "odd address", id="decimal IPv4"),
        pytest.param("https://user@cdn.example.net/", "credentials", id="userinfo"),
        pytest.param("https:\\\\evil.example\\", "characters", id="backslashes"),
        pytest.param("ftp://cdn.example.net/", "neither https nor http", id="another scheme"),
        pytest.param("https://[bad/", "no URL", id="no URL"),
    ],
)
def test_a_redirect_somewhere_we_do_not_go_fails_the_exchange(location: str | None, words: str) -> None:
    talk = Talk()
    talk.hears(307, location=location)
    talk.fails(words)


def test_an_https_exchange_never_continues_over_http_even_where_http_is_allowed() -> None:
    talk = Talk(Trust(allow_http=True))
    talk.hears(307, location="http://cdn.example.net/x")
    talk.fails("plain http")


def test_the_first_of_two_locations_counts() -> None:
    step = Exchange("GET", BLOB, ACCEPT, Trust()).received(302, (("location", "/a"), ("location", "/b")))
    assert isinstance(step, Send)
    assert step.url == f"{HUB}/a"


CHOICES = [
    pytest.param([], None, id="none"),
    pytest.param([Challenge("basic"), KNOWN], KNOWN, id="bearer before basic"),
    pytest.param([Challenge("bearer"), Challenge("basic")], Challenge("basic"), id="a bearer without realm is none"),
    pytest.param([Challenge("digest"), Challenge("negotiate")], None, id="others are not for us"),
]


@pytest.mark.parametrize(("challenges", "chosen"), CHOICES)
def test_bearer_with_a_realm_is_chosen_before_basic(challenges: list[Challenge], chosen: Challenge | None) -> None:
    assert choose(challenges) == chosen


def test_neither_headers_nor_authorizations_show_in_representations() -> None:
    send = Send("GET", BLOB, (("authorization", "Bearer SECRET"),))
    ask = Authenticate(BLOB, KNOWN, refused="Bearer SECRET")
    assert "SECRET" not in repr(send) + repr(ask)
