"""`hubferry rehearse`: would the images of a file be pulled, also while no upstream can be reached, and until when.

It is the server's own code that answers, over the same cache folder; with `--offline` over a transport without a
network. Exit status: 0 every image would be pulled by every client; 1 some would not; 2 the command or the
configuration is wrong. Images of registries that are none of the upstreams are pulled past the gateway, and do not
count. Not here: trying (pull/rehearse.py), the names in files (core/image_names.py).
"""

import os
import platform as machine
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hubferry.cli.completing import platforms_option
from hubferry.cli.load import Misuse, config_option, load_or_misuse
from hubferry.cli.opening import allowed_image, policy_of, run_on
from hubferry.cli.output import human_moment, print_json, print_marked
from hubferry.cli.waiting import Waiting
from hubferry.core.human import human_size
from hubferry.core.image import ImageName, parse_image
from hubferry.core.image_names import MAX_TEXT, find_image_names
from hubferry.core.platforms import Platform, parse_platforms
from hubferry.core.rules import AccessPolicy
from hubferry.core.settings import Settings

if TYPE_CHECKING:
    from hubferry.pull.rehearse import Missing, Rehearsed
    from hubferry.server.compose import Parts


@dataclass
class Line:
    """A name in a file, the image that it means, and what became of it: skipped, failed or rehearsed."""

    where: str
    name: str
    image: ImageName | None = None
    skipped: str = ""
    failed: str = ""
    result: "Rehearsed | None" = None

    @property
    def works(self) -> bool:
        """Return whether it would be pulled, or is pulled past the gateway."""
        return bool(self.skipped) or (self.result is not None and self.result.works)


@dataclass
class Plan:
    """The lines of all files, each image once, and for which platforms (None: all)."""

    settings: Settings
    platforms: tuple[Platform, ...] | None
    lines: list[Line] = field(default_factory=list)

    def images(self, *, only_failing: bool = False) -> tuple[ImageName, ...]:
        """Return the images to rehearse, or those that would not work."""
        return tuple(line.image for line in self.lines if line.image and not (only_failing and line.works))


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(allow_dash=True, path_type=Path))
@click.option("--offline", is_flag=True, help="As if no upstream could be reached. Without: as things are now.")
@platforms_option("warm.platforms, else this machine's")
@click.option("--fix", is_flag=True, help="Fetch what is missing, as `hubferry warm` does, and rehearse again.")
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON object on standard output.")
@config_option
def rehearse(
    config_file: Path | None,
    files: tuple[Path, ...],
    platforms: tuple[str, ...],
    *,
    offline: bool,
    fix: bool,
    as_json: bool,
) -> None:
    """Try whether every image that FILE names could be pulled.

    FILE is a Compose file, Kubernetes manifests, a Dockerfile, a script with docker commands, or a list with one image
    in a line; - is standard input. What docker, containerd and podman ask for is asked of the cache; no layer is read.

    \b
      hubferry rehearse --offline compose.yaml         would it all work if the Internet were gone?
      hubferry rehearse --offline --fix k8s/*.yaml     fetch what is missing, then say so

    Exit status 0: every image would be pulled. 1: some would not, each with its reason.
    """
    plan = read_plan(config_file, files, platforms)
    try_all(plan, config_file, offline=offline)
    if fix and (failing := plan.images(only_failing=True)):
        from hubferry.cli.warm import Order, run, tell_problems  # noqa: PLC0415 - only with --fix

        done = run(Order(plan.settings, failing, plan.platforms), config_file)
        if done.stopped_by is not None:
            raise SystemExit(128 + done.stopped_by)
        tell_problems(done)
        try_all(plan, config_file, offline=offline)
    if as_json:
        print_json(document(plan))
    else:
        show(plan, offline=offline)
    if not all(line.works for line in plan.lines):
        raise SystemExit(1)


def read_plan(config_file: Path | None, files: Sequence[Path], platforms: Sequence[str]) -> Plan:
    """Return the images that files name. Raises UsageError and Misuse for what nothing can be rehearsed with."""
    settings = load_or_misuse(config_file)
    if not settings.cache.enabled:
        raise Misuse("cache.enabled is false, so nothing is kept that could be pulled: enable the cache first")
    try:
        plan = Plan(settings, parse_platforms(platforms or settings.warm.platforms, machine.machine()))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    seen, policy = set[ImageName](), policy_of(settings)
    for file in files:
        found = find_image_names(read_text(file), os.environ)
        if not found:
            raise click.UsageError(f"{file} names no image: give a Compose file, manifests, a Dockerfile or a list")
        for one in found:
            line = understand(f"{file}:{one.line}", one.name, settings, policy, is_complete=one.is_complete)
            if line.image is None or line.image not in seen:
                plan.lines.append(line)
            seen |= {line.image} if line.image is not None else set()
    return plan


def read_text(file: Path) -> str:
    """Return the text of a file. Raises UsageError for one that is too long, no text, or cannot be read."""
    try:
        with click.open_file(str(file), "rb") as opened:
            content: bytes = opened.read(MAX_TEXT + 1)
    except OSError as error:
        raise click.UsageError(f"{file} cannot be read ({error.strerror}): check its path") from None
    if len(content) > MAX_TEXT:
        raise click.UsageError(f"{file} is longer than {MAX_TEXT} bytes: split it")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise click.UsageError(f"{file} is no UTF-8 text: give a file that names images") from None


def understand(where: str, name: str, settings: Settings, policy: AccessPolicy, *, is_complete: bool) -> Line:
    """Return the line of a name, with the image that it means if this gateway would be asked for it."""
    if not is_complete:
        return Line(
            where, name, failed="a variable in it has no value: set it in the environment, or give it a default"
        )
    try:
        parse_image(name, settings.upstreams, settings.default_upstream)
    except ValueError as error:
        return Line(where, name, skipped=str(error))
    try:
        return Line(where, name, allowed_image(name, settings, policy))
    except click.UsageError as error:
        return Line(where, name, failed=error.message)


def try_all(plan: Plan, config_file: Path | None, *, offline: bool) -> None:
    """Rehearse every image that does not work yet, and note what came of it."""
    from hubferry.server.offline import NoNetwork  # noqa: PLC0415 - other commands start without the server

    async def work(parts: "Parts") -> None:
        for line in plan.lines:
            if line.image is not None and not line.works:
                waiting.show(str(line.image))
                rehearsal = parts.gateway.pull.rehearsal
                line.result = await rehearsal.rehearse(line.image, plan.platforms, must_be_kept=offline)

    with Waiting() as waiting:
        run_on(plan.settings, config_file, work, NoNetwork() if offline else None)


def show(plan: Plan, *, offline: bool) -> None:
    """Print a line for each name, with its reason, and what to do at the end."""
    for line in plan.lines:
        label = f"{line.image or line.name} ({line.where})"
        if line.skipped:
            print_marked("skipped", f"{label}: it is pulled past this gateway: {line.skipped}")
        elif line.failed or line.result is None:
            print_marked("failed", f"{label}: {line.failed}")
        elif line.works:
            print_marked("ok", f"{label}{until(line.result) if offline else ''}")
        else:
            print_marked("failed", f"{label}: {missing_words(line.result.missing)}")
    failing = sum(not line.works for line in plan.lines)
    when = "without any upstream" if offline else "now"
    click.echo(f"{len(plan.lines) - failing} of {len(plan.lines)} images would work {when}")
    if plan.images(only_failing=True):
        click.echo("-> fetch what is missing: the same command with --fix, or `hubferry warm`")


def until(result: "Rehearsed") -> str:
    """Return in words how long an image will be given without its upstream."""
    return ": as long as it is kept" if result.until is None else f": until {human_moment(result.until)}"


def missing_words(missing: "Sequence[Missing]") -> str:
    """Return in words what is missing, for whom, and why if that is known."""
    for one in missing:
        if one.problem:
            return f"{one.what} is missing for {one.clients}: {one.problem}"
    counts = Counter((one.clients, one.what) for one in missing)
    sizes: Counter[tuple[str, str]] = Counter()
    for one in missing:
        sizes[one.clients, one.what] += one.size_bytes or 0
    parts = [
        f"{what}{f' and {count - 1} more' if count > 1 else ''} ({human_size(sizes[clients, what])}) for {clients}"
        for (clients, what), count in counts.items()
    ]
    return f"not kept: {'; '.join(parts)}"


def document(plan: Plan) -> dict[str, object]:
    """Return the result as a JSON document."""
    lines = []
    for line in plan.lines:
        result = line.result
        lines.append(
            {
                "where": line.where,
                "name": line.name,
                "image": None if line.image is None else str(line.image),
                "works": line.works,
                "skipped": line.skipped,
                "problem": line.failed,
                "digest": "" if result is None else result.digest,
                "until": None if result is None else result.until,
                "missing": [] if result is None else [asdict(one) for one in result.missing],
            }
        )
    return {"images": lines, "works": all(line.works for line in plan.lines)}
