"""Parse image names as people write them: `nginx`, `ghcr.io/owner/app:1.2`, `quay.io/a/b@sha256:...`.

Pure. Grammar of distribution/reference; the registry must be one of the configured upstreams.
Not here: the names in requests (routing.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from hubferry.core import reference
from hubferry.core.errors import OciError


class NamesLibrary(Protocol):
    """An upstream, as far as its images are named."""

    @property
    def library(self) -> bool:
        """Whether names of one part are completed with `library/`."""


@dataclass(frozen=True, slots=True)
class ImageName:
    """A repository of an upstream and one of its tags or digests. `reference` is empty when none was written."""

    upstream: str
    repository: str
    reference: str

    def __str__(self) -> str:
        mark = "" if not self.reference else "@" if reference.is_digest(self.reference) else ":"
        return f"{self.upstream}/{self.repository}{mark}{self.reference}"


def split_image(text: str) -> tuple[str, str, str]:
    """Return the name, the tag and the digest of an image as they are written. Tag and digest may be empty.

    Nothing of it is checked. A colon in front of the last slash belongs to a port.
    """
    name, _, digest = text.partition("@")
    front, slash, last = name.rpartition("/")
    last, _, tag = last.partition(":")
    return front + slash + last, tag, digest


def parse_image(text: str, upstreams: Mapping[str, NamesLibrary], default: str) -> ImageName:
    """Parse an image name. A name without a registry means the upstream `default`.

    When both a tag and a digest are written, the tag is dropped, because the digest alone says which manifest is meant.
    Raises ValueError with the remedy.
    """
    name, _, digest = text.partition("@")
    registry, _, rest = name.partition("/")
    if rest and reference.names_registry(registry):
        upstream, repository = reference.normal_host(registry), rest
    else:
        upstream, repository = default, name
    if upstream not in upstreams:
        raise ValueError(f"{text!r} names {upstream}, which is none of the upstreams: {', '.join(upstreams)}")
    repository, _, tag = repository.partition(":")
    if upstreams[upstream].library:
        repository = reference.complete_library(repository)
    try:
        reference.check_repository(repository)
        found = digest or tag
        if found:
            reference.check_reference(found)
        elif "@" in text or name.endswith(":"):
            raise ValueError(f"{text!r} ends where a tag or digest should follow")
    except OciError as error:
        raise ValueError(f"{text!r} is no image: {error.message}") from None
    return ImageName(upstream, repository, found)
