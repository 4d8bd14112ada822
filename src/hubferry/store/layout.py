"""Where everything is in a cache folder.

    blobs/sha256/ab/abcd...   content under its digest: verified, synced, complete
    partial/                  blobs under way, each with a sidecar, some with a front (partial.py)
    quarantine/               what `hubferry cache verify` found damaged
    index.sqlite3             what is known of it all; may be lost
    withdrawals               changes whenever somebody's right was withdrawn (withdrawals.py)

What takes room has a name in the ledger: content its digest, a blob under way `partial/FILE`.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from hubferry.core.reference import is_digest

BLOCK_BYTES = 4096


class Layout:
    """The paths below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.blobs = folder / "blobs"
        self.partial = folder / "partial"
        self.quarantine = folder / "quarantine"
        self.index = folder / "index.sqlite3"
        self.withdrawals = folder / "withdrawals"

    def content(self, digest: str) -> Path:
        """Where content of a digest is kept, whether it is there or not."""
        algorithm, _, encoded = digest.partition(":")
        return self.blobs / algorithm / encoded[:2] / encoded

    def under_way(self, upstream: str, digest: str) -> Path:
        """Where a blob under way is kept: its digest, and its upstream as a short hash, for names may be long."""
        algorithm, _, encoded = digest.partition(":")
        return self.partial / f"{algorithm}-{encoded}-{hashlib.sha256(upstream.encode()).hexdigest()[:16]}"

    def file(self, name: str) -> Path:
        """The file of a name in the ledger."""
        return self.content(name) if is_digest(name) else self.folder / name

    def shelves(self) -> Iterator[tuple[str, Path]]:
        """The folders that hold content, each with what the names in it begin with."""
        for algorithm in ("sha256", "sha512"):
            for number in range(256):
                shelf = self.blobs / algorithm / f"{number:02x}"
                yield f"{algorithm}:{number:02x}", shelf


def sidecar(path: Path) -> Path:
    """What says of a blob under way what it is."""
    return path.with_name(f"{path.name}.json")


def front(path: Path) -> Path:
    """What says how far a blob under way is whole, while ranges beyond that are being written."""
    return path.with_name(f"{path.name}.front")


def is_companion(name: str) -> bool:
    """Whether a name below `partial/` is that of a sidecar or a front, which stand beside a blob under way."""
    return name.endswith((".json", ".front"))


def occupied_bytes(size_bytes: int) -> int:
    """What a file takes on a disk, in whole blocks: thousands of manifests are more than the sum of their lengths."""
    return -(-size_bytes // BLOCK_BYTES) * BLOCK_BYTES
