"""What the fills of one process share: disk, threads, log, counters, and what was learnt about upstreams."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from hubferry.core.pace import LargePieces
from hubferry.fill.bounds import Effort
from hubferry.fill.parallel.links import Links
from hubferry.fill.slots import Turns
from hubferry.ports.partials import Partials
from hubferry.ports.shell import EventLog, Metrics


@dataclass(frozen=True, slots=True)
class Writers:
    """What all writers of one process share: their threads, and the turns they take.

    `hashing` is a pool for hashing what is on the disk already. That takes seconds for each GB, and the beginnings of
    other fills must not wait for it.
    """

    pool: ThreadPoolExecutor
    hashing: ThreadPoolExecutor
    turns: Turns


@dataclass(frozen=True, slots=True)
class FillServices:
    """What the fills of one process share.

    `pool` is for work that waits for the disk. A fill stops after it has fetched `unwatched_bytes` for nobody. `links`
    is what was learnt about connections to each upstream. `large` limits how many readers hold a large piece.
    """

    partials: Partials
    pool: ThreadPoolExecutor
    log: EventLog
    metrics: Metrics
    unwatched_bytes: int
    effort: Effort
    links: Links
    writers: Writers
    large: LargePieces
