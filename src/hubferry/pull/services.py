"""What the sources of this package share: where content is kept, and the clock, log and counters of a shell."""

from dataclasses import dataclass

from hubferry.core.access import Identities
from hubferry.ports.content import BlobCache, BlobStore, ContentStore
from hubferry.ports.fills import Fills
from hubferry.ports.index import BlobIndex, Index
from hubferry.ports.shell import Clock, EventLog, Metrics


@dataclass(frozen=True, slots=True)
class DiskCache:
    """Where content is kept that is read here, and what is known of it."""

    index: BlobIndex
    store: ContentStore
    blobs: BlobStore
    fills: Fills


@dataclass(frozen=True, slots=True)
class EdgeCache:
    """Where content is kept as it passes, blobs without being read, and what is known of it."""

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
