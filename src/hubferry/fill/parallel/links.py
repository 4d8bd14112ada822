"""What the fills of one process know about each upstream: whether several connections are faster than one.

No I/O, no clock: takes the time as an argument. What was learnt is believed for KNOWN_S, because a network changes.
Also here is the budget: all fills together open at most MAX_EXTRA connections to one upstream beyond the first of each
fill, because an image has many layers. A client that is alone may have all of them. When another client comes, or when
another blob has none, those who have most give connections back until they have no more than the others: one at a time,
to a fill that was refused one.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

KNOWN_S = 600.0
MAX_EXTRA = 24

Verdict = Literal["helps", "useless", "refused"]


@dataclass(frozen=True, slots=True)
class Known:
    """What was learnt about an upstream, and how many bytes a second one connection gave.

    The verdict says that several connections are faster ("helps"), that they are not ("useless"), or that the upstream
    gives no ranges ("refused").
    """

    verdict: Verdict
    bytes_per_s: float


class Links:
    """What was learnt about all upstreams, and who has how many connections there."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Known, float]] = {}
        self._shares: dict[str, list[Share]] = {}

    def known(self, upstream: str, now_s: float) -> Known | None:
        """Return what was learnt about an upstream; None when that is nothing, or too long ago."""
        found = self._known.get(upstream)
        return found[0] if found is not None and now_s < found[1] else None

    def learn(self, upstream: str, verdict: Verdict, bytes_per_s: float, now_s: float) -> None:
        """Remember a verdict for KNOWN_S; "refused" stays for that long, even if a later fill was given ranges."""
        known = self.known(upstream, now_s)
        if known is None or known.verdict != "refused":
            self._known[upstream] = Known(verdict, bytes_per_s), now_s + KNOWN_S

    def join(self, upstream: str, client: str) -> "Share":
        """Return the share of a fill that begins to have several connections; the fill must `leave` it."""
        share = Share(self, upstream, client)
        self._shares.setdefault(upstream, []).append(share)
        return share

    def leave(self, share: "Share") -> None:
        """Remove the share of a fill that has no more than one connection again."""
        shares = self._shares[share.upstream]
        shares.remove(share)
        if not shares:
            del self._shares[share.upstream]

    def shares(self, upstream: str) -> Iterable["Share"]:
        """Return the shares of all fills in one upstream's connections."""
        return self._shares.get(upstream, ())

    def has_room(self, upstream: str, client: str) -> bool:
        """Return whether one more fill of this client would get a further connection now, or soon."""
        if self.extra_of(upstream) < MAX_EXTRA:
            return True
        own = self.extra_of(upstream, client)
        return any(self.extra_of(upstream, one.client) > own + 1 for one in self.shares(upstream))

    def extra_of(self, upstream: str, client: str | None = None) -> int:
        """Return how many further connections all fills have now, or only those of one client."""
        return sum(one.taken for one in self.shares(upstream) if client in (None, one.client))


class Share:
    """The connections of one fill beyond its first."""

    def __init__(self, links: Links, upstream: str, client: str) -> None:
        self.upstream = upstream
        self.client = client
        self.taken = 0
        self.is_refused = False  # it wanted one more and was not given it
        self._links = links

    def take(self) -> bool:
        """Take one more connection, and return whether there was one that no poorer fill waits for."""
        is_free = self._links.extra_of(self.upstream) < MAX_EXTRA
        self.is_refused = not is_free or any(one.is_poorer_than(self) for one in self._waiting())
        self.taken += not self.is_refused
        return not self.is_refused

    def give_back(self, count: int) -> None:
        """Return `count` connections to the upstream's budget."""
        self.taken -= count

    def must_yield(self) -> bool:
        """Return whether one has to be closed, for a fill that was refused one and has less."""
        if self._links.extra_of(self.upstream) < MAX_EXTRA or not self.taken:
            return False
        if any(self.is_poorer_than(one) for one in self._links.shares(self.upstream)):
            return False  # there is a fill with more than this one: that one gives first
        return any(one.is_poorer_than(self) for one in self._waiting())

    def leave(self) -> None:
        """End the share: the fill has no more than one connection again."""
        self._links.leave(self)

    def is_poorer_than(self, other: "Share") -> bool:
        """Return whether this fill has so few connections that it should get one of the other's.

        Fills of one client are compared with each other, fills of different clients by all that their clients have.
        """
        if self.client == other.client:
            return not self.taken and other.taken > 1
        own, others = (self._links.extra_of(self.upstream, one.client) for one in (self, other))
        return own + 1 < others

    def _waiting(self) -> Iterable["Share"]:
        """Return the other fills that were refused a connection."""
        return (one for one in self._links.shares(self.upstream) if one.is_refused and one is not self)
