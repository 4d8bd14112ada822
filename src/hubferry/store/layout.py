"""Where everything is in a cache folder.

    blobs/sha256/ab/abcd...   content under its digest: verified, synced, complete
    partial/                  partial files, each with a sidecar, some with a front (partial.py)
    quarantine/               files that were found damaged (checks.py)
    index.sqlite3             what is known of it all; may be lost
    withdrawals               changes whenever somebody's right was withdrawn (withdrawals.py)
    count.lock                held by the process that compares the ledger with the disk (housekeeping.py)
    activity/                 what each worker did lately (server/activity.py)
    warm.lock, token.key      of the server, which puts them here as well (server/keep_warm.py, server/key.py)

What takes room has a name in the ledger: content its digest, a partial file `partial/FILE`.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from hubferry.core.reference import is_digest

BLOCK_BYTES = 4096


class Layout:
    """The paths below one cache folder. Looks at nothing on the disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.blobs = folder / "blobs"
        self.partial = folder / "partial"
        self.quarantine = folder / "quarantine"
        self.index = folder / "index.sqlite3"
        self.withdrawals = folder / "withdrawals"

    def content(self, digest: str) -> Path:
        """Return where the content of a digest is kept, whether it is there or not."""
        algorithm, _, encoded = digest.partition(":")
        return self.blobs / algorithm / encoded[:2] / encoded

    def under_way(self, upstream: str, digest: str) -> Path:
        """Return where the partial file of a blob is kept.

        Its name is the digest and a short hash of the upstream's name, because names may be long.
        """
        algorithm, _, encoded = digest.partition(":")
        return self.partial / f"{algorithm}-{encoded}-{hashlib.sha256(upstream.encode()).hexdigest()[:16]}"

    def file(self, name: str) -> Path:
        """Return the file of a name in the ledger."""
        return self.content(name) if is_digest(name) else self.folder / name

    def shelves(self) -> Iterator[tuple[str, Path]]:
        """Yield the folders that hold content, each with what the digests in it begin with."""
        for algorithm in ("sha256", "sha512"):
            for number in range(256):
                shelf = self.blobs / algorithm / f"{number:02x}"
                yield f"{algorithm}:{number:02x}", shelf


def sidecar(path: Path) -> Path:
    """Return the path of a partial file's sidecar, which says what the blob is."""
    return path.with_name(f"{path.name}.json")


def front(path: Path) -> Path:
    """Return the path of a partial file's front.

    It says how far the file is whole while ranges beyond that are being written.
    """
    return path.with_name(f"{path.name}.front")


def is_companion(name: str) -> bool:
    """Return whether a name below `partial/` is that of a sidecar or a front, which stand beside a partial file."""
    return name.endswith((".json", ".front"))


def occupied_bytes(size_bytes: int) -> int:
    """Return what a file takes on a disk, in whole blocks.

    Thousands of manifests take more than the sum of their lengths.
    """
    return -(-size_bytes // BLOCK_BYTES) * BLOCK_BYTES


def is_gone(path: Path) -> bool:
    """Return whether there is certainly nothing at a path.

    Where the disk or the permissions do not let one know, there may be something: then this is false. Unlike
    `Path.exists` it never raises OSError.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
