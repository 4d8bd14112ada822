"""What the sources of this package share: where content is kept, and the clock, log and counters of a shell."""

from dataclasses import dataclass

from hubferry.core.access import Identities
from hubferry.ports.content import BlobCache, BlobStore, ContentStore
from hubferry.ports.fills import Fills
from hubferry.ports.index import BlobIndex, Index
from hubferry.ports.shell import Clock, EventLog, Metrics


@dataclass(frozen=True, slots=True)
class DiskCache:
    """The cache of a server, whose blobs are files that Python reads, and what is known of its content."""

    index: BlobIndex
    store: ContentStore
    blobs: BlobStore
    fills: Fills


@dataclass(frozen=True, slots=True)
class EdgeCache:
    """The Worker's cache, whose blobs pass as streams that Python never reads, and what is known of its content."""

    index: Index
    store: ContentStore
    blobs: BlobCache


@dataclass(frozen=True, slots=True)
class Instruments:
    """The clock, the log and the counters of a shell, and how logins are named (None: only this process knows)."""

    clock: Clock
    log: EventLog
    metrics: Metrics
    identities: Identities | None = None
