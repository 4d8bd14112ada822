"""`hubferry search`: what the registries find that have a search.

Exit status: 0 every one of them was asked, whether or not something was found; 1 one could not be asked; 2 the command
or the configuration is wrong. Not here: their forms (core/search_results.py).
"""

import asyncio
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hubferry.cli.load import config_option, load_or_misuse
from hubferry.cli.opening import policy_of, run_on
from hubferry.cli.output import print_json, print_marked, print_table
from hubferry.core.errors import OciError
from hubferry.core.reference import complete_library, normal_host
from hubferry.core.rules import GATEWAY
from hubferry.core.search_results import SearchHit, parse_search
from hubferry.core.settings import Settings

if TYPE_CHECKING:
    from hubferry.server.compose import Parts

MOST = "25"  # of one registry: what `docker search` asks for; Quay gives ten


@dataclass(frozen=True)
class Searched:
    """What one registry found; `problem` is why it could not be asked, else empty."""

    registry: str
    hits: tuple[SearchHit, ...] = ()
    problem: str = ""


@click.command()
@click.argument("words", nargs=-1, required=True)
@click.option(
    "--registry", metavar="NAME", help="Only this one: docker.io, quay.io, ... Without: all that have a search."
)
@click.option("--json", "as_json", is_flag=True, help="What was found as one JSON object.")
@config_option
def search(config_file: Path | None, words: tuple[str, ...], registry: str | None, *, as_json: bool) -> None:
    """Search Docker Hub, Quay, and other registries.

    Every registry of the configuration that has a `search_url` is asked.

    \b
      hubferry search nginx
      hubferry search prometheus exporter --registry quay.io
    """
    settings = load_or_misuse(config_file)
    registries = chosen(settings, registry)

    async def work(parts: "Parts") -> list[Searched]:
        return list(await asyncio.gather(*(find(parts, settings, one, " ".join(words)) for one in registries)))

    found = run_on(settings, config_file, work)
    if as_json:
        print_json(document(found))
    else:
        show(found, settings.default_upstream)
    if any(one.problem for one in found):
        raise SystemExit(1)


def chosen(settings: Settings, registry: str | None) -> list[str]:
    """Return the registries to search. Raises UsageError when the wanted one cannot be searched."""
    able = [name for name, upstream in settings.upstreams.items() if upstream.search_url]
    if registry is None:
        if not able:
            raise click.UsageError("no registry of the configuration has a search: set search_url for one")
        return able
    name = normal_host(registry)
    if name not in able:
        raise click.UsageError(
            f"{registry} cannot be searched: those with a search_url are {', '.join(able) or 'none'}"
        )
    return [name]


async def find(parts: "Parts", settings: Settings, registry: str, words: str) -> Searched:
    """Return what one registry finds of what may be pulled."""
    upstream = parts.gateway.pull.upstreams[registry]
    try:
        result = parse_search(await parts.gateway.search.find(upstream, {"q": words, "n": MOST}))
    except OciError as error:
        return Searched(registry, problem=error.message)
    except ValueError:
        return Searched(registry, problem=f"the answer of {registry} is no search result: check its search_url")
    policy = policy_of(settings)

    def is_allowed(hit: SearchHit) -> bool:
        repository = complete_library(hit.name) if upstream.settings.library else hit.name
        return policy.decide(GATEWAY, registry, repository).is_allowed

    return Searched(registry, tuple(filter(is_allowed, result.hits)))


def show(found: list[Searched], default: str) -> None:
    """Print what was found as a table, with names that can be pulled as they are."""
    rows = [
        (
            hit.name if one.registry == default else f"{one.registry}/{hit.name}",
            "-" if hit.stars is None else str(hit.stars),
            "official" if hit.is_official else "verified" if hit.is_verified else "",
            hit.description,
        )
        for one in found
        for hit in one.hits
    ]
    if rows:
        print_table(("NAME", "STARS", "BY", "DESCRIPTION"), rows, right=("STARS",), wrap=("NAME", "DESCRIPTION"))
    elif not any(one.problem for one in found):
        click.echo("nothing was found")
    for one in found:
        if one.problem:
            print_marked("failed", one.problem)


def document(found: list[Searched]) -> dict[str, object]:
    """Return what was found as a JSON document."""
    return {
        "results": [{"registry": one.registry, **asdict(hit)} for one in found for hit in one.hits],
        "problems": {one.registry: one.problem for one in found if one.problem},
    }
