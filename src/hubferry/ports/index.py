"""What is known about content: what tags mean, which repository holds what, and who may have it."""

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ManifestInfo:
    """The descriptor of a manifest: what a HEAD request says about it.

    `by_mirror` is true when only a mirror said this, not the upstream itself. `is_held` is true when the bytes of the
    manifest came from the repository that it is described for, so that they may be given to clients of that repository.
    """

    digest: str
    media_type: str
    size_bytes: int
    by_mirror: bool = field(default=False, compare=False)
    is_held: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class TagEntry:
    """The manifest that a tag pointed to when its upstream last confirmed it.

    `confirmed_at` is the time of that confirmation, in seconds since 1970.
    """

    manifest: ManifestInfo
    confirmed_at: float


@dataclass(frozen=True, slots=True)
class ListEntry:
    """An upstream's last answer to a request for a list of tags or of referrers.

    `digest` is the digest of the body, which is kept as content like any other; it is empty when the upstream said
    that there is no such list. `confirmed_at` is when the upstream answered, in seconds since 1970. `filters` is the
    answer's `OCI-Filters-Applied` header. `next_last` is the `last` parameter that asks for the next page; it is empty
    for the last page.
    """

    digest: str
    confirmed_at: float
    media_type: str = ""
    filters: str = ""
    next_last: str = ""


@dataclass(frozen=True, slots=True)
class Repository:
    """One repository of one upstream: the key under which the index keeps what it knows about it."""

    upstream: str
    name: str


class Index(Protocol):
    """What is known about content: what each tag points to, which repository holds what, and who may have it.

    When the index is lost, no content is lost and no wrong answer is given. No method raises: an index that cannot be
    read behaves as if it were empty, and one that cannot be written forgets what it was told.
    """

    async def tag(self, repository: Repository, tag: str) -> TagEntry | None:
        """Return what a tag pointed to when it was last confirmed, or None when nothing is known about it."""

    async def put_tag(self, repository: Repository, tag: str, entry: TagEntry) -> None:
        """Remember what a tag points to, whether or not the repository is known to hold that manifest."""

    async def manifest(self, repository: Repository, digest: str) -> ManifestInfo | None:
        """Return the manifest with this digest if the repository is known to hold it, else None."""

    async def put_manifest(self, repository: Repository, manifest: ManifestInfo) -> None:
        """Remember that the repository holds a manifest, because its bytes came from there."""

    async def right(self, repository: Repository, about: str, who: str) -> float | None:
        """Return when a right was last proven, in seconds since 1970.

        None: there is no such right, or it was withdrawn after it was proven. For `about` and `who` see the table in
        pull/rights.py.
        """

    async def put_right(
        self, repository: Repository, about: str, who: str, proven_at: float, *, even_if_nothing_kept: bool = False
    ) -> None:
        """Remember a right, unless it was withdrawn after `proven_at`, the time when the question was asked.

        The right is written to disk when something of the repository is kept, or with `even_if_nothing_kept`. Otherwise
        it is remembered in this process alone.
        """

    async def withdraw_right(self, repository: Repository, about: str, who: str) -> bool:
        """Withdraw a right in every process. Return whether there was one."""

    async def forget_right(self, repository: Repository, about: str, who: str, *, only_empty: bool = False) -> None:
        """Delete a right. With `only_empty`, delete it only when nothing of the repository is kept."""

    def withdrawals(self) -> int:
        """Return a number that changes whenever any process withdraws a right."""


class BlobIndex(Index, Protocol):
    """An index that also knows which repository holds which blob, and what upstreams answered about lists."""

    async def blob(self, repository: Repository, digest: str) -> int | None:
        """Return the size in bytes of a blob that this repository was seen to hold, else None."""

    async def put_blob(self, repository: Repository, digest: str, size_bytes: int) -> None:
        """Remember that the repository holds a blob. For what proves that see docs/design.md, "Rights"."""

    async def parent_of(self, repository: Repository, digest: str) -> str | None:
        """Return the digest of a manifest in this repository that refers to this manifest or blob, or None."""

    async def origins(self, digest: str) -> set[str]:
        """Return the names of the upstreams that gave this content; empty when that is not known, or no longer."""

    async def is_tagged(self, repository: Repository, digest: str) -> bool:
        """Return whether a tag of this repository is known to point to this manifest, which need not be kept."""

    async def tags_of(self, repository: Repository) -> dict[str, TagEntry]:
        """Return every tag of a repository of which something is known, up to a bound, with what it pointed to."""

    async def is_listed(self, repository: Repository, digest: str) -> bool:
        """Return whether a kept list of referrers in this repository contains the manifest with this digest."""

    async def list_entry(self, repository: Repository, name: str) -> ListEntry | None:
        """Return a kept list, or None.

        `name` is the path and query, below the repository, with which the upstream is asked for the list.
        """

    async def drop_list(self, repository: Repository, name: str) -> None:
        """Forget a list, or the fact that there is no such list."""

    async def put_list(self, repository: Repository, name: str, subject: str, entry: ListEntry) -> None:
        """Remember a list.

        `subject` is the digest that the list is about: the list is removed together with that content.
        """
