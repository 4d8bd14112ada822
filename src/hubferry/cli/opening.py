"""The server's own upstreams and cache folder, opened for one command; works beside a running server.

Asked is with the gateway's own accounts, of what the operator's rules let it have. Not here: what is asked.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from hubferry.cli.load import Misuse, fail
from hubferry.core.image import ImageName
from hubferry.core.rules import GATEWAY, AccessPolicy
from hubferry.core.settings import Settings
from hubferry.core.values import ConfigError
from hubferry.core.warm import parse_tagged

if TYPE_CHECKING:
    from hubferry.gateway.gateway import Gateway
    from hubferry.ports.upstream import Transport
    from hubferry.remote.target import Target

T = TypeVar("T")
# events that say why something kept answered: whoever looks at an image is told with the image
TOLD_WITH_RESULTS = frozenset({"stale", "unknown_referrers"})


class Complaints:
    """Passes warnings on as lines for people: the `EventLog` port of commands."""

    def __init__(self, say: Callable[[str], None], untold: frozenset[str] = frozenset()) -> None:
        """`untold` are events that are not passed on."""
        self._say = say
        self._untold = untold

    def warning(self, event: str, fields: Mapping[str, object]) -> None:
        if event not in self._untold:
            self._say(f"{event}: {fields.get('problem', '')}")


def complain(line: str) -> None:
    """Print a line on standard error."""
    click.echo(line, err=True)


def allowed_image(text: str, settings: Settings) -> ImageName:
    """Return the image that a person means, `latest` where nothing else is said.

    Raises UsageError for what is no name, and for what the operator's rules do not let anybody pull.
    """
    try:
        image = parse_tagged(text, settings.upstreams, settings.default_upstream)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    policy = AccessPolicy(settings.access, settings.upstreams)
    decision = policy.decide(GATEWAY, image.upstream, image.repository, image.reference)
    if not decision.is_allowed:
        raise click.UsageError(f"{text} may not be pulled ({decision.by}): change that, or leave it out")
    return image


@contextlib.asynccontextmanager
async def opened(settings: Settings, log: Complaints, transport: "Transport | None" = None) -> "AsyncIterator[Gateway]":
    """Yield a gateway over the same cache and upstreams as the server's, and close it.

    `transport` takes the place of the network. Raises ConfigError.
    """
    from hubferry.server.compose import build_parts  # noqa: PLC0415 - other commands start without the server
    from hubferry.server.seal import JweSealer  # noqa: PLC0415

    parts = build_parts(
        settings,
        JweSealer(os.urandom(32)),  # nobody is given a token here
        log,
        evicted=lambda _: None,
        transport=transport,
    )
    try:
        yield parts.gateway
    finally:
        await parts.close()


async def own_target(gateway: "Gateway", image: ImageName) -> "Target":
    """Return the repository of an image as the gateway's own account sees it, or anybody."""
    account = gateway.pull.upstreams[image.upstream].account
    return await gateway.pull.target(image.upstream, image.repository, account)


def run_on(
    settings: Settings,
    config_file: Path | None,
    work: "Callable[[Gateway], Awaitable[T]]",
    transport: "Transport | None" = None,
) -> T:
    """Return what `work` returns, given the opened gateway.

    Raises Misuse for a configuration that cannot be used, and SystemExit 130 or 143 after SIGINT or SIGTERM.
    """
    import uvloop  # noqa: PLC0415 - other commands start without it

    stopped_by: list[signal.Signals] = []

    async def begin() -> T:
        with stopping(stopped_by):
            async with opened(settings, Complaints(complain, TOLD_WITH_RESULTS), transport) as gateway:
                return await work(gateway)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            return runner.run(begin())
        except ConfigError as error:
            raise Misuse(fail(error, config_file).message) from None
        except asyncio.CancelledError:
            raise SystemExit(128 + stopped_by[0] if stopped_by else 1) from None


@contextlib.contextmanager
def stopping(stopped_by: list[signal.Signals]) -> Iterator[None]:
    """Cancel the running task at SIGINT or SIGTERM, once, and note by which."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def stop(number: signal.Signals) -> None:
        if not stopped_by and task is not None:
            stopped_by.append(number)
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
