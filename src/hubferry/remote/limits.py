"""What upstreams limit, and whom: pulls that are left, refusals to wait for (429), accounts that were refused.

One for each upstream and credential (None: without one), whoever asks. A 429 stands for what was asked, because Docker
Hub limits manifests and must not end a pull whose manifest is here already. Times are monotonic.
Not here: what follows for a request (fetch.py), what the headers mean (core/quota.py).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import get_args

from hubferry.core.access import Credential, credential_bytes
from hubferry.core.bounded import BoundedMap
from hubferry.core.errors import KEPT_ON_ERRORS, Asked, limit_error
from hubferry.core.http import Headers
from hubferry.core.quota import Quota, Standing, block_s, parse_quota
from hubferry.ports.shell import Clock, EventLog, Metrics
from hubferry.remote.target import RequestKind

MOST_BYTES = 8 * 2**20  # of what is remembered: a client's credential may have 12 KB
ENTRY_BYTES = 500  # of one beside its credential
SET_ASIDE_S = 900.0  # after which a refused account is tried again: it may have been mended
ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True)
class _Blocked:
    until: float
    refusals: int  # without an answer between
    headers: Headers


class RateLimits:
    """Knows the limits that upstreams announced, and decides which account to use."""

    def __init__(
        self, clock: Clock, log: EventLog, metrics: Metrics, accounts: Mapping[str, Sequence[Credential]]
    ) -> None:
        """`accounts` are the gateway's own, by the name of each upstream. The metrics show only their limits."""
        self._clock = clock
        self._log = log
        self._metrics = metrics
        self._accounts = accounts
        self._quotas: BoundedMap[tuple[float, Quota]] = BoundedMap(most_bytes=MOST_BYTES)
        self._blocked: BoundedMap[_Blocked] = BoundedMap(most_bytes=MOST_BYTES)
        self._set_aside: dict[tuple[str, Credential], float] = {}

    def heard(
        self, upstream: str, credential: Credential | None, kind: RequestKind, status: int, headers: Headers
    ) -> None:
        """Learn from an upstream's answer to a request that was made with this credential."""
        key = (upstream, credential, kind)
        now = self._clock.monotonic()
        quota = parse_quota(headers) if kind == "manifests" else None
        if quota is not None:
            self._quotas.put((upstream, credential), (now, quota), _size_bytes(credential))
            own = self._accounts.get(upstream)
            if own is not None and (credential is None or credential in own):
                self._metrics.quota(upstream, _name(credential), quota.limit, quota.remaining)
        before = self._blocked.get(key)
        if status != 429:
            if before is not None and now >= before.until:
                self._blocked.drop(key)
            return
        if before is not None and now < before.until:
            return  # it was on its way when the first one was refused
        refusals = 0 if before is None else before.refusals + 1
        wait_s = block_s(headers, self._clock.time(), refusals)
        kept = tuple((name, value) for name, value in headers if name in KEPT_ON_ERRORS and name != "retry-after")
        self._blocked.put(key, _Blocked(now + wait_s, refusals, kept), _size_bytes(credential))
        fields = {"upstream": upstream, "account": _name(credential), "kind": kind, "wait_s": round(wait_s)}
        self._log.warning("rate_limited", fields)

    def check(self, asked: Asked, credential: Credential | None, kind: RequestKind) -> None:
        """Raises OciError 429 while it said to wait: whose limit it is, and until when."""
        blocked = self._find(asked.upstream, credential, kind)
        if blocked is not None:
            wait_s = max(math.ceil(blocked.until - self._clock.monotonic()), 1)
            whose = ""
            if credential is not None:  # of its own accounts nobody need know the names
                own = credential in self._accounts.get(asked.upstream, ())
                whose = "an account of this gateway's" if own else f"the account {credential.username}"
            until = datetime.fromtimestamp(self._clock.time() + wait_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            raise limit_error(asked, whose, until, wait_s, blocked.headers)

    def standings(self, upstream: str) -> list[Standing]:
        """Return what is known of the limits of the gateway's own accounts and of its address, for people."""
        whose = (*self._accounts.get(upstream, ()), None)
        found = (self._standing(upstream, credential) for credential in whose)
        return [one for one in found if one.limit is not None or one.waits]

    def _standing(self, upstream: str, credential: Credential | None) -> Standing:
        now = self._clock.monotonic()
        kinds: tuple[RequestKind, ...] = get_args(RequestKind)
        blocked = [(kind, self._find(upstream, credential, kind)) for kind in kinds]
        waits = tuple((kind, found.until - now) for kind, found in blocked if found is not None)
        known = self._quotas.get((upstream, credential))
        if known is None or now - known[0] >= known[1].window_s:
            return Standing(_name(credential), None, None, 0.0, waits)
        said_at, quota = known
        return Standing(_name(credential), quota.limit, quota.remaining, said_at + quota.window_s - now, waits)

    def quota_left(self, upstream: str, credential: Credential | None) -> float:
        """What is left of a limit, from 0 to 1; of the gateway's own accounts the best; 1 when nothing is known."""
        if credential not in self._accounts.get(upstream, ()):
            return self._quota_left(upstream, credential)
        shares = [self._quota_left(upstream, account) for account in self._accepted(upstream)]
        return max(shares, default=self._quota_left(upstream, None))

    def choose(self, upstream: str, kind: RequestKind) -> Credential | None:
        """Return the gateway's account with most left that is neither refused nor told to wait.

        None: all were refused, and the upstream is asked anonymously. When all are told to wait it is the one that
        waits the shortest: whoever asks then learns until when.
        """
        good = self._accepted(upstream)
        if len(good) < 2:
            return good[0] if good else None
        return max(
            good, key=lambda account: (-self._wait_s(upstream, account, kind), self._quota_left(upstream, account))
        )

    def has_free(self, upstream: str, kind: RequestKind) -> bool:
        """Return whether one of the gateway's own accounts may be used without waiting."""
        return any(not self._wait_s(upstream, account, kind) for account in self._accepted(upstream))

    def _accepted(self, upstream: str) -> list[Credential]:
        now = self._clock.monotonic()
        return [
            account
            for account in self._accounts.get(upstream, ())
            if now >= self._set_aside.get((upstream, account), 0.0)
        ]

    def _wait_s(self, upstream: str, account: Credential, kind: RequestKind) -> float:
        kinds: tuple[RequestKind, ...] = (kind, "tokens")
        blocked = [found.until for each in kinds if (found := self._find(upstream, account, each)) is not None]
        return max(max(blocked) - self._clock.monotonic(), 0.0) if blocked else 0.0

    def set_aside(self, upstream: str, account: Credential) -> None:
        """The upstream refused its user name or password: not asked with for a while."""
        self._set_aside[upstream, account] = self._clock.monotonic() + SET_ASIDE_S
        fields = {"upstream": upstream, "account": account.username, "again_in_s": round(SET_ASIDE_S)}
        self._log.warning("account_refused", fields)
        self._metrics.account_refused(upstream, account.username)

    def _quota_left(self, upstream: str, credential: Credential | None) -> float:
        known = self._quotas.get((upstream, credential))
        return 1.0 if known is None else known[1].left(self._clock.monotonic() - known[0])

    def _find(self, upstream: str, credential: Credential | None, kind: RequestKind) -> _Blocked | None:
        blocked = self._blocked.get((upstream, credential, kind))
        return blocked if blocked is not None and self._clock.monotonic() < blocked.until else None


def _name(credential: Credential | None) -> str:
    return ANONYMOUS if credential is None else credential.username


def _size_bytes(credential: Credential | None) -> int:
    return ENTRY_BYTES + credential_bytes(credential)
