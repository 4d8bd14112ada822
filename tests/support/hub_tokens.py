"""The token service of the Docker Hub stand-in, as auth.docker.io: /token by GET and, for containerd, POST.

It grants a subset of what is asked: pull on repositories that exist and that the account may read. Tokens
are opaque. Wrong credentials are 401; a repository that may not be read is simply not in the grant.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import json
import secrets
from typing import TYPE_CHECKING

from tests.support.content import Blob
from tests.support.exchange import Reply
from tests.support.hub_state import Grant

if TYPE_CHECKING:
    from tests.support.exchange import Received
    from tests.support.hub_state import HubState

__all__ = ["SERVICE", "answer_token"]

SERVICE = "registry.docker.io"


def answer_token(state: HubState, request: Received) -> Reply | None:
    """The answer, or None for a request that auth.docker.io does not know."""
    if request.path != "/token" or request.method not in ("GET", "POST"):
        return None
    if request.method == "POST":
        fields = request.form
        if fields.get("grant_type") != ["password"]:
            return _json(400, {"error": "unsupported_grant_type"})
        account, password = fields.get("username", [""])[0], fields.get("password", [""])[0]
    else:
        fields = request.query
        account, password = _parse_basic(request.header("authorization"))
    if fields.get("service") != [SERVICE]:
        return _json(400, {"details": "service must be " + SERVICE})
    if account and state.users.get(account) != password:
        return _json(401, {"details": "incorrect username or password"})
    wanted = [_parse_scope(item) for scope in fields.get("scope", []) for item in scope.split()]
    granted = frozenset(name for name in wanted if name and state.may_read(account, name))
    token = secrets.token_urlsafe(24)
    state.grants[token] = Grant(account, granted, state.now + state.token_lifetime_s)
    issued = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return _json(
        200,
        {
            "token": token,
            "access_token": token,
            "expires_in": int(state.token_lifetime_s),
            "issued_at": issued,
        },
    )


def _parse_basic(header: str | None) -> tuple[str, str]:
    if header is None:
        return "", ""
    try:
        account, _, password = base64.b64decode(header.removeprefix("Basic ")).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "malformed", ""
    return account, password


def _parse_scope(scope: str) -> str | None:
    """The repository whose pull is asked for."""
    kind, _, rest = scope.partition(":")
    name, _, actions = rest.rpartition(":")
    return name if kind == "repository" and "pull" in actions.split(",") else None


def _json(status: int, document: object) -> Reply:
    return Reply(status, (("Content-Type", "application/json"),), Blob(json.dumps(document).encode()))
