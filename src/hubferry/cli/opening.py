"""The server's own upstreams and cache folder, opened for one command; works beside a running server.

Asked is with the gateway's own accounts, of what the operator's rules let it have. Not here: what is asked.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
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
    from hubferry.ports.upstream import Transport
    from hubferry.server.compose import Parts

T = TypeVar("T")
# events that say why something kept answered: whoever looks at an image is told with the image
TOLD_WITH_RESULTS = frozenset({"stale", "unknown_referrers"})
OFFLINE = TOLD_WITH_RESULTS | {"upstream_failed"}  # which is what was asked for


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


def policy_of(settings: Settings) -> AccessPolicy:
    """Return the operator's rules. A command with many images makes them once, because each rule is compiled."""
    return AccessPolicy(settings.access, settings.upstreams)


def allowed_image(text: str, settings: Settings, policy: AccessPolicy) -> ImageName:
    """Return the image that a person means, `latest` where nothing else is said.

    Raises UsageError for what is no name, and for what the operator's rules do not let anybody pull.
    """
    try:
        image = parse_tagged(text, settings.upstreams, settings.default_upstream)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    check_allowed(text, image, image.reference, policy)
    return image


def check_allowed(text: str, image: ImageName, reference: str, policy: AccessPolicy) -> None:
    """Raise UsageError for an image, written as `text`, that the rules do not let anybody pull by this reference."""
    decision = policy.decide(GATEWAY, image.upstream, image.repository, reference)
    if not decision.is_allowed:
        raise click.UsageError(f"{text} may not be pulled ({decision.by}): change that, or leave it out")


@contextlib.asynccontextmanager
async def opened(settings: Settings, log: Complaints, transport: "Transport | None" = None) -> "AsyncIterator[Parts]":
    """Yield the parts of a server over its cache and upstreams, and close them.

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
        yield parts
    finally:
        await parts.close()


def run_on(
    settings: Settings,
    config_file: Path | None,
    work: "Callable[[Parts], Awaitable[T]]",
    transport: "Transport | None" = None,
) -> T:
    """Return what `work` returns, given the opened parts.

    Raises Misuse for a configuration that cannot be used, and SystemExit 130 or 143 after SIGINT or SIGTERM.
    """
    stopped_by: list[signal.Signals] = []
    log = Complaints(complain, TOLD_WITH_RESULTS if transport is None else OFFLINE)

    async def begin() -> T:
        with stopping(stopped_by):
            async with opened(settings, log, transport) as parts:
                return await work(parts)

    try:
        return run_loop(begin(), config_file)
    except asyncio.CancelledError:
        raise SystemExit(128 + stopped_by[0] if stopped_by else 1) from None


def run_loop(work: Coroutine[None, None, T], config_file: Path | None) -> T:
    """Return what `work` returns, run on an event loop as the server's. Raises Misuse in place of a ConfigError."""
    import uvloop  # noqa: PLC0415 - other commands start without it

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            return runner.run(work)
        except ConfigError as error:
            raise Misuse(fail(error, config_file).message) from None


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
