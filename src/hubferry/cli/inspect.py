"""`hubferry inspect`: what an image is: platforms, layers and the commands that made them, what refers to it.

Exit status: 0 it was found, and all of it could be read; 1 it was not, or something could not; 2 the command or the
configuration is wrong. Not here: finding out (pull/inspect.py).
"""

import platform as machine
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hubferry.cli.completing import complete_platform
from hubferry.cli.load import config_option, load_or_misuse
from hubferry.cli.opening import allowed_image, policy_of, run_on
from hubferry.cli.output import human_moment, print_facts, print_json, print_marked, print_table
from hubferry.core.errors import OciError
from hubferry.core.human import human_size, short_digest
from hubferry.core.image import ImageName
from hubferry.core.image_details import ImageConfig, ImageDetails, ImagePlatform, PlatformDetails, Referrer
from hubferry.core.platforms import Platform, choose, parse_platform, parse_platforms

if TYPE_CHECKING:
    from hubferry.server.compose import Parts


@dataclass(frozen=True)
class Inspected:
    """What was found of an image; `platform` is the one that was looked into, None when it has none for the machine."""

    image: ImageDetails
    platform: PlatformDetails | None
    referrers: list[Referrer]
    problems: list[str]


@dataclass(frozen=True)
class _Entry:
    """A platform of an image as `choose` reads it."""

    platform: Platform | None
    image: ImagePlatform
    is_attestation: bool = False


@click.command()
@click.argument("image")
@click.option(
    "--platform",
    metavar="PLATFORM",
    shell_complete=complete_platform,
    help="Whose layers are shown: linux/arm64, ... Without: this machine's, if any.",
)
@click.option("--json", "as_json", is_flag=True, help="Everything as one JSON object.")
@config_option
def inspect(config_file: Path | None, image: str, platform: str | None, *, as_json: bool) -> None:
    """Say what IMAGE is: platforms, layers, config, signatures.

    Also the commands that made the layers, and everything else that refers to the image. Nothing is pulled: one
    manifest for the image and one for the platform are fetched, unless they are kept.

    \b
      hubferry inspect nginx:1.27
      hubferry inspect ghcr.io/owner/app --platform linux/arm64 --json
    """
    settings = load_or_misuse(config_file)
    name = allowed_image(image, settings, policy_of(settings))
    try:
        wanted = None if platform is None else parse_platform(platform)
    except ValueError as error:
        raise click.UsageError(str(error)) from None

    async def work(parts: "Parts") -> Inspected:
        return await look(parts, name, wanted)

    try:
        found = run_on(settings, config_file, work)
    except OciError as error:
        raise click.ClickException(error.message) from None
    if as_json:
        print_json(document(name, found))
    else:
        show(name, found)
    if found.problems:
        raise SystemExit(1)


async def look(parts: "Parts", name: ImageName, wanted: Platform | None) -> Inspected:
    """Return what is found of an image. Raises OciError when it is not found."""
    inspector, target = (
        parts.gateway.pull.inspector,
        await parts.gateway.pull.own_target(name.upstream, name.repository),
    )
    image = await inspector.image(target, name.reference)
    problems = [image.problem] if image.problem else []
    chosen = pick(image.platforms, wanted)
    details = None
    if chosen is None:
        offered = ", ".join(str(one.platform) for one in image.platforms) or "none"
        problems.append(f"there is none for {wanted}: it is for {offered}")
    else:
        try:
            details = await inspector.platform(target, chosen)
            problems += [details.problem] if details.problem and details.problem not in problems else []
        except OciError as error:
            problems.append(error.message)
    try:
        referrers = await inspector.referrers(target, image.digest)
    except OciError as error:
        referrers = []
        problems.append(f"it is not known what refers to it: {error.message}")
    return Inspected(image, details, referrers, problems)


def pick(platforms: tuple[ImagePlatform, ...], wanted: Platform | None) -> ImagePlatform | None:
    """Return the platform to look into: the wanted one, or this machine's, else the first one when none is wanted."""
    entries = [_Entry(one.platform, one) for one in platforms]
    machines = (wanted,) if wanted is not None else parse_platforms((), machine.machine())
    chosen, _ = choose(entries, machines)
    if chosen:
        return chosen[0].image
    return platforms[0] if platforms and wanted is None else None


def show(name: ImageName, found: Inspected) -> None:
    """Print what was found for a person."""
    image = found.image
    click.secho(str(name), bold=True)
    facts = [("digest", image.digest), ("kind", f"{image.kind}, {image.media_type}")]
    facts.append(("confirmed", human_moment(image.confirmed_at) if image.confirmed_at else "-"))
    facts.append(("kept", f"since {human_moment(image.kept_since)}" if image.kept_since else "no"))
    if image.attestations:
        facts.append(("attested", f"{len(image.attestations)} attestations"))
    print_facts(facts)
    if image.is_index:
        click.echo()
        rows = [
            (str(one.platform or "-"), short_digest(one.digest), _size(one.size_bytes), _yes(is_it=one.is_kept))
            for one in image.platforms
        ]
        print_table(("PLATFORM", "DIGEST", "SIZE", "MANIFEST KEPT"), rows, right=("SIZE",))
    if found.platform is not None:
        _show_platform(found.platform)
    if found.referrers:
        click.echo()
        rows = [(one.kind, short_digest(one.digest), _size(one.size_bytes), one.tag) for one in found.referrers]
        print_table(("REFERS TO IT", "DIGEST", "SIZE", "TAG"), rows, right=("SIZE",))
    for problem in found.problems:
        print_marked("warning", problem)


def _show_platform(one: PlatformDetails) -> None:
    click.echo()
    click.secho(str(one.platform or one.kind), bold=True)
    facts = [("size", _size(one.size_bytes)), ("created", human_moment(one.created_at) if one.created_at else "-")]
    facts.append(("kept", "whole" if one.is_kept else "not whole"))
    print_facts(facts + ([] if one.config is None else _config_facts(one.config)))
    print_facts([("annotation", f"{key}={value}") for key, value in one.annotations])
    click.echo()
    rows = [
        (short_digest(layer.digest), _size(layer.size_bytes), _yes(is_it=layer.is_kept), layer.command)
        for layer in one.layers
    ]
    print_table(("LAYER", "SIZE", "KEPT", "MADE BY"), rows, right=("SIZE",), wrap=("MADE BY",))


def _config_facts(config: ImageConfig) -> list[tuple[str, str]]:
    facts = [
        ("entrypoint", " ".join(config.entrypoint)),
        ("command", " ".join(config.command)),
        ("user", config.user),
        ("folder", config.working_folder),
        ("ports", ", ".join(config.exposed_ports)),
        ("volumes", ", ".join(config.volumes)),
        *(("environment", variable) for variable in config.environment),
        *(("label", f"{key}={value}") for key, value in config.labels),
    ]
    return [(key, value) for key, value in facts if value]


def _size(size_bytes: int | None) -> str:
    return "-" if size_bytes is None else human_size(size_bytes)


def _yes(*, is_it: bool) -> str:
    return "yes" if is_it else "no"


def document(name: ImageName, found: Inspected) -> dict[str, object]:
    """Return what was found as a JSON document."""
    image = asdict(found.image) | {"image": str(name)}
    image["platforms"] = [asdict(one) | {"platform": _platform(one.platform)} for one in found.image.platforms]
    image["annotations"] = dict(found.image.annotations)
    shown = None
    if found.platform is not None:
        shown = asdict(found.platform) | {"platform": _platform(found.platform.platform)}
        shown["annotations"] = dict(found.platform.annotations)
        if found.platform.config is not None:
            shown["config"] = asdict(found.platform.config) | {"labels": dict(found.platform.config.labels)}
    referrers = [asdict(one) for one in found.referrers]
    return image | {"platform": shown, "referrers": referrers, "problems": found.problems}


def _platform(platform: Platform | None) -> str | None:
    return None if platform is None else str(platform)
