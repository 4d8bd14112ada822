"""The login for a registry that `docker login` or `podman login` left in a file of this user."""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from hubferry.core.access import Credential

MAX_BYTES = 2**20


def find_login(host: str, environ: Mapping[str, str]) -> Credential | None:
    """Return the login for `host[:port]`, or None: there is none, or a credential helper keeps it."""
    for file in _files(environ):
        try:
            with file.open("rb") as opened:
                entry = json.loads(opened.read(MAX_BYTES))["auths"][host]["auth"]
            user, colon, secret = base64.b64decode(entry).decode().partition(":")
        except (OSError, ValueError, KeyError, TypeError, binascii.Error):
            continue
        if colon:
            return Credential(user, secret)
    return None


def _files(environ: Mapping[str, str]) -> Iterator[Path]:
    home = Path(environ.get("HOME", "/"))
    yield Path(environ.get("DOCKER_CONFIG") or home / ".docker") / "config.json"
    if named := environ.get("REGISTRY_AUTH_FILE"):
        yield Path(named)
    if runtime := environ.get("XDG_RUNTIME_DIR"):
        yield Path(runtime) / "containers/auth.json"
    yield home / ".config/containers/auth.json"
