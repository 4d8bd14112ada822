"""`hubferry cache`: look at what is kept, take something out, check it. Works beside a running server."""

import contextlib
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hubferry.cli.load import DURATION, SIZE, config_option, load_or_misuse
from hubferry.cli.opening import Complaints, complain
from hubferry.cli.output import print_facts, print_json, print_table
from hubferry.core.human import human_size, short_digest
from hubferry.core.image import ImageName, parse_image
from hubferry.core.settings import Settings
from hubferry.core.values import Duration, Size
from hubferry.ports.content import StoreFailure
from hubferry.store.catalogue import Catalogue, KeptImage
from hubferry.store.index import SqliteIndex
from hubferry.store.layout import Layout
from hubferry.store.ledger import CacheLimits, Ledger, Removed
from hubferry.store.verify import check, kept_files

if TYPE_CHECKING:
    from hubferry.cli.bars import FileBar

MAX_OFFERED = 200  # names behind the Tab key


@dataclass(frozen=True)
class Opened:
    """A cache folder that a command works on, with its settings, ledger and catalogue."""

    settings: Settings
    layout: Layout
    ledger: Ledger
    catalogue: Catalogue

    def named(self, text: str) -> ImageName:
        """Parse an image as the user wrote it. Raises UsageError."""
        try:
            return parse_image(text, self.settings.upstreams, self.settings.default_upstream)
        except ValueError as error:
            raise click.UsageError(str(error)) from None

    def found(self, text: str) -> list[KeptImage]:
        """Return the kept images that the user means. Raises UsageError, and ClickException when there are none."""
        name = self.named(text)
        images = self.catalogue.find(name)
        if not images:
            raise click.ClickException(f"nothing of {name} is kept: see `hubferry cache ls`")
        return images


@click.group()
def cache() -> None:
    """Look at what is kept, remove some of it, check it.

    Also while the server runs.

    \b
      hubferry cache ls
      hubferry cache info nginx:1.27
      hubferry cache rm ghcr.io/owner/app
      hubferry cache prune --unused 30d --to 10GiB
    """


@contextlib.contextmanager
def opened(config_file: Path | None) -> Iterator[Opened]:
    """Yield the cache folder of a configuration. Raises Misuse, and ClickException for a folder that has no use."""
    settings = load_or_misuse(config_file)
    layout = Layout(Path(settings.cache.dir))
    if not layout.folder.is_dir():
        folder = layout.folder.absolute()
        problem = f"{folder} is no folder: nothing was kept there yet"
        raise click.ClickException(f"{problem}, or the server has another cache.dir: name its file with --config")
    if not os.access(layout.folder, os.R_OK | os.W_OK | os.X_OK):
        owner = layout.folder.owner()
        raise click.ClickException(f"{layout.folder.absolute()} belongs to {owner}: run this as {owner}, or as root")
    index = SqliteIndex(layout.folder, Complaints(complain))
    limits = CacheLimits(settings.cache.max_size.size_bytes, settings.cache.min_free.size_bytes)
    ledger = Ledger(layout, index.transact, limits)
    try:
        yield Opened(settings, layout, ledger, Catalogue(layout, index.transact, ledger))
    except StoreFailure as error:
        raise click.ClickException(str(error)) from None
    finally:
        index.shut()


def complete_kept(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return at most MAX_OFFERED names of kept images that begin so; of Docker Hub's also without its host.

    The configuration is the one that is named before in the line. Whoever presses the Tab key is told of no error.
    """
    del param
    try:
        with opened(ctx.params.get("config_file")) as cached:
            whole = dict.fromkeys(str(image.name) for image in cached.catalogue.images())
    except (click.ClickException, OSError):
        return []
    names = {**whole, **dict.fromkeys(re.sub("^docker.io/(library/)?", "", name) for name in whole)}
    return [name for name in names if name.startswith(incomplete)][:MAX_OFFERED]


images_argument = click.argument("images", metavar="IMAGE...", nargs=-1, required=True, shell_complete=complete_kept)


@cache.command("ls")
@click.option("--json", "as_json", is_flag=True, help="One JSON object in a line for each image.")
@config_option
def list_images(config_file: Path | None, *, as_json: bool) -> None:
    """List the images of which something is kept."""
    with opened(config_file) as cached:
        images = cached.catalogue.images()
    if as_json:
        for image in images:
            print_json(_document(image))
        return
    rows = [
        (
            f"{image.name}{' (pinned)' if image.is_pinned else ''}",
            short_digest(image.digest),
            human_size(image.size_bytes),
            _ago(image.used_at),
            _ago(image.confirmed_at),
        )
        for image in images
    ]
    print_table(("IMAGE", "DIGEST", "SIZE", "LAST WANTED", "TAG CONFIRMED"), rows, right=("SIZE",))


@cache.command()
@click.argument("image", required=False, shell_complete=complete_kept)
@click.option("--json", "as_json", is_flag=True, help="The same as one JSON object.")
@config_option
def info(config_file: Path | None, image: str | None, *, as_json: bool) -> None:
    """Say how full the cache is, or what is kept of IMAGE."""
    with opened(config_file) as cached:
        if image is None:
            _sum_up(cached, as_json=as_json)
            return
        images = [(kept, list(cached.catalogue.parts(kept.digest))) for kept in cached.found(image)]
    if as_json:
        print_json({"images": [_document(kept) | {"parts": [asdict(one) for one in parts]} for kept, parts in images]})
        return
    for kept, parts in images:
        click.echo(f"{kept.name}  {kept.digest}")
        for part in parts:
            state = "not kept" if part.size_bytes is None else human_size(part.size_bytes)
            click.echo(f"  {'  ' * part.depth}{part.digest}  {state}")


def _sum_up(cached: Opened, *, as_json: bool) -> None:
    totals, max_size, images = cached.catalogue.totals(), cached.settings.cache.max_size, cached.catalogue.images()
    folder = str(cached.layout.folder.resolve())
    if as_json:
        limits = {"folder": folder, "max_size_bytes": max_size.size_bytes, "images": len(images)}
        print_json(limits | asdict(totals))
        return
    facts = [("folder", folder), ("size", f"{human_size(totals.size_bytes)} of {max_size}"), ("images", len(images))]
    facts += [("contents", totals.contents), ("under way", totals.under_way), ("quarantined", totals.quarantined)]
    print_facts([(name, str(value)) for name, value in facts])


@cache.command()
@images_argument
@config_option
def rm(config_file: Path | None, images: tuple[str, ...]) -> None:
    """Remove images and what only they consist of.

    Without tag and digest: all of a repository.
    """
    with opened(config_file) as cached:
        found = [kept for text in images for kept in cached.found(text)]
        removed = cached.catalogue.remove(found)
    for kept in found:
        click.echo(f"removed {kept.name}")
    _report(removed)


@cache.command()
@images_argument
@config_option
def pin(config_file: Path | None, images: tuple[str, ...]) -> None:
    """Keep images, whatever room is needed.

    Kept is what their tags mean now and later.

    \b
      hubferry cache pin nginx:1.29 ghcr.io/owner/app:1

    Without tag and digest: all of a repository that is kept now.
    """
    with opened(config_file) as cached:
        found = [kept for text in images for kept in cached.found(text)]
        cached.catalogue.pin(found)
    for kept in found:
        click.echo(f"pinned {kept.name}")


@cache.command()
@images_argument
@config_option
def unpin(config_file: Path | None, images: tuple[str, ...]) -> None:
    """Let pinned images make room for others again.

    Without tag and digest: all of a repository.
    """
    with opened(config_file) as cached:
        names = [cached.named(text) for text in images]
        count = cached.catalogue.unpin(names)
    click.echo(f"{count} unpinned")


@cache.command()
@click.option("--unused", type=DURATION, help="Also remove what nobody wanted for so long, e.g. 30d.")
@click.option("--to", "to_size", type=SIZE, help="Also remove the longest unwanted until so much is left.")
@config_option
def prune(config_file: Path | None, unused: Duration | None, to_size: Size | None) -> None:
    """Remove unfinished downloads, and what `verify` put aside.

    \b
      hubferry cache prune --unused 30d --to 10GiB
    """
    with opened(config_file) as cached:
        removed = cached.catalogue.prune()
        if unused is not None:
            removed += cached.ledger.make_room(2**63 - 1, unused_since=time.time() - unused.seconds)
        if to_size is not None:
            removed += cached.ledger.make_room(cached.catalogue.totals().size_bytes - to_size.size_bytes)
    _report(removed)


@cache.command()
@config_option
def verify(config_file: Path | None) -> None:
    """Hash everything that is kept and put aside what is damaged.

    Exit status 1 when anything was.
    """
    damaged = files = 0
    with opened(config_file) as cached, _hashing(cached.layout) as (bar, hashed):
        for checked in check(cached.layout, cached.ledger, hashed):
            files += 1
            if checked.problem:
                damaged += 1
                bar.say(f"{checked.name}: {checked.problem}; moved to {cached.layout.quarantine}")
    click.echo(f"{files} files checked, {damaged} damaged")
    if damaged:
        raise SystemExit(1)


@contextlib.contextmanager
def _hashing(layout: Layout) -> "Iterator[tuple[FileBar, Callable[[int], None]]]":
    """Yield a bar of all that is kept, and what is told the size of each piece that was hashed."""
    from hubferry.cli.bars import DRAW_S, FileBar  # noqa: PLC0415 - Rich, which the others do not need

    bar = FileBar(sys.stderr, is_terminal=sys.stderr.isatty())
    at_bytes, drawn_s = 0, time.monotonic()

    def hashed(size_bytes: int) -> None:
        nonlocal at_bytes, drawn_s
        at_bytes += size_bytes
        bar.grew(at_bytes)
        if time.monotonic() - drawn_s >= DRAW_S:
            drawn_s = time.monotonic()
            bar.tick()

    bar.began("checking", sum(size for _, _, size in kept_files(layout)), 0)
    try:
        yield bar, hashed
    finally:
        bar.clear()


def _document(image: KeptImage) -> dict[str, object]:
    return {
        "image": str(image.name),
        "digest": image.digest,
        "size_bytes": image.size_bytes,
        "used_at": image.used_at,
        "confirmed_at": image.confirmed_at,
        "pinned": image.is_pinned,
    }


def _report(removed: Removed) -> None:
    click.echo(f"{removed.files} files, {human_size(removed.size_bytes)} removed")


def _ago(moment: float | None) -> str:
    if moment is None:
        return "-"
    seconds = max(0.0, time.time() - moment)
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{int(seconds // length)}{unit} ago"
    return f"{int(seconds)}s ago"
