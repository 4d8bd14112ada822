"""Hash everything that is kept, and put aside what is not what its name says. Blocks.

A file that disappears meanwhile was removed by somebody, which is no damage.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hubferry.ports.content import StoreFailure
from hubferry.store.checks import check_file, put_aside
from hubferry.store.layout import Layout
from hubferry.store.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found about one file; `problem` is empty when it is what its name says."""

    name: str
    size_bytes: int
    problem: str


def kept_files(layout: Layout) -> Iterator[tuple[str, Path, int]]:
    """Yield everything with a final name: its digest, or what stands where one should; path; size in bytes."""
    for prefix, shelf in layout.shelves():
        with contextlib.suppress(FileNotFoundError), os.scandir(shelf) as entries:
            for entry in sorted(entries, key=lambda found: found.name):
                if not entry.name.startswith("."):
                    with contextlib.suppress(FileNotFoundError):
                        name = f"{prefix.partition(':')[0]}:{entry.name}"
                        yield name, Path(entry.path), entry.stat(follow_symlinks=False).st_size


def check(layout: Layout, ledger: Ledger, hashed: Callable[[int], None]) -> Iterator[Checked]:
    """Check one file after the other, and yield what was found; `hashed` is called with the size of each piece.

    What is damaged is moved to the quarantine before it is yielded. Raises StoreFailure when it cannot be, or when a
    file cannot be opened.
    """
    for name, path, size_bytes in kept_files(layout):
        try:
            with path.open("rb", buffering=0) as file:
                problem = _problem(name, file.fileno(), hashed)
                if problem and not put_aside(layout, ledger, name, path, file.fileno()):
                    continue  # it was removed meanwhile
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StoreFailure(f"{path} cannot be opened: {error.strerror}; check its permissions") from None
        yield Checked(name, size_bytes, problem)


def _problem(name: str, descriptor: int, hashed: Callable[[int], None]) -> str:
    """Return what is wrong with a file; empty when nothing is. One that cannot be read is damaged too."""
    try:
        return check_file(name, descriptor, hashed)
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
