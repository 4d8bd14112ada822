"""The gateway's own users (`access.login = "users"`): their passwords and secrets, as its two files have them.

Pure. The users file is what `htpasswd -B` writes: one `NAME:HASH` in a line, bcrypt only. The secrets file is JSON, and
has the SHA-256 of each access token and client secret. They have 160 random bits, so a plain hash is enough.

    access token    hubferry_HEX, shown instead of the password by a user of the users file
    client secret   the same, shown as the first part of a path by a client that cannot log in: a user of its own

Not here: reading the files, checking a password (server/), who may pull what (rules.py).
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from hubferry.core.access import Credential, UserLogin
from hubferry.core.access_values import NAME_RULE, is_name
from hubferry.core.http import Request
from hubferry.core.masking import SECRET_BEGINNING

SECRET_BYTES = 20
_SECRET_TEXT = SECRET_BEGINNING + rf"[0-9a-f]{{{2 * SECRET_BYTES}}}"
_IN_PATH = re.compile(rf"/(?P<secret>{_SECRET_TEXT})(?P<path>/.*|)", re.DOTALL)
_IN_PASSWORD = re.compile(rf"(?P<secret>{_SECRET_TEXT})(?::(?P<other>.*))?", re.DOTALL)
# below 4 bcrypt has no cost, and with more than 14 one login takes longer than a second
_BCRYPT = re.compile(r"\$2[aby]\$(?:0[4-9]|1[0-4])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")
NO_PASSWORD = "!"  # noqa: S105 - instead of a hash, for a user who has access tokens only
MAX_ROWS = 100_000
MAX_LINE = 1024
VERSION = 1


@dataclass(frozen=True, slots=True)
class User:
    """Somebody whom this gateway knows, and the groups that the user is in."""

    name: str
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """One row of the secrets file.

    `id` names the row when it is listed and revoked. `sha256` is that of the secret. `is_client`: the secret stands in
    a path, and `user` is the name of a client; otherwise it is an access token of a user. Times are in seconds since
    1970; `ends_at` None: it does not end.
    """

    id: str
    user: str
    sha256: str
    is_client: bool
    created_at: int
    ends_at: int | None = None

    @property
    def login(self) -> UserLogin:
        """Return the login of whoever shows the secret."""
        return UserLogin(self.user, f"secret {self.id}", self.ends_at)


class Directory:
    """Everybody whom the gateway knows at one moment."""

    def __init__(
        self,
        hashes: Mapping[str, str],
        secrets: Iterable[StoredSecret] = (),
        groups: Mapping[str, Iterable[str]] | None = None,
        issuers: Iterable[str] = (),
    ) -> None:
        """`hashes` are the bcrypt hashes of users by name, `groups` the members of each group, `issuers` the names of
        the issuers whose users are known.

        `orphans` are then access tokens of users who are gone, `shared_names` those that a user and a client have.
        """
        secrets = list(secrets)
        self._hashes = hashes
        # a user who was removed has no access tokens any more, whatever the secrets file says
        self.orphans = [row for row in secrets if not row.is_client and row.user not in hashes]
        self.shared_names = sorted({row.user for row in secrets if row.is_client and row.user in hashes})
        self._secrets = {row.sha256: row for row in secrets if row.is_client or row.user in hashes}
        costs = [hashed[4:6] for hashed in hashes.values() if hashed != NO_PASSWORD]
        # a hash of no password, which takes as long to check as the dearest
        self.decoy = f"$2b${max(costs, default='10')}$" + "." * 53
        proofs = {(row.user, row.login.proof) for row in self._secrets.values()}
        self._proofs = proofs | {(user, _proof_of(hashed)) for user, hashed in hashes.items()}
        self._issuers = frozenset(f"issuer {name}" for name in issuers)
        self._groups: dict[str, frozenset[str]] = {}
        for group, members in (groups or {}).items():
            for member in members:
                self._groups[member] = self._groups.get(member, frozenset()) | {group}

    def user_of(self, login: UserLogin, now: float) -> User | None:
        """Return who logged in; None when that has ended, or what was shown does not count any more."""
        if login.ends_at is not None and now >= login.ends_at:
            return None
        if login.proof in self._issuers:
            return User(login.user, self.user_named(login.user).groups.union(login.groups))
        return self.user_named(login.user) if (login.user, login.proof) in self._proofs else None

    def user_named(self, name: str) -> User:
        """Return a user, known or not, with the groups that it is in."""
        return User(name, self._groups.get(name, frozenset()))

    def knows(self, name: str) -> bool:
        """Return whether there is a user or client of this name."""
        return name in self._hashes or any(row.user == name for row in self._secrets.values())

    def knows_user(self, name: str) -> bool:
        """Return whether there is a user of this name, who has a password or access tokens."""
        return name in self._hashes

    def hash_of(self, user: str) -> str | None:
        """Return the bcrypt hash of a user's password; None: there is no such user, or it has no password."""
        hashed = self._hashes.get(user, NO_PASSWORD)
        return None if hashed == NO_PASSWORD else hashed

    def login_by_secret(self, secret: str, now: float, *, is_client: bool) -> UserLogin | None:
        """Return the login for an access token, or with `is_client` for a client secret; None if there is no such."""
        row = self._secrets.get(digest_of(secret))
        if row is None or row.is_client != is_client or (row.ends_at is not None and now >= row.ends_at):
            return None
        return row.login


def login_by_password(user: str, hashed: str) -> UserLogin:
    """Return the login of a user whose password was checked against this hash; it ends when the hash changes."""
    return UserLogin(user, _proof_of(hashed))


def _proof_of(hashed: str) -> str:
    return "password " + hashlib.sha256(hashed.encode()).hexdigest()[:16]


def digest_of(secret: str) -> str:
    """Return the SHA-256 of a secret in hexadecimal digits, which is what the secrets file has."""
    return hashlib.sha256(secret.encode()).hexdigest()


def split_password(credential: Credential) -> tuple[str, Credential | None]:
    """Return the access token at the beginning of a password, and the login of an upstream that comes with it.

    `hubferry_HEX:PASSWORD` has both: the user name and the rest are then of the upstream. The token is empty when the
    password does not begin with one.
    """
    match = _IN_PASSWORD.fullmatch(credential.secret)
    if match is None:
        return "", None
    return match["secret"], Credential(credential.username, match["other"]) if match["other"] else None


def take_secret_from_path(request: Request) -> Request:
    """Return a request with the client secret that its path begins with moved into `Request.secret`."""
    match = _IN_PATH.fullmatch(request.path)
    if match is None:
        return request
    return replace(request, path=match["path"] or "/", secret=match["secret"])


def parse_users(text: str) -> dict[str, str]:
    """Return the bcrypt hashes in a users file by name. Empty lines and lines that begin with # are skipped.

    Raises ValueError with the number of the line, but without its content.
    """
    hashes: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, hashed = line.strip().partition(":")
        if not colon or not is_name(name) or len(line) > MAX_LINE:
            raise ValueError(f"line {number} is no NAME:HASH with a name of {NAME_RULE}")
        if name in hashes:
            raise ValueError(f"line {number}: {name} is there twice")
        if hashed != NO_PASSWORD and not _BCRYPT.fullmatch(hashed):
            problem = "has no bcrypt hash of a cost from 4 to 14: make it with `hubferry user passwd` or `htpasswd -B`"
            raise ValueError(f"line {number}: {name} {problem}")
        hashes[name] = hashed
        if len(hashes) > MAX_ROWS:
            raise ValueError(f"it has more than {MAX_ROWS} users")
    return hashes


def parse_secrets(text: str) -> list[StoredSecret]:
    """Return the rows of a secrets file. Raises ValueError with what is wrong, but without its content."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON") from None
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise ValueError(f'it has no "version": {VERSION}')
    rows = document.get("secrets")
    if not isinstance(rows, list) or len(rows) > MAX_ROWS:
        raise ValueError(f'its "secrets" are no list of at most {MAX_ROWS}')
    parsed = []
    for number, row in enumerate(rows, start=1):
        try:
            parsed.append(_parse_row(row))
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"secret number {number} cannot be read") from None
    return parsed


def _parse_row(row: Any) -> StoredSecret:
    one = StoredSecret(**row)
    is_complete = (
        isinstance(one.id, str)
        and isinstance(one.user, str)
        and is_name(one.user)
        and isinstance(one.sha256, str)
        and re.fullmatch(r"[0-9a-f]{64}", one.sha256)
        and isinstance(one.is_client, bool)
        and isinstance(one.created_at, int)
        and (one.ends_at is None or isinstance(one.ends_at, int))
    )
    if not is_complete:
        raise ValueError
    return one


def format_secrets(rows: Iterable[StoredSecret]) -> str:
    """Return the text of a secrets file with these rows, one in a line."""
    lines = ",\n".join("    " + json.dumps(asdict(row)) for row in rows)
    return f'{{\n  "version": {VERSION},\n  "secrets": [\n{lines}\n  ]\n}}\n'


def with_user(text: str, name: str, hashed: str) -> str:
    """Return the text of a users file with this hash for a user, new or in place of another; the rest as it is."""
    kept, line = text.splitlines(), f"{name}:{hashed}"
    at = next((number for number, one in enumerate(kept) if one.strip().startswith(f"{name}:")), len(kept))
    return "".join(one + "\n" for one in (*kept[:at], line, *kept[at + 1 :]))


def without_user(text: str, name: str) -> str:
    """Return the text of a users file without a user; the rest as it is."""
    return "".join(one + "\n" for one in text.splitlines() if not one.strip().startswith(f"{name}:"))
