"""Hash files that are kept, and put aside what is not what its name says. Blocks.

Used by `hubferry cache verify`, which hashes everything (verify.py), and by a server that finds a file without its mark
(mark.py).
"""

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from hubferry.core.reference import is_digest
from hubferry.ports.content import StoreFailure
from hubferry.store.layout import Layout
from hubferry.store.ledger import Ledger
from hubferry.store.mark import is_marked, set_mark

PIECE_BYTES = 2**20
MAX_CHANGES = 3  # how often a check is begun again because the file changed meanwhile


def find_problem(name: str, descriptor: int, hashed: Callable[[int], None] = lambda _: None) -> str:
    """Return why an open file is not what its digest says; empty when it is.

    `hashed` is called with the size of each piece in bytes. Raises OSError.
    """
    if not is_digest(name):
        return "its name is no digest"
    algorithm, _, expected = name.partition(":")
    hasher = hashlib.new(algorithm)
    at = 0
    while piece := os.pread(descriptor, PIECE_BYTES, at):
        hasher.update(piece)
        at += len(piece)
        hashed(len(piece))
    return "" if hasher.hexdigest() == expected else f"its bytes have the digest {algorithm}:{hasher.hexdigest()}"


def check_file(name: str, descriptor: int, hashed: Callable[[int], None] = lambda _: None) -> str:
    """Check a file as `find_problem` does, and mark it when it is right and has no mark. Raises OSError."""
    for _ in range(MAX_CHANGES):
        before = os.fstat(descriptor)
        problem = find_problem(name, descriptor, hashed)
        if problem or is_marked(before, name):
            return problem
        after = os.fstat(descriptor)
        if (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size):
            with contextlib.suppress(OSError):  # in a read-only folder the next process hashes it again
                set_mark(descriptor, name)
            return ""
    return "it is being written to"


def put_aside(layout: Layout, ledger: Ledger | None, name: str, path: Path, descriptor: int) -> bool:
    """Move a damaged file to the quarantine, or remove it when it cannot be moved.

    Returns whether the file was there; False when it is gone, or when another one has its name. Raises StoreFailure.
    """
    try:
        if not os.path.samestat(path.stat(), os.fstat(descriptor)):
            return False
        try:
            layout.quarantine.mkdir(exist_ok=True)
            path.rename(layout.quarantine / path.name)
        except OSError:  # such as a quarantine that belongs to root
            path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StoreFailure(f"{path} is damaged and can neither be moved nor removed: {error.strerror}") from None
    if ledger is not None:
        ledger.forget([name])
    return True
