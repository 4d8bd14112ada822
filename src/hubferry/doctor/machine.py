"""What a server needs of its own machine: a cache folder with room, and a right clock; then every upstream."""

import asyncio
import getpass
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from pathlib import Path

from hubferry.core.diagnosis_machine import judge_clock, judge_room
from hubferry.core.finding import Finding
from hubferry.core.image import ImageName
from hubferry.core.settings import Settings
from hubferry.core.values import ConfigError, Size
from hubferry.doctor.probe import Probe
from hubferry.doctor.upstreams import NOT_TRIED, check_upstream
from hubferry.server.compose import build_upstream

AT_ONCE = 5  # upstreams that are checked at a time
PROXY_VARIABLES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


async def examine_server(
    settings: Settings,
    image: ImageName | None,
    only: Collection[str],
    environ: Mapping[str, str],
    tell: Callable[[str], None],
) -> AsyncIterator[Finding]:
    """Check what a server with these settings needs, and yield findings in the order of the settings.

    `image` is asked for at its upstream; None: a known one. `only` are the upstreams to check; empty: all of them.
    `tell` is called with the name of what is waited for.
    """
    yield await asyncio.to_thread(check_folder, settings)
    skews: dict[str, float] = {}
    turns = asyncio.Semaphore(AT_ONCE)
    names = [name for name in settings.upstreams if not only or name in only]
    tasks = [asyncio.create_task(_examine_upstream(settings, name, image, skews, turns)) for name in names]
    has_failed = False
    try:
        for name, task in zip(names, tasks, strict=True):
            tell(name)
            for finding in await task:
                has_failed = has_failed or finding.mark == "failed"
                yield finding
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    yield judge_clock(skews)
    if has_failed and (hint := check_environment(settings, environ)) is not None:
        yield hint


async def _examine_upstream(
    settings: Settings, name: str, image: ImageName | None, skews: dict[str, float], turns: asyncio.Semaphore
) -> list[Finding]:
    try:
        upstream = build_upstream(name, settings.upstreams[name])
    except ConfigError:  # the line about the configuration says it
        return [Finding(name, "skipped", NOT_TRIED)]
    async with turns:
        probe = Probe(upstream, settings.no_proxy, skews)
        try:
            return await check_upstream(probe, image if image is not None and image.upstream == name else None)
        finally:
            await probe.close()


def check_folder(settings: Settings) -> Finding:
    """Check that this user can write into the cache folder, and that it has room. Leaves nothing there."""
    name, cache = "cache folder", settings.cache
    if not cache.enabled:
        return Finding(name, "skipped", "cache.enabled = false: nothing is kept")
    folder = Path(cache.dir).absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    user = getpass.getuser()
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(bytes(4096))
    except OSError as error:
        problem = f"{user} cannot write into {there} ({error.strerror})"
        return Finding(name, "failed", problem, "give it to the user that the gateway runs as, or set dir in [cache]")
    owner = there.stat().st_uid
    if os.geteuid() == 0 and owner != 0:
        problem = f"{there} belongs to {_user(there)}: that root can write there says nothing"
        return Finding(name, "warning", problem, f"run this as {_user(there)}, as the gateway does")
    free_bytes = shutil.disk_usage(there).free
    unit = 2**30 if free_bytes >= 2**30 else 2**20
    shown = (str(Size(free_bytes - free_bytes % unit)), str(cache.min_free))
    return judge_room(str(folder), free_bytes, cache.min_free.size_bytes, shown)


def _user(path: Path) -> str:
    try:
        return path.owner()
    except KeyError:
        return f"user {path.stat().st_uid}"


def check_environment(settings: Settings, environ: Mapping[str, str]) -> Finding | None:
    """Say that a proxy in the environment has no effect; None when there is none, or an upstream has one of its own."""
    name = next((name for name in PROXY_VARIABLES if environ.get(name)), None)
    if name is None or any(upstream.proxy for upstream in settings.upstreams.values()):
        return None
    problem = f"{name} is set, and hubferry does not read it: upstreams are reached directly"
    return Finding("proxy", "warning", problem, "set proxy in the section of each upstream that needs it")
