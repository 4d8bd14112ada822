"""What the Docker Hub stand-in knows: repositories, accounts, pulls counted, a clock that can be advanced.

Pure data behind one lock; hub_tokens.py, hub_registry.py and hub_cdn.py answer requests from it.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.support.content import Blob
    from tests.support.images import Image, Index

__all__ = ["Grant", "HubState", "Repository", "add_image"]


@dataclass
class Repository:
    """One repository: `readers` None is public, otherwise the accounts that may pull."""

    readers: frozenset[str] | None = None
    tags: dict[str, str] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    blobs: dict[str, Blob] = field(default_factory=dict)

    def referrers(self, digest: str, artifact_type: str | None) -> list[dict[str, Any]]:
        """Descriptors of the manifests whose subject is `digest`."""
        found = []
        for own_digest, (media_type, body) in self.manifests.items():
            document = json.loads(body)
            kind = document.get("artifactType", "")
            if document.get("subject", {}).get("digest") == digest and artifact_type in (None, kind):
                found.append({"mediaType": media_type, "digest": own_digest, "size": len(body), "artifactType": kind})
        return found


@dataclass(frozen=True)
class Grant:
    """What an issued token stands for: an account ("" is anonymous), repositories, and when it ends."""

    account: str
    repositories: frozenset[str]
    expires: float


@dataclass
class HubState:
    """Everything that a test may set up or look at. `now` is monotonic and moves on with `skew_s`."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    users: dict[str, str] = field(default_factory=dict)
    grants: dict[str, Grant] = field(default_factory=dict)
    pulls: Counter[str] = field(default_factory=Counter)
    token_lifetime_s: float = 300
    signature_lifetime_s: float = 300
    pull_limit: int | None = 100
    retry_after_s: int = 30
    redirect_blobs: bool = True
    skew_s: float = 0.0
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def now(self) -> float:
        return time.monotonic() + self.skew_s

    def may_read(self, account: str, repository: str) -> bool:
        known = self.repositories.get(repository)
        return known is not None and (known.readers is None or account in known.readers)


def add_image(repository: Repository, tag: str | None, image: Image | Index) -> str:
    repository.manifests.update(image.manifests)
    repository.blobs.update(image.blobs)
    if tag:
        repository.tags[tag] = image.digest
    return image.digest
