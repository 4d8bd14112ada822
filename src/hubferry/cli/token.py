"""`hubferry token`: access tokens of users, and secrets of clients that cannot log in."""

import secrets
import time
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
from hubferry.cli.output import human_moment, print_json, print_table
from hubferry.core.access_values import check_name
from hubferry.core.masking import SECRET_BEGINNING
from hubferry.core.settings import Settings
from hubferry.core.users import SECRET_BYTES, StoredSecret, digest_of
from hubferry.core.values import Duration
from hubferry.server.user_files import edit_secrets, read_secrets, read_users

ID_BYTES = 4


@click.group()
def token() -> None:
    """Make, list and revoke access tokens (login = "users").

    And the secrets of clients that cannot log in. A running gateway notices changes within seconds.

    \b
      hubferry token create alice --expires 90d
      hubferry token create --mirror node1
    """


@token.command()
@click.argument("user", required=False)
@click.option("--mirror", "client", metavar="NAME", help="A secret for the client NAME, in the URL of a mirror.")
@click.option("--expires", type=DURATION, help="After this long it does not count any more, e.g. 90d.")
@config_option
def create(config_file: Path | None, user: str | None, client: str | None, expires: Duration | None) -> None:
    """Make an access token for USER, or with --mirror a client's secret.

    USER shows it instead of a password: hubferry token create alice --expires 90d. Prints it on standard output, once:
    only its hash is kept. With --mirror it is the URL of the mirror, which dockerd takes as one of its registry-mirrors
    and containerd in its hosts.toml.
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
    until = "" if ends_at is None else f", until {human_moment(ends_at)}"
    click.echo(f"{what}{until}; it is not shown again, and revoked by: hubferry token revoke {row.id}", err=True)


@token.command("ls")
@click.option("--json", "as_json", is_flag=True, help="The tokens and secrets as one JSON object.")
@config_option
def list_(config_file: Path | None, *, as_json: bool) -> None:
    """List access tokens and client secrets, with their ids."""
    access = user_settings(config_file)
    with as_misuse():
        rows = read_secrets(access)
    if as_json:
        print_json({"tokens": [_document(row) for row in rows]})
        return
    table = [
        (
            row.id,
            row.user,
            _kind(row),
            human_moment(row.created_at),
            "no end" if row.ends_at is None else human_moment(row.ends_at),
        )
        for row in rows
    ]
    print_table(("ID", "USER", "KIND", "MADE", "UNTIL"), table, wrap=("USER",))


def _kind(row: StoredSecret) -> str:
    return "mirror" if row.is_client else "access token"


def _document(row: StoredSecret) -> dict[str, object]:
    return {
        "id": row.id,
        "user": row.user,
        "kind": _kind(row),
        "created_at": row.created_at,
        "ends_at": row.ends_at,
    }


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
