"""State machine of one upstream exchange: request -> challenge -> token -> retry -> redirect.

Pure (sans-IO): the shell carries out a step and reports what came of it; the machine answers with the next one.

    step = exchange.begin()
    Send          -> perform this one HTTP request      -> exchange.received(status, headers)
    Authenticate  -> obtain an authorization or None    -> exchange.authorized(value)
    Deliver       -> the last response is the answer
    Fail          -> the exchange ends with this error

Transitions on a response, first match wins:
    401, no authorization sent yet, readable challenge  -> Authenticate
    401, a cached token was sent                        -> Authenticate(refused=that token), once
    301 302 303 307 308                                 -> Send to the target, or Fail when refused
    anything else                                       -> Deliver
Not here: caching tokens (pull/upstream_tokens.py), meaning of a status for the client (errors.py).
"""

from dataclasses import dataclass, field

from hubferry.core.challenge import Challenge, parse_challenges
from hubferry.core.http import Headers, get, get_all
from hubferry.core.redirect import Refused, Trust, decide_hop, origin

REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Send:
    """Perform one HTTP request, without following redirects."""

    method: str
    url: str
    headers: Headers = field(repr=False)


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Obtain the value of an `Authorization` header for a challenge of `challenger` (a URL).

    `refused` is the authorization that was sent and answered with 401 (empty: none was), so that a renewal
    happens once for everybody who was refused the same token. With `anonymous`, a redirect led to another
    origin: no credential of anybody may be used there.
    """

    challenger: str
    challenge: Challenge
    refused: str = field(default="", repr=False)
    anonymous: bool = False


@dataclass(frozen=True, slots=True)
class Deliver:
    """The last response answers the request, whatever its status."""

    url: str


@dataclass(frozen=True, slots=True)
class Fail:
    """The upstream led to somewhere we do not go; `reason` says where."""

    reason: str


Step = Send | Authenticate | Deliver | Fail


class Exchange:
    """One request to one upstream, from the first Send to Deliver or Fail."""

    def __init__(
        self, method: str, url: str, headers: Headers, trust: Trust, *, known: Challenge | None = None
    ) -> None:
        self._method = method
        self._url = url
        self._headers = headers
        self._trust = trust
        self._hops = 0
        self._home = origin(url)
        self._known = known
        # authorizations by origin: what was obtained for one origin is sent to that origin only
        self._authorization: dict[tuple[str, str, int], str] = {}
        self._attempts: dict[tuple[str, str, int], int] = {}

    @property
    def was_redirected(self) -> bool:
        """Whether the last request went to another origin than the first."""
        return origin(self._url) != self._home

    @property
    def sent_basic(self) -> bool:
        """Whether a user name and password themselves were shown to the first origin."""
        return self._authorization.get(self._home, "").startswith("Basic ")

    def begin(self) -> Send | Authenticate:
        """The first step: with a challenge known from earlier, the token comes before the request."""
        if self._known is not None:
            return Authenticate(self._url, self._known)
        return self._send()

    def authorized(self, value: str | None, *, fresh: bool = True) -> Step:
        """An authorization was obtained; None: there is none to be had, so the 401 is the answer.

        `fresh` says that it was made for this very exchange: if it is refused, renewing it is no use.
        """
        here = origin(self._url)
        first = self._known is not None and here not in self._attempts
        self._known = None
        if value is not None:
            self._authorization[here] = value
            self._attempts[here] = 2 if fresh else self._attempts.get(here, 0) + 1
            return self._send()
        return self._send() if first else Deliver(self._url)

    def received(self, status: int, headers: Headers) -> Step:
        """The response to the last Send."""
        if status == 401:
            return self._challenged(headers)
        if status in REDIRECTS:
            return self._redirected(get(headers, "location"))
        return Deliver(self._url)

    def _send(self) -> Send:
        authorization = self._authorization.get(origin(self._url))
        extra: Headers = (("authorization", authorization),) if authorization else ()
        return Send(self._method, self._url, self._headers + extra)

    def _challenged(self, headers: Headers) -> Step:
        here = origin(self._url)
        attempts = self._attempts.get(here, 0)
        challenge = choose(parse_challenges(get_all(headers, "www-authenticate")))
        # A cached token may have been revoked or have expired early: it is renewed, once.
        if challenge is None or attempts > 1:
            return Deliver(self._url)
        refused = self._authorization.get(here, "")
        return Authenticate(self._url, challenge, refused=refused, anonymous=here != self._home)

    def _redirected(self, location: str | None) -> Step:
        hop = decide_hop(self._url, location, self._hops, self._trust)
        if isinstance(hop, Refused):
            return Fail(hop.reason)
        self._hops += 1
        self._url = hop.url
        return self._send()


def choose(challenges: list[Challenge]) -> Challenge | None:
    """Bearer with a realm before Basic; other schemes are not for us."""
    for challenge in challenges:
        if challenge.scheme == "bearer" and challenge.param("realm"):
            return challenge
    return next((c for c in challenges if c.scheme == "basic"), None)
