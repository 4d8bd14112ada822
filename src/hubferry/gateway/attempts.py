"""Wrong passwords are not relayed without end: the upstream sees them come from the gateway's address, and blocks it.

Counted for each client address, and for each account by name. An address from which nothing wrong came yet may try any
account, so that nobody can keep its owner out from elsewhere. Nobody sleeps here: who has to wait is told how long.
In memory, of this process, and bounded. Not here: what counts as wrong (login.py), how long the pauses are (core).
"""

import math
from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from hubferry.core.access import Credential
from hubferry.core.bounded import BoundedMap
from hubferry.core.client import address_group
from hubferry.core.errors import Code, OciError
from hubferry.core.guesses import Failures, decide_wait_s
from hubferry.ports.shell import Clock

REFUSED = (400, 401, 403)  # what upstreams say to a wrong password: ghcr.io 403, most 401


class Attempts:
    """Counts refused logins of one process by client address and by account, and the logins being tried now."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures: BoundedMap[Failures] = BoundedMap()
        self._trying: dict[Hashable, Counter[Credential]] = {}

    @contextmanager
    def trying(self, peer: str, credential: Credential) -> Iterator[None]:
        """Around the question to the upstream whether a credential holds, whose OciError says that it does not.

        Raises OciError 429 when there were too many wrong ones: then it is not to be asked.
        """
        place = ("address", address_group(peer))
        account = ("account", hash(credential.username))  # of any length
        wait_s = self._wait_s(place, credential)
        if place in self._trying or self._failed(place):
            wait_s = max(wait_s, self._wait_s(account, credential))
        if wait_s > 0:
            raise _too_many(math.ceil(wait_s))
        for key in (place, account):
            self._trying.setdefault(key, Counter())[credential] += 1
        try:
            yield
        except OciError as error:
            if error.status in REFUSED:
                now = self._clock.monotonic()
                for key in (place, account):
                    self._failures.put(key, (self._failures.get(key) or Failures()).after(now))
            raise
        else:
            self._failures.drop(account)
        finally:
            for key in (place, account):
                self._end(key, credential)

    def _wait_s(self, key: Hashable, credential: Credential) -> float:
        others = len(self._trying.get(key, Counter()).keys() - {credential})
        return decide_wait_s(self._failures.get(key) or Failures(), others, self._clock.monotonic())

    def _failed(self, key: Hashable) -> bool:
        return (self._failures.get(key) or Failures()).counted(self._clock.monotonic()) > 0

    def _end(self, key: Hashable, credential: Credential) -> None:
        trying = self._trying[key]
        trying[credential] -= 1
        if not trying[credential]:
            del trying[credential]
        if not trying:
            del self._trying[key]


def _too_many(wait_s: int) -> OciError:
    return OciError(
        429,
        Code.TOOMANYREQUESTS,
        f"too many wrong passwords came from this address or for this account: the next one may be tried in {wait_s} s",
        headers=(("retry-after", str(wait_s)),),
    )
