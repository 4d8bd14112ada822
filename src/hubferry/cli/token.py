"""`hubferry token`: access tokens of users, and secrets of clients that cannot log in."""

import secrets
import time
from datetime import UTC, datetime
from pathlib import Path

import click

from hubferry.cli.load import (
    DURATION,
    Misuse,
    as_misuse,
    check_users,
    config_option,
    load_or_misuse,
    user_settings,
)
from hubferry.core.access_values import check_name
from hubferry.core.masking import SECRET_BEGINNING
from hubferry.core.settings import Settings
from hubferry.core.users import SECRET_BYTES, StoredSecret, digest_of
from hubferry.core.values import Duration
from hubferry.server.user_files import edit_secrets, read_secrets, read_users

ID_BYTES = 4


@click.group()
def token() -> None:
    """Make, list and revoke access tokens and client secrets (login = "users").

    A running gateway notices changes within seconds. Example: hubferry token create alice --expires 90d
    """


@token.command()
@click.argument("user", required=False)
@click.option("--mirror", "client", metavar="NAME", help="A secret for the client NAME, in the URL of a mirror.")
@click.option("--expires", type=DURATION, help="After this long it does not count any more, e.g. 90d.")
@config_option
def create(config_file: Path | None, user: str | None, client: str | None, expires: Duration | None) -> None:
    """Make an access token for USER, who shows it instead of a password; or a client's secret, with --mirror.

    Prints it on standard output, once: only its hash is kept. With --mirror it is the URL of the mirror, which dockerd
    takes as one of its registry-mirrors and containerd in its hosts.toml.
    """
    if (user is None) == (client is None):
        raise click.UsageError("name a user, or a client with --mirror")
    settings = load_or_misuse(config_file)
    access = check_users(settings)
    name = str(user or client)
    secret = SECRET_BEGINNING + secrets.token_hex(SECRET_BYTES)
    now = int(time.time())
    ends_at = None if expires is None else now + int(expires.seconds)
    row = StoredSecret(secrets.token_hex(ID_BYTES), name, digest_of(secret), client is not None, now, ends_at)
    with as_misuse():
        check_name(name)
        is_user = name in read_users(access)
        if client is None and not is_user:
            raise Misuse(f"{access.users_file} has no user {name}: add it with hubferry user add {name}")
        if client is not None and is_user:
            raise Misuse(f"{name} is a user already: take another name for the client")
        edit_secrets(access, lambda rows: [*rows, row])
    click.echo(mirror_url(settings, secret) if client is not None else secret)
    what = f"the mirror of {name}" if client is not None else f"an access token of {name}"
    until = "" if ends_at is None else f", until {_date(ends_at)}"
    click.echo(f"{what}{until}; it is not shown again, and revoked by: hubferry token revoke {row.id}", err=True)


@token.command("ls")
@config_option
def list_(config_file: Path | None) -> None:
    """List access tokens and client secrets: their id, whose they are, what they are, from when until when."""
    access = user_settings(config_file)
    with as_misuse():
        rows = read_secrets(access)
    for row in rows:
        kind = "mirror" if row.is_client else "access token"
        until = "no end" if row.ends_at is None else f"until {_date(row.ends_at)}"
        click.echo("\t".join((row.id, row.user, kind, f"made {_date(row.created_at)}", until)))


@token.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@config_option
def revoke(config_file: Path | None, ids: tuple[str, ...]) -> None:
    """Revoke tokens and secrets by their ID. Whoever is logged in with them is logged out."""
    access = user_settings(config_file)

    def without(rows: list[StoredSecret]) -> list[StoredSecret]:
        unknown = sorted(set(ids) - {row.id for row in rows})
        if unknown:
            raise ValueError(f"has nothing with the id {', '.join(unknown)}: hubferry token ls lists them")
        return [row for row in rows if row.id not in ids]

    with as_misuse():
        edit_secrets(access, without)
    click.echo(f"revoked: {', '.join(ids)}")


def mirror_url(settings: Settings, secret: str) -> str:
    """Return the URL of a mirror for the client with a secret; `HOST` stands in it when no public URL is set."""
    scheme = "https" if settings.server.tls_cert else "http"
    base = settings.server.public_url.rstrip("/") or f"{scheme}://HOST"
    return f"{base}/{secret}"


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
