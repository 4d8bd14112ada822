"""Platforms of images: parse and normalise them, and choose the manifests of an index that a machine would pull.

Pure. OCI image index, "platform"; names and order of preference as in containerd (platforms/database.go and
compare.go). Not here: reading an index (descriptors.py).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from hubferry.core.masking import shown

ALL = "all"

# the name of an architecture in `uname -m` or in ordinary use -> its name in images, and its variant
_ALIASES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armv7l": ("arm", "v7"),
    "armv8l": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv6l": ("arm", "v6"),
    "armv5l": ("arm", "v5"),
    "armv5tel": ("arm", "v5"),
    "i386": ("386", ""),
    "i686": ("386", ""),
    "loongarch64": ("loong64", ""),
}
_NATURAL = {"arm64": "v8", "arm": "v7", "amd64": "v1"}  # the variant that is meant when none is given
_PART = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Platform:
    """An operating system and an architecture. `variant` is empty when it is the usual one of the architecture."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def normal_platform(os: str, architecture: str, variant: str = "") -> Platform:
    """Return the platform in the one spelling that is used here, so that platforms can be compared."""
    os, architecture, variant = os.lower(), architecture.lower(), variant.lower()
    architecture, implied = _ALIASES.get(architecture, (architecture, ""))
    variant = variant or implied
    if variant.isdecimal():
        variant = f"v{variant}"
    return Platform(os, architecture, "" if variant == _NATURAL.get(architecture) else variant)


def parse_platform(text: str) -> Platform:
    """Parse a platform such as `linux/amd64` or `linux/arm64/v8`. Raises ValueError with the remedy."""
    parts = text.strip().lower().split("/")
    if not 2 <= len(parts) <= 3 or not all(_PART.fullmatch(part) for part in parts):
        raise ValueError(f"{shown(text)} is no platform: write linux/amd64, linux/arm64, linux/arm/v7 or {ALL}")
    return normal_platform(*parts)


def parse_platforms(texts: Sequence[str], machine: str) -> tuple[Platform, ...] | None:
    """Return the wanted platforms, or None for all platforms (`all`).

    An empty list means the platform of this machine; `machine` is its architecture in the words of `uname -m`.
    Raises ValueError with the remedy.
    """
    if not texts:
        return (normal_platform("linux", machine),)  # containers are Linux, whatever the machine runs
    platforms = tuple(dict.fromkeys(parse_platform(text) for text in texts if text != ALL))
    if ALL in texts:
        if platforms:
            raise ValueError(f"{ALL} and {platforms[0]} at once: {ALL} includes every platform, write one of the two")
        return None
    return platforms


def preferred(platform: Platform) -> tuple[Platform, ...]:
    """Return the platforms whose images a machine of this platform can run, best first."""
    os, architecture = platform.os, platform.architecture
    variant = platform.variant or _NATURAL.get(architecture, "")
    version = int(variant[1:]) if re.fullmatch(r"v\d{1,3}", variant) else 0
    found = [platform]
    if architecture == "amd64":
        found += [normal_platform(os, "amd64", f"v{older}") for older in range(version - 1, 0, -1)]
        found.append(Platform(os, "386"))
    elif architecture == "arm64":
        found += [normal_platform(os, "arm", f"v{older}") for older in range(version, 4, -1)]
    elif architecture == "arm":
        found += [normal_platform(os, "arm", f"v{older}") for older in range(version - 1, 4, -1)]
    return tuple(dict.fromkeys(found))


class IndexEntry(Protocol):
    """One entry of an index, as far as `choose` needs it."""

    @property
    def platform(self) -> Platform | None:
        """The platform that the entry is for; None: the index does not say."""

    @property
    def is_attestation(self) -> bool:
        """Whether the entry is a statement about another entry instead of an image."""


L = TypeVar("L", bound=IndexEntry)


def choose(entries: Sequence[L], wanted: Sequence[Platform] | None) -> tuple[list[L], list[Platform]]:
    """Return the entries of an index that machines of the wanted platforms would pull, and the platforms without any.

    `wanted` None: all platforms. An entry without a platform is always taken, because any machine may pull it. When
    several entries match one platform, clients take the first. On Windows they take the one for their own version of
    Windows, so there all entries of the platform are taken.
    """
    images = [entry for entry in entries if not entry.is_attestation]
    if wanted is None:
        return images, []
    chosen = dict.fromkeys(entry for entry in images if entry.platform is None)
    missing = []
    for platform in wanted:
        found = _best(images, platform)
        chosen |= dict.fromkeys(found)
        if not found and not any(entry.platform is None for entry in images):
            missing.append(platform)
    return list(chosen), missing


def _best(images: Sequence[L], platform: Platform) -> list[L]:
    for candidate in preferred(platform):
        found = [entry for entry in images if entry.platform == candidate]
        if found:
            return found if platform.os == "windows" else found[:1]
    return []
