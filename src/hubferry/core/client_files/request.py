"""What a plan is made from, and the heads of new files. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hubferry.core.client_files.gateway import EVERY, GatewayAddress, Version


@dataclass(frozen=True)
class PlanRequest:
    """What a person asked for, and what was found on the machine.

    `version` is the client's, None if it is not known; `texts` are the files of SOURCES that there are, by path.
    """

    gateway: GatewayAddress
    registries: tuple[str, ...]
    version: Version | None = None
    texts: Mapping[str, str] = field(default_factory=dict)

    def is_older_than(self, major: int, minor: int = 0) -> bool:
        """Return whether the client is known to be older than a version."""
        return self.version is not None and self.version < (major, minor)

    def is_since(self, major: int, minor: int = 0) -> bool:
        """Return whether the client is known to be of a version or newer."""
        return self.version is not None and self.version >= (major, minor)


def head_of(client: str) -> str:
    """Return the comment that begins a new TOML or YAML file."""
    return f"# Made by hubferry setup {client}. `hubferry setup {client} --undo` removes it.\n"


def refuse_every(request: PlanRequest, client: str) -> None:
    """Raise ValueError if all registries are asked for, of a client that needs to be told each."""
    if EVERY in request.registries:
        raise ValueError(f"{client} has no word for every registry: name each with --registry")


def refuse_path(request: PlanRequest, client: str) -> None:
    """Raise ValueError if the address of the gateway has a path, of a client that takes no path there."""
    if request.gateway.path:
        raise ValueError(
            f"{client} takes no secret in the address of a mirror: leave the path away, and log in to "
            f"{request.gateway.host} with {client} if the gateway asks for a login"
        )
