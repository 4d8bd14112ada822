"""`hubferry tags`: the tags of a repository, the newest first, and which of them are kept.

Exit status: 0 they are all there; 1 they could not be had, or the list is cut or old, which is said on standard error;
2 the command or the configuration is wrong. Not here: finding them (pull/inspect.py), their order (core/tag_order.py).
"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hubferry.cli.load import Misuse, config_option, load_or_misuse
from hubferry.cli.opening import complain, policy_of, run_on
from hubferry.cli.output import human_moment, print_json, print_table
from hubferry.core.errors import OciError
from hubferry.core.human import short_digest
from hubferry.core.image import ImageName, parse_image
from hubferry.core.image_details import TagList
from hubferry.core.rules import GATEWAY, AccessPolicy
from hubferry.core.settings import Settings
from hubferry.core.tag_order import filter_tags

if TYPE_CHECKING:
    from hubferry.server.compose import Parts


@click.command()
@click.argument("image")
@click.option("--filter", "text", metavar="TEXT", default="", help="Only tags that contain every word of this.")
@click.option("--json", "as_json", is_flag=True, help="The tags as one JSON object.")
@config_option
def tags(config_file: Path | None, image: str, text: str, *, as_json: bool) -> None:
    """List the tags of IMAGE, the newest first.

    Of those that are kept, it says when they were confirmed.

    \b
      hubferry tags nginx --filter 'alpine 1.27'
      hubferry tags ghcr.io/owner/app --json
    """
    settings = load_or_misuse(config_file)
    policy = policy_of(settings)
    name = named(image, settings, policy)

    async def work(parts: "Parts") -> TagList:
        return await parts.gateway.pull.inspector.tags(
            await parts.gateway.pull.own_target(name.upstream, name.repository)
        )

    try:
        found = run_on(settings, config_file, work)
    except OciError as error:
        raise click.ClickException(error.message) from None
    may_list = policy.tag_filter(GATEWAY, name.upstream, name.repository)
    shown = [tag for tag in filter_tags(found.tags, text) if may_list is None or may_list(tag)]
    if as_json:
        print_json(document(name, found, shown))
    else:
        show(found, shown)
    if found.is_cut or found.is_stale:
        complain(reason(found))
        raise SystemExit(1)


def named(text: str, settings: Settings, policy: AccessPolicy) -> ImageName:
    """Return the repository that a person means. Raises UsageError, Misuse."""
    try:
        name = parse_image(text, settings.upstreams, settings.default_upstream)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if name.reference:
        raise click.UsageError(f"{text} names one image: leave out {name.reference}, or see `hubferry inspect`")
    decision = policy.decide(GATEWAY, name.upstream, name.repository)
    if not decision.is_allowed:
        raise Misuse(f"{text} may not be pulled ({decision.by}): change that first")
    return name


def reason(found: TagList) -> str:
    """Return why a list is not what the upstream has now."""
    if found.problem:
        return f"the list may be old or incomplete: {found.problem}"
    return f"there are more tags than these {len(found.tags)}: no more are asked for"


def show(found: TagList, shown: list[str]) -> None:
    """Print tags as a table."""
    rows = []
    for tag in shown:
        kept = found.kept.get(tag)
        if kept is None:
            rows.append((tag, "-", "-", "-"))
        else:
            state = "yes" if kept.is_kept else "no"
            rows.append((tag, state, human_moment(kept.confirmed_at), short_digest(kept.digest)))
    print_table(("TAG", "KEPT", "CONFIRMED", "DIGEST"), rows)


def document(name: ImageName, found: TagList, shown: list[str]) -> dict[str, object]:
    """Return the tags as a JSON document."""
    return {
        "image": str(name),
        "tags": shown,
        "kept": {tag: asdict(found.kept[tag]) for tag in shown if tag in found.kept},
        "is_cut": found.is_cut,
        "is_stale": found.is_stale,
        "problem": found.problem,
    }
