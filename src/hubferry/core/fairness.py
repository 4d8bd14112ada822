"""Decide who gets what there is not enough of: places for fills, connections to upstreams, turns to write.

Pure. Nobody is refused while there is enough for everybody. Else whoever asks for more has no claim to more: clients
are served equally, by address (client.address_group), whatever number of requests each of them has. Behind one address
there may be many people, so that one alone may have most of it, but never all.
Not here: what is waited for, and for how long (fill/).
"""

from collections.abc import Iterable, Mapping

SHARE = 2  # times what is left: one client alone gets two thirds, two get two fifths each


def may_begin(own: int, running: int, limit: int) -> bool:
    """Whether a client that has `own` of `running` places may have another one of `limit`.

    The more are taken, the fewer anybody may have: there is always one for whoever has none.
    """
    return running < limit and (not own or own < SHARE * (limit - running))


def decide_next(running: Mapping[str, int], waiting: Iterable[str], limit: int) -> str | None:
    """Which client's turn it is; None: nobody's.

    `running` is how many places each has, `waiting` are those who wait, in order of their turns: who has least goes
    first, and of several the first one.
    """
    total = sum(running.values())
    found = [client for client in waiting if may_begin(running.get(client, 0), total, limit)]
    return min(found, key=lambda client: running.get(client, 0), default=None)
