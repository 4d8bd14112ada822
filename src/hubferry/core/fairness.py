"""Divide scarce things fairly among clients: slots for fills, connections to upstreams, turns to write.

Pure. Nobody is refused while there is enough for everybody. When there is not, clients get equal shares, counted by
address (client.address_group): a client with more requests gets no more. There may be many people behind one address,
so a single client may take most of what there is, but never all of it.
Not here: waiting, and for how long (fill/).
"""

from collections.abc import Iterable, Mapping

SHARE = 2  # a client may hold this many times what is left: one client gets two thirds, two get two fifths each


def may_begin(own: int, running: int, limit: int) -> bool:
    """Return whether a client may take another slot.

    The client holds `own` of the `running` slots that are taken, out of `limit`. The more slots are taken, the fewer
    one client may hold, so that a slot is left for a client that has none.
    """
    return running < limit and (not own or own < SHARE * (limit - running))


def decide_next(running: Mapping[str, int], waiting: Iterable[str], limit: int) -> str | None:
    """Return the client that gets the next slot, or None when none of those who wait may have one.

    `running` is how many slots each client holds. `waiting` are the clients that wait, in the order of their turns. The
    client that holds the fewest slots comes first; among equals, the one that is first in `waiting`.
    """
    total = sum(running.values())
    found = [client for client in waiting if may_begin(running.get(client, 0), total, limit)]
    return min(found, key=lambda client: running.get(client, 0), default=None)
