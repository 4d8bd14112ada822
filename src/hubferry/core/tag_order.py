"""Order tags as people look for them, and filter them.

Pure. `latest` comes first, then versions from the newest to the oldest, then names such as `alpine`, and at the end
what no person types: digests and commits. Of one version the plain tag comes first, then its variants
(`1.27-alpine3.20`), then what was before it (`1.27-rc2`). Numbers in names count as numbers, the highest first.
"""

import re
from collections.abc import Iterable, Sequence
from heapq import merge

LATEST = "latest"
SORTED_AT_ONCE = 2000  # tags, which takes some 10 ms
_VERSION = re.compile(r"[vV]?(\d{1,18}(?:\.\d{1,18}){0,6})(?![0-9.])(.*)")
_BEFORE = re.compile(r"[-_.]?(rc|beta|b|alpha|a|dev|pre|preview|m|nightly|snapshot)(?=[-_.\d]|$)")
_MACHINE = re.compile(r"sha256-[0-9a-f]{64}.*|(?:sha-|git-)?(?=[0-9]*[a-f])(?=[a-f]*[0-9])[0-9a-f]{7,64}")
_NUMBERS = re.compile(r"(\d{1,18})")
_STAGES = {"rc": 0, "preview": 1, "pre": 1, "beta": 2, "b": 2, "alpha": 3, "a": 3, "m": 4}
_Natural = tuple[str | int, ...]
_Key = tuple[int, tuple[int, ...], int, _Natural, str]


def sort_tags(tags: Iterable[str]) -> list[str]:
    """Return each tag once, in the order that is described above.

    Sorting holds the interpreter lock, so long lists are sorted in parts, between which other threads get their turn.
    """
    keyed = [(_key(tag), tag) for tag in dict.fromkeys(tags)]
    runs = [sorted(keyed[at : at + SORTED_AT_ONCE]) for at in range(0, len(keyed), SORTED_AT_ONCE)]
    return [tag for _, tag in merge(*runs)]


def filter_tags(tags: Sequence[str], text: str) -> list[str]:
    """Return the tags that contain every word of a text, in upper or lower case, in the order that they are in."""
    words = text.lower().split()
    return [tag for tag in tags if all(word in tag.lower() for word in words)]


def _key(tag: str) -> _Key:
    if tag == LATEST:
        return (0, (), 0, (), "")
    if _MACHINE.fullmatch(tag):
        return (3, (), 0, (tag,), "")
    found = _VERSION.fullmatch(tag)
    if found is None:
        return (2, (), 0, _natural(tag), tag)
    # at the end of a shorter version something larger than any negative number: 1.27.3 comes before 1.27, 1.27 before 1
    version = (*(-int(number) for number in found[1].split(".")), 1)
    before = _BEFORE.match(found[2].lower())
    if before is not None:
        return (1, version, 2 + _STAGES.get(before[1], 5), _natural(found[2]), tag)
    return (1, version, 1 if found[2] else 0, _natural(found[2]), tag)


def _natural(text: str) -> _Natural:
    """Return text and numbers in turn, so that numbers meet numbers when two are compared; higher ones come first."""
    parts = _NUMBERS.split(text.lower())
    return tuple(-int(part) if at % 2 else part for at, part in enumerate(parts))
