"""Parse requests to the token endpoint, by GET or by POST.

Pure. GET follows the distribution token specification, POST its OAuth2 variant. Several scopes are
repeated parameters in the former and joined by spaces in the latter; podman does both. A POST that is not supported is
refused with 404, because that is the only status on which containerd and BuildKit try GET instead.
"""

import base64
from dataclasses import dataclass
from urllib.parse import parse_qs

from hubferry.core.access import Credential
from hubferry.core.errors import Code, OciError
from hubferry.core.scope import Scope, parse_scopes

MAX_FORM = 16 * 1024


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """The scopes that a client asks for, and the credential that it sent (None: anonymous)."""

    scopes: tuple[Scope, ...]
    credential: Credential | None


def parse_basic(authorization: str | None) -> Credential | None:
    """Return the credential in `Authorization: Basic`, or None for no header or another scheme.

    An empty name with an empty password counts as no credential, because docker sends that to a registry that it was
    never logged in to. Raises OciError 401 when the scheme is Basic but the credential cannot be read.
    """
    scheme, _, value = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(value.strip(), validate=True).decode()
    except ValueError as error:  # binascii.Error, UnicodeDecodeError, and a plain one beyond ASCII
        raise OciError(401, Code.UNAUTHORIZED, "the Basic credentials are not valid base64 of UTF-8") from error
    username, colon, secret = text.partition(":")
    if not colon or not text.isprintable():
        raise OciError(401, Code.UNAUTHORIZED, "the Basic credentials are not of the form name:password")
    return Credential(username, secret) if username or secret else None


def from_query(params: tuple[tuple[str, str], ...], authorization: str | None) -> TokenRequest:
    """Parse a GET request, given its decoded query parameters and its `Authorization` header."""
    scopes = parse_scopes(value for key, value in params if key == "scope")
    return TokenRequest(tuple(scopes), parse_basic(authorization))


def from_form(body: bytes, authorization: str | None) -> TokenRequest:
    """Parse a POST request (application/x-www-form-urlencoded), given its body and its `Authorization` header.

    Raises OciError: 404 for a `grant_type` that is not `password`, 400 for a form that cannot be read.
    """
    try:
        form = parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=64, errors="strict")
    except (ValueError, UnicodeError) as error:
        raise OciError(400, Code.UNSUPPORTED, "the form of the token request cannot be read") from error
    grant = form.get("grant_type", [""])[0]
    if grant != "password":
        raise OciError(
            404,
            Code.UNSUPPORTED,
            f"grant_type {grant[:32]!r} is not supported: use GET, or POST with grant_type=password",
        )
    credential = parse_basic(authorization)
    username, secret = form.get("username", [""])[0], form.get("password", [""])[0]
    if credential is None and (username or secret):
        credential = Credential(username, secret)
    return TokenRequest(tuple(parse_scopes(form.get("scope", []))), credential)
