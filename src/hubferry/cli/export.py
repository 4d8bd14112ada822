"""`hubferry export`: images as one file, for machines without network. Works beside a running server.

The file is the one that the server gives at /download (core/archive.py); the command asks the same cache and the same
upstreams (opening.py). Exit status: as cli/output.py says; 1 leaves FILE.part, and the same command goes on from there.
"""

import asyncio
import platform
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from hubferry.cli.at_gateway import image_at, settings_at
from hubferry.cli.completing import platforms_option
from hubferry.cli.load import as_misuse, config_option, load_or_misuse
from hubferry.cli.opening import Complaints, check_allowed, opened, policy_of, run_loop, stopping
from hubferry.cli.output import print_json
from hubferry.cli.part_file import PartFile, place_of
from hubferry.core.archive import MAX_IMAGES
from hubferry.core.errors import OciError
from hubferry.core.human import human_size, human_time
from hubferry.core.image import ImageName, split_image
from hubferry.core.platforms import Platform, parse_platforms
from hubferry.core.settings import Settings
from hubferry.core.tar import TarCheck, WrongBytes
from hubferry.core.warm import parse_tagged
from hubferry.ports.upstream import UpstreamFailure

if TYPE_CHECKING:
    from hubferry.cli.bars import FileBar
    from hubferry.pull.export import ExportPlan
    from hubferry.server.compose import Parts

STDOUT = Path("-")


@dataclass(frozen=True)
class NamedImage:
    """An image: whom it is asked of, and what it is called in the file. `tag` is empty if only a digest was written."""

    asked: ImageName
    name: str
    tag: str


@dataclass(frozen=True)
class Order:
    """What is to be in which file, checked. `platforms` None: all of each image."""

    settings: Settings
    images: tuple[NamedImage, ...]
    platforms: tuple[Platform, ...] | None
    path: Path


@dataclass
class Done:
    """A file that was written: `found_bytes` of it were there from an earlier run."""

    plan: "ExportPlan"
    found_bytes: int = 0
    seconds: float = 0.0


@click.command()
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@click.option(
    "--output",
    "-o",
    "path",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="File to write; - is standard output.",
)
@platforms_option("this machine's")
@click.option(
    "--gateway",
    "gateway",
    metavar="URL",
    help="A running gateway to ask, https://USER@HOST if it wants a login. Without: this configuration's upstreams.",
)
@click.option("--json", "as_json", is_flag=True, help="The summary as one JSON object on standard output.")
@config_option
def export(
    config_file: Path | None,
    images: tuple[str, ...],
    path: Path,
    platforms: tuple[str, ...],
    *,
    gateway: str | None,
    as_json: bool,
) -> None:
    """Write images to one file, for machines without network.

    docker, podman, containerd and skopeo load it.

    \b
      hubferry export nginx:1.27 ghcr.io/owner/app:2 -o images.tar
      docker load -i images.tar

    What is kept is not fetched again. An interrupted command, given once more, goes on where it stopped, as long as the
    tags mean the same images. Exit status 0: the file is complete, and every digest is right. 1: it is not, and
    FILE.part has what is there. 2: nothing was done, because the command or the configuration is wrong.
    """
    if as_json and path == STDOUT:
        raise click.UsageError("-o - and --json both write to standard output: name a file")
    order = at_gateway(gateway, read_order(config_file, images, platforms, path))
    done = run(order, config_file)
    if as_json:
        print_json(document(order, done))
    else:
        summarise(order, done)


def read_order(config_file: Path | None, images: Sequence[str], platforms: Sequence[str], path: Path) -> Order:
    """Everything that can be wrong before anything is asked ends here. Raises ClickException with status 2."""
    settings = load_or_misuse(config_file)
    policy = policy_of(settings)
    if len(images) > MAX_IMAGES:
        raise click.UsageError(f"{len(images)} images: at most {MAX_IMAGES} are in one file, write several files")
    try:
        named = [_named(text, settings) for text in images]
        chosen = parse_platforms(platforms, platform.machine())
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    for text, one in zip(images, named, strict=True):
        check_allowed(text, one.asked, one.tag, policy)
    return Order(settings, tuple(dict.fromkeys(named)), chosen, path if path == STDOUT else place_of(path))


def _named(text: str, settings: Settings) -> NamedImage:
    """Return an image with its tag, also where it is written with both. Raises ValueError."""
    image = parse_tagged(text, settings.upstreams, settings.default_upstream)
    name, tag, digest = split_image(text)
    if tag and digest:
        parse_tagged(f"{name}:{tag}", settings.upstreams, settings.default_upstream)
    return NamedImage(image, f"{image.upstream}/{image.repository}", tag if digest else image.reference)


def at_gateway(url: str | None, order: Order) -> Order:
    """Return an order that is asked of a running gateway, None: as it is. Raises Misuse."""
    if url is None:
        return order
    with as_misuse():
        settings = settings_at(url, partial(click.prompt, "Password", hide_input=True, err=True))
    images = tuple(replace(one, asked=image_at(settings, one.asked)) for one in order.images)
    return replace(order, settings=settings, images=images)


def run(order: Order, config_file: Path | None) -> Done:
    """Write the file. Raises ClickException: status 2 for a configuration or a file, 1 for what could not be had.

    Raises SystemExit with 130 or 143 when a signal ended it.
    """
    from hubferry.cli.bars import FileBar  # noqa: PLC0415 - other commands start without it

    bar = FileBar(sys.stderr, is_terminal=sys.stderr.isatty())
    started_s = time.monotonic()
    try:
        done = run_loop(work(order, bar), config_file)
    except (OciError, UpstreamFailure, WrongBytes, OSError) as error:
        raise click.ClickException(_problem(order, error)) from None
    done.seconds = time.monotonic() - started_s
    return done


async def work(order: Order, bar: "FileBar") -> Done:
    """Write the file on the running event loop, until SIGINT or SIGTERM.

    Raises ConfigError, OciError, UpstreamFailure, WrongBytes, OSError, Misuse, and SystemExit after a signal.
    """
    stopped_by: list[signal.Signals] = []
    try:
        with stopping(stopped_by):
            async with opened(order.settings, Complaints(bar.say)) as parts:
                return await _write(await make_plan(parts, order), order, bar)
    except asyncio.CancelledError:
        if not stopped_by:
            raise
        bar.clear()
        if order.path != STDOUT:
            bar.say(f"stopped: {order.path}.part has what is there, and the same command goes on from it")
        raise SystemExit(128 + stopped_by[0]) from None
    finally:
        bar.clear()


async def _write(plan: "ExportPlan", order: Order, bar: "FileBar") -> Done:
    if order.path == STDOUT:
        await _copy(plan, 0, _Out(plan), bar)
        return Done(plan)
    with PartFile(order.path, plan.tar) as part:
        await _copy(plan, part.found_bytes, part, bar)
        part.finish()
        return Done(plan, part.found_bytes)


async def make_plan(parts: "Parts", order: Order) -> "ExportPlan":
    """Return what will be in the file. Raises OciError."""
    from hubferry.pull.export import ExportItem  # noqa: PLC0415 - as in `run`

    items = []
    for one in order.images:
        target = await parts.gateway.pull.own_target(one.asked.upstream, one.asked.repository)
        items.append(ExportItem(target, one.asked.reference, one.name, one.tag, order.platforms))
    return await parts.gateway.exporter().plan(items)


class _Out:
    """Standard output, with the bytes checked as they pass."""

    def __init__(self, plan: "ExportPlan") -> None:
        self._check = TarCheck(plan.tar)
        self._file: BinaryIO = sys.stdout.buffer

    def write(self, piece: bytes) -> None:
        self._check.feed(piece)
        self._file.write(piece)
        self._file.flush()


async def _copy(plan: "ExportPlan", start: int, out: PartFile | _Out, bar: "FileBar") -> None:
    """Write the file from an offset to its end. Raises UpstreamFailure, WrongBytes, OSError."""
    from hubferry.cli.bars import ticking  # noqa: PLC0415 - as in `run`

    body, at = plan.body(start, plan.size_bytes), start
    bar.began(plan.file_name, plan.size_bytes, start)
    try:
        async with ticking(bar):
            while (piece := await body.read()) is not None:
                await asyncio.to_thread(out.write, piece)  # it is hashed there, which must not stall the fills
                at += len(piece)
                bar.grew(at)
    finally:
        await body.close()


def _problem(order: Order, error: Exception) -> str:
    if isinstance(error, OciError):
        return error.message
    if isinstance(error, BrokenPipeError):
        return "whoever reads standard output has left: the file is not complete"
    if isinstance(error, OSError):
        return f"{order.path} cannot be written ({error.strerror}): make room, or name another file"
    if isinstance(error, WrongBytes):
        return f"the file is not what it should be: {error}; give the same command again"
    return f"the file broke off: {error}; the same command goes on from there"


def summarise(order: Order, done: Done) -> None:
    """Print what was written, and how it is loaded; to standard error when the file is standard output."""
    plan, is_out = done.plan, order.path == STDOUT
    size = human_size(plan.size_bytes)
    were_there = f", {human_size(done.found_bytes)} of it were there" if done.found_bytes else ""
    for image in plan.images:
        click.echo(f"{image.name}  {image.root.digest}", err=is_out)
    name = plan.file_name if is_out else order.path
    click.echo(f"{name}: {size} in {human_time(done.seconds)}{were_there}", err=is_out)
    if not is_out:
        click.echo(f"load it with: docker load -i {order.path}")


def document(order: Order, done: Done) -> dict[str, object]:
    """Return the summary as a JSON document, for scripts."""
    plan = done.plan
    return {
        "file": str(order.path),
        "bytes": plan.size_bytes,
        "found_bytes": done.found_bytes,
        "images": [{"image": image.name, "digest": image.root.digest} for image in plan.images],
        "platforms": None if order.platforms is None else [str(one) for one in order.platforms],
        "seconds": round(done.seconds, 3),
    }
