"""The address of a gateway, the registries and the version that a person gives to `hubferry setup`: parse and check.

Pure. All of them end up in configuration files and registries in names of folders, so nothing that could leave a quoted
string or a folder passes. Errors are ValueErrors that mask a secret in the address.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from hubferry.core.masking import mask_secrets, shown
from hubferry.core.reference import host_without_port, is_host, normal_host
from hubferry.core.settings import BUILT_IN
from hubferry.core.values import check_url

EVERY = "*"
Version = tuple[int, int]
_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)*")
_VERSION = re.compile(r"(?<![\w.])v?(\d{1,4})\.(\d{1,4})(?:\.\d|\b)")


@dataclass(frozen=True)
class GatewayAddress:
    """Where clients reach the gateway. `host` has the port; `path` is empty or has a client's secret."""

    scheme: str
    host: str
    path: str

    @property
    def url(self) -> str:
        """The whole address, without a slash at its end."""
        return f"{self.scheme}://{self.host}{self.path}"

    @property
    def is_plain(self) -> bool:
        """Whether it is reached without TLS."""
        return self.scheme == "http"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it: `localhost`, or an address of loopback."""
        name = host_without_port(self.host).strip("[]")
        try:
            return ip_address(name).is_loopback
        except ValueError:
            return name == "localhost"


def parse_gateway(text: str) -> GatewayAddress:
    """Return the address of a gateway. Raises ValueError for all but http(s)://HOST[:PORT][/SECRET]."""
    text = text.rstrip("/")
    try:
        check_url(text if text.isprintable() else "")  # urlsplit leaves out line ends
    except ValueError:
        what = mask_secrets(shown(text))
        raise ValueError(f"{what} is no address of a gateway: write https://HOST[:PORT]") from None
    parts = urlsplit(text)
    if not _PATH.fullmatch(parts.path) or ".." in parts.path:
        raise ValueError("the path of the gateway has to be empty, or a secret of `hubferry token create --mirror`")
    return GatewayAddress(parts.scheme, parts.netloc.lower(), parts.path)


def parse_registries(names: Sequence[str]) -> tuple[str, ...]:
    """Return the registry hosts to pull through the gateway, each once: the built-in ones if none is named.

    `*` means all of them, for clients that can be told so. Raises ValueError for what is no registry host.
    """
    found = dict.fromkeys(name if name == EVERY else normal_host(name) for name in names or BUILT_IN)
    for name in found:
        if name != EVERY and (not is_host(name) or ".." in name):
            raise ValueError(f"{shown(name)} is no registry: write its host, such as ghcr.io")
    return tuple(found)


def parse_version(text: str) -> Version | None:
    """Return the major and minor version in what a program prints with --version. None: it says none.

    dockerd prints `Docker version 29.1.3, build 1234`, containerd `containerd containerd.io 1.7.24 1234`.
    """
    found = _VERSION.search(text)
    return None if found is None else (int(found[1]), int(found[2]))
