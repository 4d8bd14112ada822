"""State machine of one upstream exchange: request -> challenge -> token -> retry -> redirect.

Pure (sans-IO): the caller (remote/exchanges.py) carries out each step and reports the result; the machine returns the
next step.

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
Not here: keeping tokens (remote/tokens.py), what a status means for the client (errors.py).
"""

from dataclasses import dataclass, field

from hubferry.core.challenge import Challenge, parse_challenges
from hubferry.core.http import Headers, get, get_all
from hubferry.core.redirect import Refused, Trust, decide_hop, origin

REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Send:
    """The step to perform one HTTP request, without following redirects."""

    method: str
    url: str
    headers: Headers = field(repr=False)


@dataclass(frozen=True, slots=True)
class Authenticate:
    """The step to obtain the value of an `Authorization` header for a challenge.

    `challenger` is the URL that answered with the challenge. `refused` is the authorization that was sent and answered
    with 401, or empty when none was sent. It lets the caller renew a token once for everybody who was refused the same
    one. `anonymous` is true when a redirect led to another origin: no credential may be used there.
    """

    challenger: str
    challenge: Challenge
    refused: str = field(default="", repr=False)
    anonymous: bool = False


@dataclass(frozen=True, slots=True)
class Deliver:
    """The last response is the answer to the request, whatever its status. It came from `url`."""

    url: str


@dataclass(frozen=True, slots=True)
class Fail:
    """The upstream redirected to a URL that must not be followed. `reason` says which rule it breaks."""

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
        # Authorization values by origin: each is sent only to the origin that it was obtained for
        self._authorization: dict[tuple[str, str, int], str] = {}
        self._attempts: dict[tuple[str, str, int], int] = {}

    @property
    def was_redirected(self) -> bool:
        """Whether the last request went to a different origin than the first one."""
        return origin(self._url) != self._home

    @property
    def sent_basic(self) -> bool:
        """Whether a user name and password were sent to the first origin (Basic), rather than a token."""
        return self._authorization.get(self._home, "").startswith("Basic ")

    def begin(self) -> Send | Authenticate:
        """Return the first step. When a challenge is known from earlier, a token is obtained before the request."""
        if self._known is not None:
            return Authenticate(self._url, self._known)
        return self._send()

    def authorized(self, value: str | None, *, fresh: bool = True) -> Step:
        """Take the result of Authenticate and return the next step.

        `value` is the value of the `Authorization` header. None means that none can be obtained: then the 401 is the
        answer or, before the first request, the request is sent without. `fresh` says that the value was made for this
        exchange, so that renewing it is useless when it is refused.
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
        """Take the response to the last Send and return the next step."""
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
        self._url = hop
        return self._send()


def choose(challenges: list[Challenge]) -> Challenge | None:
    """Return the challenge to answer: Bearer with a realm if there is one, else Basic, else None.

    Other schemes are not supported.
    """
    for challenge in challenges:
        if challenge.scheme == "bearer" and challenge.param("realm"):
            return challenge
    return next((c for c in challenges if c.scheme == "basic"), None)
