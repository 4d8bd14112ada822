"""`hubferry user`: the users of `access.users_file`, which `htpasswd -B` can change as well."""

import sys
from collections import Counter
from pathlib import Path

import click

from hubferry.cli.load import Misuse, as_misuse, config_option, user_settings
from hubferry.cli.output import print_json, print_table
from hubferry.core.access_values import check_name
from hubferry.core.settings import AccessSettings
from hubferry.core.users import NO_PASSWORD, with_user, without_user
from hubferry.server.passwords import make_hash
from hubferry.server.user_files import edit_secrets, edit_users, read_secrets, read_users

DEFAULT_COST = 10  # about 50 ms: guessing is slow, and a cluster that logs in at once does not wait for long
MIN_CHARS = 8

cost_option = click.option(
    "--cost", type=click.IntRange(4, 14), default=DEFAULT_COST, show_default=True, help="Work factor of bcrypt."
)
stdin_option = click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")


@click.group()
def user() -> None:
    """Add, change and remove users of the gateway (login = "users").

    A running gateway notices changes within seconds.

    \b
      hubferry user add alice -c hubferry.toml
      hubferry user passwd alice -c hubferry.toml
    """


@user.command()
@click.argument("name")
@stdin_option
@click.option("--no-password", is_flag=True, help="For a user who has access tokens only, such as a build machine.")
@cost_option
@config_option
def add(config_file: Path | None, name: str, password_stdin: bool, no_password: bool, cost: int) -> None:
    """Add the user NAME, and ask for a password."""
    access = user_settings(config_file)
    with as_misuse():
        check_name(name)
        if name in read_users(access):
            raise Misuse(f"there is a user {name} already: change the password with hubferry user passwd {name}")
        if any(row.user == name for row in read_secrets(access)):
            raise Misuse("there are access tokens or secrets of that name (hubferry token ls): revoke them first")
        hashed = NO_PASSWORD if no_password else _ask_hash(name, from_stdin=password_stdin, cost=cost)
        edit_users(access, lambda text: with_user(text, name, hashed))
    click.echo(f"{name} was added to {access.users_file}")


@user.command()
@click.argument("name")
@stdin_option
@cost_option
@config_option
def passwd(config_file: Path | None, name: str, password_stdin: bool, cost: int) -> None:
    """Change the password of the user NAME.

    Whoever is logged in with the old one is logged out.
    """
    access = user_settings(config_file)
    with as_misuse():
        _check_known(access, name)
        hashed = _ask_hash(name, from_stdin=password_stdin, cost=cost)
        edit_users(access, lambda text: with_user(text, name, hashed))
    click.echo(f"the password of {name} was changed")


@user.command("rm")
@click.argument("name")
@config_option
def remove(config_file: Path | None, name: str) -> None:
    """Remove the user NAME and its access tokens."""
    access = user_settings(config_file)
    with as_misuse():
        _check_known(access, name)
        edit_users(access, lambda text: without_user(text, name))
        # somebody of the same name must not find them
        if not access.secrets and any(not row.is_client and row.user == name for row in read_secrets(access)):
            edit_secrets(access, lambda rows: [row for row in rows if row.is_client or row.user != name])
    click.echo(f"{name} was removed")


@user.command("ls")
@click.option("--json", "as_json", is_flag=True, help="The users as one JSON object.")
@config_option
def list_(config_file: Path | None, *, as_json: bool) -> None:
    """List the users: their name, how they log in, their groups."""
    access = user_settings(config_file)
    with as_misuse():
        users, rows = read_users(access), read_secrets(access)
    tokens = Counter(row.user for row in rows if not row.is_client)
    groups = {name: [group for group, members in access.groups.rows if name in members] for name in users}
    if as_json:
        listed = [
            {"user": name, "has_password": hashed != NO_PASSWORD, "tokens": tokens[name], "groups": groups[name]}
            for name, hashed in users.items()
        ]
        print_json({"users": listed})
        return
    table = [
        (name, "no password" if hashed == NO_PASSWORD else "password", str(tokens[name]), ", ".join(groups[name]))
        for name, hashed in users.items()
    ]
    print_table(("USER", "LOGS IN BY", "TOKENS", "GROUPS"), table, right=("TOKENS",), wrap=("GROUPS",))


def _check_known(access: AccessSettings, name: str) -> None:
    if name not in read_users(access):
        raise Misuse(f"{access.users_file} has no user {name}: hubferry user ls lists them")


def _ask_hash(name: str, *, from_stdin: bool, cost: int) -> str:
    """Return the hash of a password that is typed twice, or of the first line of standard input. Raises ValueError."""
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = click.prompt(f"Password of {name}", hide_input=True, confirmation_prompt=True, err=True)
    if len(password) < MIN_CHARS or not password.isprintable():
        raise ValueError(f"a password needs {MIN_CHARS} printable characters at least")
    return make_hash(password, cost)
