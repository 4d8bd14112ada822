"""Drive one exchange against an upstream, or against its mirrors when it cannot be reached.

Sequences core.exchange; decides nothing about the meaning of the final status. A mirror gets no credential: it
is another origin than the one that the credential was given for.
"""

from dataclasses import dataclass, replace

from hubferry.core.access import MIN_LIFETIME_S, Credential
from hubferry.core.challenge import Challenge
from hubferry.core.errors import Asked, Code, OciError, relay_error
from hubferry.core.exchange import Authenticate, Deliver, Exchange, Fail, Send
from hubferry.core.http import Headers, get
from hubferry.core.redirect import Trust
from hubferry.core.settings import UpstreamSettings
from hubferry.ports import Cause, EventLog, Upstream, UpstreamFailure, UpstreamResponse
from hubferry.pull.upstream_tokens import UpstreamTokens

USER_AGENT = "hubferry (+https://opencontainers.org/distribution-spec)"


@dataclass(frozen=True, slots=True)
class Origin:
    """An upstream as the orchestrator uses it."""

    name: str
    settings: UpstreamSettings
    trust: Trust
    account: Credential | None = None

    @property
    def bases(self) -> tuple[str, ...]:
        """Its URL and those of its mirrors, without a slash at the end."""
        return tuple(url.rstrip("/") for url in (self.settings.url, *self.settings.mirrors))


@dataclass(frozen=True, slots=True)
class Target:
    """Of whom something is asked and on whose behalf: an upstream, one repository of it, a credential."""

    origin: Origin
    repository: str = ""
    credential: Credential | None = None

    @property
    def is_anonymous(self) -> bool:
        """Whether it is asked for anybody: without a credential, or with the gateway's own account."""
        return self.credential is None or self.credential == self.origin.account


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether an upstream took a credential, and how long that may be relied on (None: it does not say)."""

    accepted: bool
    lifetime_s: float | None = None


class Fetcher:
    """Requests to upstreams, authorised and followed to their end."""

    def __init__(self, upstream: Upstream, tokens: UpstreamTokens, log: EventLog) -> None:
        self._upstream = upstream
        self._tokens = tokens
        self._log = log
        self._challenges: dict[str, Challenge] = {}

    async def fetch(self, target: Target, method: str, path: str, headers: Headers) -> UpstreamResponse:
        """The final response, whatever its status; its body is open and the caller closes it.

        `path` is appended to the base URL. Raises OciError 503 when neither the upstream nor a mirror can be reached,
        502 when it leads somewhere we do not go.
        """
        origin = target.origin
        failure: UpstreamFailure | None = None
        for number, base in enumerate(origin.bases):
            last = number == len(origin.bases) - 1
            try:
                asker = target if number == 0 else replace(target, credential=None)
                response = await self._fetch_from(asker, base, method, path, headers)
            except UpstreamFailure as error:
                self._log.warning("upstream_failed", {"upstream": origin.name, "problem": str(error)})
                failure = failure or error
                continue
            except OciError as error:
                if error.status < 500 or last:
                    raise
                self._log.warning("upstream_failed", {"upstream": origin.name, "problem": error.message})
                continue
            # a mirror speaks for the upstream only when it has what is asked for
            useful = response.status < 400 or response.status == 416 if number else response.status < 500
            if useful or (last and failure is None):
                return response
            await response.body.close()
            self._log.warning("upstream_failed", {"upstream": origin.name, "base": number, "status": response.status})
        raise unreachable(origin.name, failure or UpstreamFailure(Cause.CUT, origin.name)) from failure

    async def prove(self, target: Target) -> Proof:
        """Show a credential to an upstream, as far as it asks for one.

        A token made with it is proof enough: whether it opens a repository shows when that is pulled.
        Raises OciError as `fetch` does, and what a refusal other than 401 means.
        """
        origin = target.origin
        base = origin.bases[0]
        # where the challenge is known, a kept token is proof without asking; a login that names no repository asks
        known = self._challenges.get(base) if target.repository else None
        exchange = Exchange("GET", f"{base}/v2/", (("user-agent", USER_AGENT),), origin.trust, known=known)
        step: object = exchange.begin()
        status, shown, asked = 0, False, False
        headers: Headers = ()
        try:
            while isinstance(step, Send | Authenticate):
                if isinstance(step, Send):
                    response = await self._upstream.send(origin.name, step)
                    await response.body.close()
                    status, headers = response.status, response.headers
                    step = exchange.received(status, headers)
                    continue
                asked = True
                token = await self._tokens.authorization(
                    origin, step, target.repository, target.credential, min_remaining_s=MIN_LIFETIME_S
                )
                shown = shown or not step.anonymous
                if token and token.lifetime_s is not None and not step.anonymous:
                    self._challenges[base] = step.challenge
                    return Proof(accepted=True, lifetime_s=token.lifetime_s)
                step = exchange.authorized(token.authorization if token else None)
        except UpstreamFailure as error:
            raise unreachable(origin.name, error) from error
        if isinstance(step, Fail):
            raise refused(origin.name, step.reason)
        if status >= 300 and status != 401:
            raise relay_error(status, headers, Asked(origin.name, "its login", ""))
        # an upstream that asks nobody takes everybody; one that asked elsewhere has not seen this credential
        return Proof(accepted=status < 300 and shown == asked)

    async def _fetch_from(
        self, target: Target, base: str, method: str, path: str, headers: Headers
    ) -> UpstreamResponse:
        origin = target.origin
        exchange = self._exchange(target, base, method, path, headers)
        step: object = exchange.begin()
        may_resolve_again = True
        while True:
            if isinstance(step, Authenticate):
                step = await self._authenticate(target, base, exchange, step)
            if not isinstance(step, Send):
                raise AssertionError(f"an exchange cannot continue with {step!r}")
            response = await self._upstream.send(origin.name, step)
            step = exchange.received(response.status, response.headers)
            if isinstance(step, Deliver):
                if response.status == 403 and may_resolve_again and exchange.was_redirected:
                    # a signed URL that expired on its way, or was refused: the upstream signs another
                    await response.body.close()
                    may_resolve_again = False
                    exchange = self._exchange(target, base, method, path, headers)
                    step = exchange.begin()
                    continue
                try:
                    refuse_encoded(origin.name, response.headers)
                except OciError:
                    await response.body.close()
                    raise
                return response
            if isinstance(step, Authenticate):
                try:
                    step = await self._authenticate(target, base, exchange, step)
                except BaseException:
                    await response.body.close()
                    raise
                if isinstance(step, Deliver):
                    return response  # the 401 itself: there is nothing to answer its challenge with
            await response.body.close()
            if isinstance(step, Fail):
                self._log.warning("redirect_refused", {"upstream": origin.name, "problem": step.reason})
                raise refused(origin.name, step.reason)

    def _exchange(self, target: Target, base: str, method: str, path: str, headers: Headers) -> Exchange:
        return Exchange(
            method,
            base + path,
            (*headers, ("user-agent", USER_AGENT)),
            target.origin.trust,
            known=self._challenges.get(base) if target.repository else None,
        )

    async def _authenticate(self, target: Target, base: str, exchange: Exchange, step: Authenticate) -> object:
        token = await self._tokens.authorization(target.origin, step, target.repository, target.credential)
        if token is None:
            return exchange.authorized(None)
        if step.challenge.scheme == "bearer" and not step.anonymous:
            self._challenges[base] = step.challenge
        return exchange.authorized(token.authorization, fresh=token.is_fresh)


def refuse_encoded(upstream: str, headers: Headers) -> None:
    """Raises OciError 502 for a Content-Encoding: we asked for none, and unpacking is how bombs go off."""
    encoding = get(headers, "content-encoding")
    if encoding and encoding.strip().lower() != "identity":
        raise OciError(
            502,
            Code.UNKNOWN,
            f"{upstream} sent an encoded body ({encoding[:32]}) although none was asked for: nothing is delivered",
        )


def unreachable(upstream: str, failure: UpstreamFailure) -> OciError:
    """The 503 for an upstream that cannot be reached: which, and why; the 502 for one that gave wrong bytes."""
    detail: dict[str, object] = {"upstream": upstream, "cause": failure.cause.name.lower()}
    if failure.cause is Cause.WRONG:
        return OciError(
            502,
            Code.UNKNOWN,
            f"{upstream} gave something that cannot be delivered: {failure.detail}; "
            "try again: if it stays, something between gateway and upstream alters content",
            detail=detail,
        )
    return OciError(
        503,
        Code.UNAVAILABLE,
        f"{upstream} cannot be reached from this gateway: {failure}; "
        "check the gateway's network, or set a mirror or, on a server, a proxy for this upstream",
        detail=detail,
        headers=(("retry-after", "5"),),
    )


def refused(upstream: str, reason: str) -> OciError:
    """The 502 for an upstream that leads somewhere we do not go."""
    return OciError(
        502,
        Code.UNKNOWN,
        f"{upstream} answered with {reason}: not followed; "
        "if this is a registry of your own, see allow_private_addresses and realm_hosts",
        detail={"upstream": upstream},
    )
