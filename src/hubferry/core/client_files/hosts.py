"""The hosts.toml of one registry, for dockerd and containerd.

Pure. A registry with a folder of its own is no longer what the folder `_default` says. So a new file begins with what
`_default` has, and nothing that counted before is lost.
"""

import re

from hubferry.core.client_files.entries import CannotEditError, FileWish, Host
from hubferry.core.client_files.gateway import EVERY
from hubferry.core.client_files.request import PlanRequest, head_of

DEFAULT = "_default"
_RELATIVE = re.compile(r"^\s*(?:ca|client)\s*=.*[\"'](?!/)[^\"',\]\s]", re.MULTILINE)


def hosts_path(folder: str, registry: str) -> str:
    """Return where the file of a registry is, below the folder of all."""
    return f"{folder}/{DEFAULT if registry == EVERY else registry}/hosts.toml"


def hosts_wish(request: PlanRequest, client: str, path: str, capabilities: tuple[str, ...]) -> FileWish:
    """Return what is to stand in the file at a path. Raises CannotEditError if `_default` cannot be copied."""
    head = head_of(client)
    default_path = hosts_path(path.rpartition("/")[0].rpartition("/")[0], EVERY)
    if path not in request.texts and path != default_path:
        default = request.texts.get(default_path, "")
        if _RELATIVE.search(default):
            raise CannotEditError(
                f"{default_path} names files beside it, and has to be copied to {path}: write whole paths in it, then "
                "try again"
            )
        head += default
    return FileWish(path, "hosts.toml", (Host(request.gateway.url, capabilities),), head)
