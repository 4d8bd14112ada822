"""The option --platform, and the platforms that the Tab key offers for it. Not here: images (cache.py)."""

from collections.abc import Callable

import click

# what most images are made for; others can be written as well
PLATFORMS = (
    "linux/amd64",
    "linux/arm64",
    "linux/arm/v7",
    "linux/arm/v6",
    "linux/386",
    "linux/ppc64le",
    "linux/s390x",
    "linux/riscv64",
    "windows/amd64",
)


def complete_platform(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the usual platforms that begin so, and `all` for an option that may be repeated."""
    del ctx
    known = (*PLATFORMS, "all") if param.multiple else PLATFORMS
    return [one for one in known if one.startswith(incomplete)]


def platforms_option(without: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return the option --platform of a command; `without` says which platforms count without it."""
    return click.option(
        "--platform",
        "platforms",
        multiple=True,
        metavar="PLATFORM",
        shell_complete=complete_platform,
        help=f"linux/amd64, linux/arm64/v8, ... or all; may be repeated. Without: {without}.",
    )
