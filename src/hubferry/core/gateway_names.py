"""Names of images as people write them at one host name of a gateway, and texts in which they are written so.

Pure. Whether a name works is asked of the router (routing.py), which answers the pull later: a name that it would not
understand, or understand as another image, is never shown. Not here: where names are in a text (image_names.py).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from hubferry.core import reference
from hubferry.core.errors import OciError
from hubferry.core.image import ImageName, parse_image
from hubferry.core.routing import HostMeaning, RoutedUpstream, RoutingTable, resolve


@dataclass(frozen=True)
class GatewayNames:
    """What images are called at a host name of a gateway. `address` is that name as clients write it, with its port."""

    table: RoutingTable
    host: HostMeaning
    address: str

    def parse(self, text: str) -> ImageName:
        """Parse the name of an image as it is written elsewhere, or as it is written for this gateway.

        Raises ValueError with the remedy.
        """
        if self.is_own(text):
            return parse_image(text.removeprefix(f"{self.address}/"), self._upstreams, self.home)
        return parse_image(text, self._upstreams, self.docker_hub or self.home)

    @cached_property
    def _upstreams(self) -> dict[str, RoutedUpstream]:
        return {upstream.name: upstream for upstream in self.table.upstreams}

    def is_own(self, text: str) -> bool:
        """Return whether a name is written for this gateway already."""
        return text.startswith(f"{self.address}/")

    @property
    def docker_hub(self) -> str:
        """The name of Docker Hub if it is an upstream, else empty: what a name without a registry means to clients."""
        found = self.table.by_name("docker.io")
        return "" if found is None else found.name

    def name_of(self, upstream: str, repository: str) -> str:
        """Return what a repository is called here, as short as possible; empty when it cannot be pulled here."""
        known = self.table.by_name(upstream)
        for written in () if known is None else _spellings(known, repository):
            if self._means(written) == (upstream, repository):
                return f"{self.address}/{written}"
        return ""

    def served(self, text: str) -> ImageName | None:
        """Return the image that a name means; None for no name, and for what cannot be pulled at this host name."""
        mark = _mark(text)
        try:  # a variable in the place of a tag may become any tag
            image = self.parse(text.removesuffix(mark) if "$" in mark else text)
        except ValueError:
            return None
        return image if self.name_of(image.upstream, image.repository) else None

    def rewritten(self, text: str) -> str:
        """Return the name of an image with its tag and digest as it is written for this gateway.

        Empty when the name is of this gateway already, is not a name that can be pulled here, or is no name.
        """
        return self.rewritten_as(text, None if self.is_own(text) else self.served(text))

    def rewritten_as(self, text: str, image: ImageName | None) -> str:
        """Return what `rewritten` does for a name of which it is known which image it means (see `served`)."""
        if image is None or self.is_own(text):
            return ""
        return self.name_of(image.upstream, image.repository) + _mark(text)

    def serves(self) -> list[str]:
        """Return the names of the upstreams of which something can be pulled at this host name; its own comes first."""
        first = self.home
        names = [upstream.name for upstream in self.table.upstreams if self.name_of(upstream.name, "a/b")]
        return sorted(names, key=lambda name: (name != first, name))

    def serves_by_namespace(self) -> list[str]:
        """Return the names of the upstreams that `?ns=` may name at this host name, as containerd and BuildKit do."""
        return [name for name in self.serves() if not self.host.is_exclusive or name == self.home]

    def is_mirror_of(self, upstream: str) -> bool:
        """Return whether a request without a registry means this upstream, as those of `registry-mirrors` do."""
        return self.home == upstream

    @property
    def home(self) -> str:
        """The upstream that a name without a registry means at this host name."""
        return self.host.upstream.name if self.host.upstream is not None else self.table.default

    def _means(self, written: str) -> tuple[str, str] | None:
        try:
            route = resolve(written, "", self.host, self.table)
        except OciError:
            return None
        return route.upstream, route.repository


def _spellings(upstream: RoutedUpstream, repository: str) -> Iterable[str]:
    if upstream.library and repository.count("/") == 1:
        yield repository.removeprefix("library/")
    yield repository
    yield f"{upstream.name}/{repository}"


def _mark(text: str) -> str:
    """Return the tag and the digest that a name ends with, with their marks."""
    last = text.partition("$")[0].rpartition("/")[2]
    mark = min((at for at in (last.find(":"), last.find("@")) if at >= 0), default=len(last))
    return text[len(text.partition("$")[0]) - len(last) + mark :]


def address_of(base_url: str) -> str:
    """Return host and port of a base URL as clients write them in front of an image.

    A host without a dot gets its port (`hub` -> `hub:443`), because clients would take it for a part of the name.
    """
    scheme, _, rest = base_url.partition("://")
    address = rest.partition("/")[0]
    if reference.names_registry(address):
        return address
    return f"{address}:{443 if scheme == 'https' else 80}"
