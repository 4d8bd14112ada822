"""Hash files that are kept, and put aside what is not what its name says. Blocks.

For `hubferry cache verify`, which hashes everything (verify.py), and for a server that finds a file without its mark.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from hubferry.core.reference import is_digest
from hubferry.ports import StoreFailure
from hubferry.store.layout import Layout
from hubferry.store.ledger import Ledger
from hubferry.store.mark import is_marked, set_mark

PIECE_BYTES = 2**20
MAX_CHANGES = 3  # how often a file may change under its check


def find_problem(name: str, descriptor: int, hashed: Callable[[int], None] = lambda _: None) -> str:
    """Why an open file is not what its digest says; empty when it is. `hashed` is told of every so many bytes.

    Raises OSError.
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
    """As `find_problem`, and mark an unmarked file that has none. Raises OSError."""
    for _ in range(MAX_CHANGES):
        before = os.fstat(descriptor)
        problem = find_problem(name, descriptor, hashed)
        if problem or is_marked(before, name):
            return problem
        after = os.fstat(descriptor)
        if (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size):
            with contextlib.suppress(OSError):  # a read-only folder: it is hashed again by the next process
                set_mark(descriptor, name)
            return ""
    return "it is being written to"


def put_aside(layout: Layout, ledger: Ledger | None, name: str, path: Path, descriptor: int) -> bool:
    """Move a damaged file to the quarantine, or remove it; whether it was there, and not another by its name.

    Raises StoreFailure.
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
