"""The mark of a file that was verified: the fraction of a second of its modification time, made from its digest.

Whoever writes to the file later, cuts it, or puts another in its place gives it another time and so removes the mark. A
file without a mark is hashed before it is served (checks.py). The mark needs no index, survives `cp -p` and costs
nothing to look at. It does not protect from somebody who forges it, nor from a disk that changes bytes by itself:
`hubferry cache verify` is for those. A file system without nanoseconds has no marks: there each process hashes a file
once.
"""

import os

SECOND_NS = 10**9


def set_mark(descriptor: int, digest: str) -> None:
    """Mark an open file as verified. Raises OSError."""
    stat = os.fstat(descriptor)
    seconds_ns = stat.st_mtime_ns - stat.st_mtime_ns % SECOND_NS
    os.utime(descriptor, ns=(stat.st_atime_ns, seconds_ns + _fraction_ns(digest)))


def is_marked(stat: os.stat_result, digest: str) -> bool:
    """Return whether the file has not been written to since it was verified."""
    return stat.st_mtime_ns % SECOND_NS == _fraction_ns(digest)


def _fraction_ns(digest: str) -> int:
    return int(digest.partition(":")[2][:16], 16) % SECOND_NS
