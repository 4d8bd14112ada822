"""`hubferry access`: what the rules of a configuration decide, without starting anything."""

from ipaddress import ip_address
from pathlib import Path

import click

from hubferry.cli.load import as_misuse, config_option, load_or_misuse
from hubferry.core.image import parse_image
from hubferry.core.rules import AccessPolicy, Requester, unknown_names
from hubferry.core.settings import Settings
from hubferry.core.users import User
from hubferry.server.user_files import read_directory


@click.group()
def access() -> None:
    """Ask what the rules decide, and find rules without effect.

    \b
      hubferry access explain alice ghcr.io/owner/app:2
      hubferry access explain nginx --from 10.0.0.7
      hubferry access check
    """


@access.command()
@click.argument("names", nargs=-1, required=True, metavar="[USER] IMAGE")
@click.option(
    "--from",
    "address",
    metavar="ADDRESS",
    default="",
    help="Address of a client; without: one in none of the networks.",
)
@config_option
def explain(config_file: Path | None, names: tuple[str, ...], address: str) -> None:
    """Say whether IMAGE may be pulled, and what decides that.

    By USER, or without one by a client that does not log in: hubferry access explain alice ghcr.io/owner/app:2

    Exit status 0: it may. 1: it may not. 2: the command or the configuration is wrong.
    """
    settings, policy = _load(config_file)
    *users, image = names
    try:
        if len(users) > 1:
            raise ValueError("name one image, and at most one user in front of it")
        name = parse_image(image, settings.upstreams, settings.default_upstream)
        if address:
            ip_address(address)
        user = _find_user(settings, users[0]) if users else None
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    who = user.name if user is not None else "a client"
    who += f" at {address}" if address else " in none of the networks"
    if not policy.admits(address):
        click.echo(f"{who} may not use this gateway at all (access.networks, access.deny_networks)")
        raise SystemExit(1)
    decision = policy.decide(Requester(address, user), name.upstream, name.repository, name.reference)
    reason = decision.by or "no rule is about it"
    verb = "may" if decision.is_allowed else "may not"
    login = " without a login" if decision.needs_login else ""
    click.echo(f"{who} {verb} pull {name}{login}: {reason}")
    if decision.message and not decision.is_allowed:
        click.echo(f"the client is told: {decision.message}")
    raise SystemExit(0 if decision.is_allowed else 1)


def _find_user(settings: Settings, name: str) -> User:
    """Return a user or client with its groups. Raises ValueError when there is none of this name."""
    if settings.access.login != "users":
        raise ValueError('the gateway has no users of its own (login = "users")')
    directory = read_directory(settings.access)
    issuer = next((one for one in settings.access.issuers.rows if name.startswith(f"{one.name}:")), None)
    if issuer is not None:
        return User(name, directory.user_named(name).groups.union(issuer.groups))
    if not directory.knows(name):
        raise ValueError(f"there is no user or client {name}: hubferry user ls and hubferry token ls list them")
    return directory.user_named(name)


@access.command()
@config_option
def check(config_file: Path | None) -> None:
    """Name rules and patterns that have no effect. Exit status 1 when there are any."""
    settings, policy = _load(config_file)
    problems = list(policy.problems(settings.upstreams))
    if settings.access.login == "users":
        with as_misuse():
            problems += unknown_names(settings.access, read_directory(settings.access), settings.pages.operators)
    for problem in problems:
        click.echo(problem)
    if problems:
        raise SystemExit(1)
    click.echo(f"{len(policy.rows)} rules and lists, each with an effect" if policy.rows else "there are no rules")


def _load(config_file: Path | None) -> tuple[Settings, AccessPolicy]:
    settings = load_or_misuse(config_file)
    return settings, AccessPolicy(settings.access, settings.upstreams)
