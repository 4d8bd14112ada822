"""Hash files that are kept, and put aside what is not what its name says. Blocks.

For `hubferry cache verify`, which hashes everything (verify.py), and for a server that finds a file without its mark.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from hubferry.core.reference import is_digest
from hubferry.ports import StoreFailure
from hubferry.store.layout import Layout
from hubferry.store.ledger import Ledger

PIECE_BYTES = 2**20


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


def put_aside(layout: Layout, ledger: Ledger | None, name: str, path: Path) -> None:
    """Move a damaged file to the quarantine. Raises StoreFailure."""
    try:
        layout.quarantine.mkdir(exist_ok=True)
        path.rename(layout.quarantine / path.name)
    except OSError as error:
        raise StoreFailure(f"{path} is damaged and cannot be moved to {layout.quarantine}: {error.strerror}") from None
    if ledger is not None:
        ledger.forget([name])
