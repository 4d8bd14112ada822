"""What commands open: names that may be pulled, a gateway without a network, signals that end the work."""

import asyncio
import os
import signal

import click
import pytest

from hubferry.cli.load import Misuse, load_settings
from hubferry.cli.opening import Complaints, allowed_image, policy_of, run_on
from hubferry.core.exchange import Send
from hubferry.core.image import ImageName
from hubferry.ports.upstream import UpstreamFailure
from hubferry.server.compose import Parts
from hubferry.server.offline import NoNetwork
from tests.cli.conftest import Workshop


def test_a_name_means_latest_and_has_to_be_allowed(workshop: Workshop) -> None:
    workshop.configure(access={"deny": ["docker.io/library/app"]})
    settings = load_settings(workshop.config_file)
    assert allowed_image("other", settings, policy_of(settings)) == ImageName("docker.io", "library/other", "latest")
    for text in ("app", "UPPER", "ghcr.io/a/b"):
        with pytest.raises(click.UsageError):
            allowed_image(text, settings, policy_of(settings))


def test_warnings_are_lines_but_for_those_that_are_told_anyway() -> None:
    lines: list[str] = []
    complaints = Complaints(lines.append, frozenset({"stale"}))
    complaints.warning("stale", {"problem": "a"})
    complaints.warning("index_failed", {"problem": "b"})
    assert lines == ["index_failed: b"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_work_with_its_status(workshop: Workshop, number: signal.Signals) -> None:
    async def work(_: Parts) -> None:
        os.kill(os.getpid(), number)
        await asyncio.Event().wait()

    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as caught:
        run_on(load_settings(workshop.config_file), None, work)
    assert caught.value.code == 128 + number
    assert signal.getsignal(number) == before


def test_a_configuration_that_cannot_be_used_is_misuse(workshop: Workshop) -> None:
    hub = {"url": workshop.hub.url, "username": "a", "password_file": str(workshop.folder / "nothing")}
    workshop.configure(upstreams={"docker.io": hub})

    async def work(_: Parts) -> None:
        raise AssertionError("nothing is begun")

    with pytest.raises(Misuse, match="password_file"):
        run_on(load_settings(workshop.config_file), workshop.config_file, work)


def test_without_a_network_nobody_is_reached(workshop: Workshop) -> None:
    async def work(parts: Parts) -> None:
        transport = NoNetwork()
        request = Send("GET", workshop.hub.url, ())
        with pytest.raises(UpstreamFailure):
            await transport.send("docker.io", request)
        target = await parts.gateway.pull.own_target("docker.io", "library/app")
        assert target.credential is None

    run_on(load_settings(workshop.config_file), None, work, NoNetwork())
    assert workshop.hub.recorder.find() == []
