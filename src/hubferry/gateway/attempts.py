"""Wrong passwords are not relayed without end: the upstream sees them come from the gateway's address, and blocks it.

Counted for each client address, and for each account of an upstream by name. An address from which nothing wrong came
yet may try any account, so that nobody can keep its owner out from elsewhere. Nobody sleeps here: who has to wait is
told how long.
In memory, of this process, and bounded. Not here: what counts as wrong (login.py), how long the pauses are (core).
"""

import asyncio
import math
from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hubferry.core.access import Credential
from hubferry.core.bounded import BoundedMap
from hubferry.core.client import address_group
from hubferry.core.errors import Code, OciError
from hubferry.core.guesses import Failures, decide_wait_s
from hubferry.ports.shell import Clock

REFUSED = frozenset({400, 401, 403})  # what upstreams say to a wrong password: ghcr.io 403, most 401


class TooManyAttempts(OciError):
    """A 429 of the gateway's own: another password may be tried later."""

    def __init__(self, wait_s: int) -> None:
        super().__init__(
            429,
            Code.TOOMANYREQUESTS,
            f"too many wrong passwords came from this address or for this account: the next one may be tried in "
            f"{wait_s} s",
            headers=(("retry-after", str(wait_s)),),
        )


@dataclass(slots=True)
class Attempt:
    """A password that is being tried. Whoever tries it notes here what an upstream said of it."""

    was_accepted: bool = False  # it was checked and taken
    was_refused: bool = False


class Attempts:
    """Counts refused logins of one process by client address and by account, and the logins being tried now."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures: BoundedMap[Failures] = BoundedMap()
        self._trying: dict[Hashable, Counter[Credential]] = {}

    @contextmanager
    def trying(self, peer: str, credential: Credential, upstream: str) -> Iterator[Attempt]:
        """Around the question to an upstream whether it takes a credential; an OciError says that it does not.

        Raises TooManyAttempts: then it is not to be asked.
        """
        place = ("address", address_group(peer))
        account = ("account", upstream, hash(credential.username))  # of any length
        wait_s = self._wait_s(place, credential)
        if place in self._trying or self._failed(place):
            wait_s = max(wait_s, self._wait_s(account, credential))
        if wait_s > 0:
            raise TooManyAttempts(math.ceil(wait_s))
        for key in (place, account):
            self._trying.setdefault(key, Counter())[credential] += 1
        attempt = Attempt()
        try:
            yield attempt
        except OciError as error:
            attempt.was_refused = attempt.was_refused or error.status in REFUSED
            raise
        except asyncio.CancelledError:
            attempt.was_refused = True  # its client left, and the question goes on: who asks and leaves is a guesser
            raise
        finally:
            if attempt.was_accepted:
                self._failures.drop(account)
            elif attempt.was_refused:
                now = self._clock.monotonic()
                for key in (place, account):
                    self._failures.put(key, (self._failures.get(key) or Failures()).after(now))
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
