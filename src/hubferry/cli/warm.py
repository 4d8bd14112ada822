"""`hubferry warm`: fill the cache before anybody pulls. Works beside a running server, on the same folder.

Exit status: 0 every image is kept; 1 some are not; 2 the command or the configuration is wrong, nothing was done;
130 and 143 after Ctrl-C and SIGTERM, with what is there kept. Not here: warming (pull/warm.py), bars (bars.py).
"""

import asyncio
import platform
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hubferry.cli.completing import platforms_option
from hubferry.cli.load import Misuse, config_option, load_or_misuse
from hubferry.cli.opening import Complaints, allowed_image, opened, policy_of, run_loop, stopping
from hubferry.cli.output import print_json
from hubferry.core.human import human_size, human_time
from hubferry.core.image import ImageName
from hubferry.core.platforms import Platform, parse_platforms
from hubferry.core.settings import Settings
from hubferry.core.warm import parse_list

if TYPE_CHECKING:
    from hubferry.cli.bars import Bars
    from hubferry.pull.warm import Warmed, Warmer


@dataclass(frozen=True)
class Order:
    """The images to warm and for which platforms (None: for all), checked."""

    settings: Settings
    images: tuple[ImageName, ...]
    platforms: tuple[Platform, ...] | None


@dataclass
class Done:
    """What became of each image, which signal ended the work (None: none), and how long it took."""

    results: "list[Warmed]" = field(default_factory=list)
    stopped_by: signal.Signals | None = None
    seconds: float = 0.0


@click.command()
@click.argument("images", metavar="[IMAGE]...", nargs=-1)
@click.option(
    "--file",
    "-f",
    "list_file",
    type=click.File(encoding="utf-8"),
    help="File with one image in a line; # begins a comment; - is standard input.",
)
@platforms_option("warm.platforms, else this machine's")
@click.option("--json", "as_json", is_flag=True, help="The summary as one JSON object on standard output.")
@config_option
def warm(
    config_file: Path | None,
    images: tuple[str, ...],
    list_file: Iterable[str] | None,
    platforms: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """Fetch images into the cache before anybody pulls them.

    \b
      hubferry warm nginx:1.27 ghcr.io/owner/app:2 --platform linux/amd64
      hubferry warm -f images.txt

    This also works while the server runs. What is there already is not fetched again, and what was begun is continued.
    Exit status 0: all of them are kept. 1: some are not, each with its reason; the others are. 2: nothing was done,
    because the command or the configuration is wrong.
    """
    order = read_order(config_file, images, list_file, platforms)
    done = run(order, config_file)
    if as_json:
        print_json(document(done))
    else:
        summarise(done, len(order.images))
    if done.stopped_by is not None:
        raise SystemExit(128 + done.stopped_by)
    if any(result.problem for result in done.results):
        raise SystemExit(1)


def read_order(
    config_file: Path | None, images: Sequence[str], list_file: Iterable[str] | None, platforms: Sequence[str]
) -> Order:
    """Everything that can be wrong before anything is done ends here. Raises ClickException with status 2."""
    settings = load_or_misuse(config_file)
    if not settings.cache.enabled:
        raise Misuse("cache.enabled is false, so nothing would be kept: enable the cache first")
    named = [("", text) for text in images]
    if list_file is not None:
        name = getattr(list_file, "name", "")
        try:
            named += [(f"{name}:{number}: ", text) for number, text in parse_list("".join(list_file))]
        except UnicodeDecodeError:
            raise click.UsageError(f"{name} is no UTF-8 text: write one image in a line") from None
    elif not named:
        raise click.UsageError("no image: name some, or a file of them with -f")
    wanted, policy = [], policy_of(settings)
    for where, text in named:
        try:
            image = allowed_image(text, settings, policy)
        except click.UsageError as error:
            raise click.UsageError(f"{where}{error.message}") from None
        wanted.append(image)
    try:
        chosen = parse_platforms(platforms or settings.warm.platforms, platform.machine())
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    return Order(settings, tuple(dict.fromkeys(wanted)), chosen)


def run(order: Order, config_file: Path | None) -> Done:
    """Warm every image, one after the other. Raises ClickException with status 2 for a configuration."""
    from hubferry.cli.bars import Bars  # noqa: PLC0415 - other commands start without it

    bars = Bars(sys.stderr, is_terminal=sys.stderr.isatty())
    started = time.monotonic()
    done = run_loop(work(order, bars), config_file)
    done.seconds = time.monotonic() - started
    return done


async def work(order: Order, bars: "Bars") -> Done:
    """Warm the images on the running event loop, until SIGINT or SIGTERM. Raises ConfigError."""
    from hubferry.cli.bars import ticking  # noqa: PLC0415 - as in `run`

    done = Done()
    stopped_by: list[signal.Signals] = []
    try:
        with stopping(stopped_by):
            async with opened(order.settings, Complaints(bars.say)) as parts, ticking(bars):
                warmer = parts.gateway.warmer()
                for image in order.images:
                    bars.say(str(image))
                    done.results.append(await warmer.warm(image, order.platforms, bars))
                    tell(bars, done.results[-1])
                await look_again(warmer, done.results)
    except asyncio.CancelledError:
        if not stopped_by:
            raise
        done.stopped_by = stopped_by[0]
    finally:
        bars.clear()
    return done


async def look_again(warmer: "Warmer", results: "Sequence[Warmed]") -> None:
    """Report images of which something was evicted again to make room for later ones."""
    for result in results:
        if not result.problem and (missing := await warmer.missing(result)):
            result.problems.append(
                f"{len(missing)} parts had to make room again: raise cache.max_size, or lower cache.min_free"
            )


def tell(bars: "Bars", result: "Warmed") -> None:
    """Print what became of one image."""
    for skipped in result.skipped:
        bars.say(f"  skipped: {skipped}")
    state = "failed" if result.problem else "warm"
    counts = f"{result.fetched} layers fetched ({human_size(result.fetched_bytes)}), {result.kept} were there"
    bars.say(f"  {state}: {counts}")


def summarise(done: Done, images: int) -> None:
    """Print the sum on standard output, with the failures last, where they are seen."""
    results = done.results
    warm_ones = sum(not result.problem for result in results)
    fetched, kept = sum(result.fetched for result in results), sum(result.kept for result in results)
    size = human_size(sum(result.fetched_bytes for result in results))
    click.echo(
        f"{warm_ones} of {images} images warm: {fetched} layers fetched, {kept} were there, {size} "
        f"in {human_time(done.seconds)}"
    )
    tell_problems(done, err=False)
    if done.stopped_by is not None:
        click.echo("stopped: what is there is kept, and the same command goes on from there")


def tell_problems(done: Done, *, err: bool = True) -> None:
    """Print which images could not be fetched, and why; on standard error unless `err` is false."""
    for result in done.results:
        if result.problem:
            click.echo(f"failed: {result.image}: {result.problem}", err=err)


def document(done: Done) -> dict[str, object]:
    """Return the summary as a JSON document, for scripts."""
    results = done.results
    return {
        "images": [
            {
                "image": str(result.image),
                "digest": result.digest,
                "warm": not result.problem,
                "fetched": result.fetched,
                "kept": result.kept,
                "bytes": result.fetched_bytes,
                "skipped": result.skipped,
                "problems": result.problems,
            }
            for result in results
        ],
        "warm": sum(not result.problem for result in results),
        "failed": sum(bool(result.problem) for result in results),
        "fetched": sum(result.fetched for result in results),
        "kept": sum(result.kept for result in results),
        "bytes": sum(result.fetched_bytes for result in results),
        "seconds": round(done.seconds, 3),
        "stopped": done.stopped_by is not None,
    }
