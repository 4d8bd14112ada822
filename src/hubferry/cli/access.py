"""`hubferry access`: what the rules of a configuration decide, without starting anything."""

from ipaddress import ip_address
from pathlib import Path

import click

from hubferry.cli.load import Misuse, config_option, fail, load_settings
from hubferry.core.image import parse_image
from hubferry.core.rules import AccessPolicy
from hubferry.core.settings import Settings
from hubferry.core.values import ConfigError


@click.group()
def access() -> None:
    """Ask what the rules decide, and find rules without effect."""


@access.command()
@click.argument("image")
@click.option(
    "--from",
    "address",
    metavar="ADDRESS",
    default="",
    help="Address of a client; without: one in none of the networks.",
)
@config_option
def explain(config_file: Path | None, image: str, address: str) -> None:
    """Say whether IMAGE may be pulled, and what decides that.

    Exit status 0: it may. 1: it may not. 2: the command or the configuration is wrong.
    """
    settings, policy = _load(config_file)
    try:
        name = parse_image(image, settings.upstreams, settings.default_upstream)
        if address:
            ip_address(address)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    who = f"a client at {address}" if address else "a client in none of the networks"
    if not policy.admits(address):
        click.echo(f"{who} may not use this gateway at all (access.networks, access.deny_networks)")
        raise SystemExit(1)
    decision = policy.decide(address, name.upstream, name.repository, name.reference)
    reason = decision.by or "no rule is about it"
    verb = "may" if decision.is_allowed else "may not"
    click.echo(f"{who} {verb} pull {name}: {reason}")
    if decision.message and not decision.is_allowed:
        click.echo(f"the client is told: {decision.message}")
    raise SystemExit(0 if decision.is_allowed else 1)


@access.command()
@config_option
def check(config_file: Path | None) -> None:
    """Name rules and patterns that have no effect. Exit status 1 when there are any."""
    settings, policy = _load(config_file)
    problems = list(policy.problems(settings.upstreams))
    for problem in problems:
        click.echo(problem)
    if problems:
        raise SystemExit(1)
    click.echo(f"{len(policy.rows)} rules and lists, each with an effect" if policy.rows else "there are no rules")


def _load(config_file: Path | None) -> tuple[Settings, AccessPolicy]:
    try:
        settings = load_settings(config_file)
    except ConfigError as error:
        raise Misuse(fail(error, config_file).message) from None
    return settings, AccessPolicy(settings.access, settings.upstreams)
