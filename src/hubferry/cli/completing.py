"""What a shell offers behind the Tab key beside commands and options: platforms, and images that are kept.

Nothing is printed and nothing fails here, because the person is in the middle of a line.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path

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
MAX_OFFERED = 200


def complete_platform(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the usual platforms that begin so, and `all` for an option that may be repeated."""
    del ctx
    known = (*PLATFORMS, "all") if param.multiple else PLATFORMS
    return [one for one in known if one.startswith(incomplete)]


def complete_kept(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the kept images whose whole name, or name as people write it, begins so; at most MAX_OFFERED.

    The configuration is the one that is named before in the line.
    """
    del param
    from hubferry.cli.cache import kept_names  # noqa: PLC0415 - the store, which other completions do not need

    config_file: Path | None = ctx.params.get("config_file")
    with contextlib.suppress(click.ClickException, OSError):
        return [name for name in kept_names(config_file) if name.startswith(incomplete)][:MAX_OFFERED]
    return []


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
