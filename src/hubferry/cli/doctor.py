"""`hubferry doctor`: find out what is wrong, on a server or on a client's machine, and say what to do.

Not here: looking (the package doctor), judging (core.diagnosis and its neighbours).
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from hubferry.cli.config import check_files, openness_problems
from hubferry.cli.load import Misuse, config_option, load_or_misuse
from hubferry.cli.output import print_json, print_marked
from hubferry.cli.waiting import Waiting
from hubferry.core.finding import Finding
from hubferry.core.image import ImageName, parse_image
from hubferry.core.logged import logged
from hubferry.core.masking import mask_secrets, mask_userinfo
from hubferry.core.reference import is_host, names_registry, normal_host
from hubferry.core.settings import Settings, UpstreamSettings
from hubferry.core.values import ConfigError
from hubferry.core.workable import find_unworkable

if TYPE_CHECKING:
    from hubferry.core.client_mirrors import Wanted
    from hubferry.doctor.gateway import Gateway


HUB = "docker.io"
MAX_SHOWN = 1000  # characters of a line
SMALL = "docker.io/library/hello-world:latest"


@click.command()
@click.option("--gateway", metavar="URL", help="Check this gateway, and the clients of this machine, as a client.")
@click.option("--image", metavar="NAME", help=f"The small image that is pulled. With --gateway, else: {SMALL}.")
@click.option("--upstream", "upstreams", metavar="NAME", multiple=True, help="Check only this one; may be repeated.")
@click.option(
    "--ca-file", type=click.Path(exists=True, dir_okay=False), help="PEM file with the authority of the gateway."
)
@click.option("--pull", "wants_pull", is_flag=True, help="Also let dockerd pull, to see whether it asks the gateway.")
@click.option("--json", "as_json", is_flag=True, help="All findings as one JSON object.")
@config_option
def doctor(
    config_file: Path | None,
    gateway: str | None,
    image: str | None,
    upstreams: tuple[str, ...],
    ca_file: str | None,
    *,
    wants_pull: bool,
    as_json: bool,
) -> None:
    """Find out what is wrong, and say what to do.

    One line is printed for each check.

    On the server, with the configuration that it uses: folder, clock, and for each upstream its names, connection,
    tokens, pulls left and content. On a client's machine, with the URL that clients use: the gateway, a small pull
    through it, and whether docker, containerd and podman of that machine ask it.

    \b
      hubferry doctor --config hubferry.toml
      hubferry doctor --upstream docker.io --upstream ghcr.io
      hubferry doctor --gateway https://hub.example.com
      hubferry doctor --gateway https://hub.example.com --image ghcr.io/owner/app:1

    It changes nothing. For what it fetches, Docker Hub counts one pull. Exit status 0: all is well, or there are only
    warnings. 1: something failed. 2: the command or the configuration is wrong.
    """
    waiting = Waiting()
    if gateway is None:
        if ca_file or wants_pull:
            raise click.UsageError("--ca-file and --pull are about a gateway: give --gateway as well")
        findings = examine_server(load_or_misuse(config_file), image, upstreams, waiting.show)
    else:
        if config_file or upstreams:
            raise click.UsageError("--config and --upstream are for the server, --gateway is for a client's machine")
        findings = examine_client(check_gateway_url(gateway), image, ca_file or "", waiting.show, wants_pull=wants_pull)
    with waiting:
        found = asyncio.run(_report(findings, waiting, as_json=as_json))
    if as_json:
        print_json(document(found))
    if any(one.mark == "failed" for one in found):
        raise SystemExit(1)


def examine_server(
    settings: Settings, image: str | None, only: Sequence[str], tell: Callable[[str], None]
) -> AsyncIterator[Finding]:
    """Return the findings about a server with these settings; `tell` is called with the name of what is waited for.

    Raises Misuse for an upstream that is none of them.
    """
    for name in only:
        if name not in settings.upstreams:
            raise Misuse(f"{name} is none of the upstreams: {', '.join(settings.upstreams)}")
    try:
        named = parse_image(image, settings.upstreams, settings.default_upstream) if image else None
    except ValueError as error:
        raise Misuse(str(error)) from None

    async def findings() -> AsyncIterator[Finding]:
        from hubferry.doctor.machine import examine_server as examine  # noqa: PLC0415 - slow to import

        for one in check_configuration(settings):
            yield one
        async for one in examine(settings, named, only, os.environ, tell):
            yield one

    return findings()


def check_configuration(settings: Settings) -> list[Finding]:
    """Check the settings as `hubferry config check` does, but for the cache folder, which has a check of its own."""
    name = "configuration"
    problems = [*find_unworkable(settings), *openness_problems(settings)]
    try:
        check_files(settings)
    except ConfigError as error:
        problems.insert(0, error)
    found = [Finding(name, "failed", " ".join(str(one).split())) for one in problems]
    return found or [Finding(name, "ok", "it can be served")]


def examine_client(
    gateway: str, image: str | None, ca_file: str, tell: Callable[[str], None], *, wants_pull: bool
) -> AsyncIterator[Finding]:
    """Return the findings about a gateway and the clients of this machine; `tell` as in `examine_server`.

    Raises Misuse for what is no image.
    """
    named = _client_image(image or SMALL)

    async def findings() -> AsyncIterator[Finding]:
        from hubferry.core.client_mirrors import Wanted  # noqa: PLC0415 - slow to import
        from hubferry.doctor.clients import examine_clients  # noqa: PLC0415
        from hubferry.doctor.gateway import Gateway, examine_gateway  # noqa: PLC0415
        from hubferry.doctor.logins import find_login  # noqa: PLC0415

        examined = Gateway(gateway, ca_file, find_login(urlsplit(gateway).netloc, os.environ))
        tell("the gateway")
        async for one in examine_gateway(examined, named):
            yield one
        wanted = Wanted(gateway, named.upstream, needs_login=examined.needs_login)
        tell("docker, containerd and podman")
        async for one in examine_clients(wanted, os.environ, Path("/")):
            yield one
        if wants_pull:
            tell("dockerd, which pulls")
            yield await check_docker_pull(examined, wanted)

    return findings()


async def check_docker_pull(gateway: "Gateway", wanted: "Wanted") -> Finding:
    """Have dockerd pull what only a gateway has, unless this gateway does not give it to anybody."""
    from hubferry.core.own_image import REPOSITORY, UPSTREAM, tag_for  # noqa: PLC0415 - slow to import
    from hubferry.doctor.clients import check_docker_pull as check  # noqa: PLC0415
    from hubferry.doctor.gateway import pull_as  # noqa: PLC0415

    tried = await pull_as(gateway, ImageName(UPSTREAM, REPOSITORY, tag_for("amd64", "doctor")), None)
    if tried.mark != "ok" and not gateway.needs_login:
        return Finding("docker pull", "skipped", f"the gateway itself does not give {REPOSITORY}: {tried.text}")
    found = await asyncio.to_thread(check, wanted, os.environ)
    return found or Finding("docker pull", "skipped", "no dockerd answers here")


def _client_image(text: str) -> ImageName:
    """Parse an image whose registry may be any: a client does not know which upstreams its gateway has."""
    first, slash, _ = text.partition("/")
    registry = normal_host(first) if slash and names_registry(first) else HUB
    try:
        return parse_image(text, {registry: UpstreamSettings(library=registry == HUB)}, registry)
    except ValueError as error:
        raise Misuse(str(error)) from None


def check_gateway_url(text: str) -> str:
    """Return the URL of a gateway without a slash at its end. Raises Misuse for what is none."""
    shown = mask_secrets(mask_userinfo(text))
    try:
        parts = urlsplit(text)
        is_fine = parts.scheme in ("http", "https") and is_host(parts.netloc) and not parts.query and not parts.fragment
    except ValueError:
        is_fine = False
    if not is_fine:
        raise Misuse(f"{shown} is no URL of a gateway: write https://hub.example.com or http://192.168.1.5:5000")
    return text.rstrip("/")


async def _report(findings: AsyncIterator[Finding], waiting: Waiting, *, as_json: bool) -> list[Finding]:
    """Return all findings; each is printed as soon as it is there, unless a script wants them."""
    found = []
    async for one in findings:
        found.append(one)
        if not as_json:
            with waiting.paused():
                print_marked(one.mark, _shown(f"{one.name}: {one.text}"), _shown(one.remedy))
    return found


def _shown(text: str) -> str:
    """Return a text, some of which others may have written, without our secrets and without control characters."""
    return str(logged(text, MAX_SHOWN))


def document(findings: Sequence[Finding]) -> dict[str, object]:
    """Return the findings as a script reads them, with how many there are of each bad mark."""
    checks = [
        {"name": one.name, "mark": one.mark, "text": _shown(one.text), "remedy": _shown(one.remedy)} for one in findings
    ]
    counts = {mark: sum(one.mark == mark for one in findings) for mark in ("failed", "warning")}
    return {"checks": checks, "failed": counts["failed"], "warnings": counts["warning"]}
