"""Whether a caller may have kept content of a repository without a question to its upstream: the rules, as tables.

Two facts decide about a blob: the caller's right to the repository (`Right`), and how far it is proven that this
repository holds the blob (`Holding`). What follows is the `Step`:

    holding           PROVEN         DUE            NONE
    YES               give           ask if here    ask first
    BEGUN             give           ask if here    ask first
    RUNNING           ask if here    ask if here    ask first
    NAMED             ask if here    ask if here    fetch
    UNKNOWN_ORIGIN    ask if here    ask if here    ask if here
    NONE              fetch          fetch          fetch

Once the upstream said for this very question that the caller may have it (`is_proven`), the step is GIVE for every
holding except Holding.NONE.

Without a right the upstream is asked before anything is looked for, and what only a manifest names is fetched once more
though it may be here: neither the answer nor its time is to tell a stranger what others have pulled. UNKNOWN_ORIGIN is
looked for first because it exists only where there is one upstream, from which everything here came.
"""

from collections.abc import Callable
from enum import Enum, auto

RIGHT_S = 300.0
"""How long a login may pull after its upstream showed it something of the repository."""


class Right(Enum):
    """What a caller may have of a repository without a question to its upstream."""

    PROVEN = auto()
    DUE = auto()  # it is asked first; while it fails, the caller may
    NONE = auto()

    @property
    def covers(self) -> bool:
        """Return whether kept content may be given while the upstream fails."""
        return self is not Right.NONE


class Holding(Enum):
    """How far it is proven that a repository holds a blob."""

    YES = auto()  # it came from its upstream for this repository, whole and right
    BEGUN = auto()  # its upstream, asked for this repository, gave the beginning of what is on its way
    RUNNING = auto()  # it is on its way for another repository or from a mirror: the upstream's word is missing
    NAMED = auto()  # a manifest of it names the blob, whose origin is its upstream or not known; it may not be here
    UNKNOWN_ORIGIN = auto()  # nothing is known of it, and there is one upstream only; usually it is not here
    NONE = auto()

    @property
    def is_proven(self) -> bool:
        """Return whether the upstream itself gave the blob, or its beginning, for this repository."""
        return self in (Holding.YES, Holding.BEGUN)


class Step(Enum):
    """What is to be done next for somebody who asks for a blob."""

    GIVE = auto()  # what is here or on its way
    ASK_IF_HERE = auto()  # look for it; before it is given, the upstream is asked whether this caller may have it
    ASK_FIRST = auto()  # the upstream is asked, then it is looked for
    FETCH = auto()  # from the upstream, on this caller's behalf, as if nothing were here


def judge_right(
    age_s: float | None, *, is_everybodys: bool, public_ttl_s: float, is_deferred: Callable[[], bool]
) -> Right:
    """Return what a right is worth that was proven `age_s` seconds ago (None: never).

    Everybody's lasts `public_ttl_s`, then it is due. Only then `is_deferred` is called: true means that the upstream
    failed a moment ago when it was asked about what is due, and is not asked again yet; meanwhile the right counts as
    proven. A login's lasts RIGHT_S, then it is gone. An age below zero comes of a clock that was put back, and counts
    as too old.
    """
    if age_s is None:
        return Right.NONE
    if not is_everybodys:
        return Right.PROVEN if 0 <= age_s < RIGHT_S else Right.NONE
    return Right.PROVEN if 0 <= age_s < public_ttl_s or is_deferred() else Right.DUE


def next_step(right: Right, holding: Holding, *, is_proven: bool) -> Step:
    """Return what is to be done for a caller with this right (see the table above).

    `is_proven`: the upstream said for this very question that the caller may have the blob.
    """
    if holding is Holding.NONE:
        return Step.FETCH
    if is_proven or (right is Right.PROVEN and holding.is_proven):
        return Step.GIVE
    if right is not Right.NONE or holding is Holding.UNKNOWN_ORIGIN:
        return Step.ASK_IF_HERE
    return Step.FETCH if holding is Holding.NAMED else Step.ASK_FIRST
