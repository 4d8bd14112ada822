"""Limits and real clients: a rate makes a pull slower, and not wrong."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.conftest import Lab, check_amd64
from tests.support.clients import CLIENTS, Client, ClientError
from tests.support.gateway import Gateway, upstream
from tests.support.http import fetch
from tests.support.images import build_index

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.real

IMAGE = "library/limited"


@contextmanager
def limited(lab: Lab, folder: Path, **limits: Any) -> Iterator[Gateway]:
    config = {
        "cache": {"dir": str(folder / "data")},
        "limits": limits,
        "upstreams": {"only": True, "docker.io": upstream(lab.stand_in.url, default=True, library=True)},
    }
    with Gateway.start(folder / "gateway", config) as gateway:
        yield gateway


@pytest.mark.parametrize("name", CLIENTS)
def test_a_rate_is_waited_for(lab: Lab, clients: dict[str, Client], tmp_path: Path, name: str) -> None:
    index = build_index("limited", layer_sizes=(700_000, 500_000, 300_000, 200_000))
    lab.publish("docker.io", IMAGE, "1", index)
    limits = {"requests": "100/s", "downloads": 16, "rate": "1MiB/s", "total_rate": "10MiB/s", "bytes_per_day": "1GiB"}
    with limited(lab, tmp_path, **limits) as gateway:
        reference = f"{gateway.host}/{IMAGE}:1"
        for _ in range(2):
            pulled = clients[name].pull(reference, platform="linux/amd64")
            clients[name].remove(reference)
            check_amd64(pulled, index)


@pytest.mark.parametrize("name", ["docker", "containerd"])
def test_who_has_had_enough_is_refused(lab: Lab, clients: dict[str, Client], tmp_path: Path, name: str) -> None:
    """At once. podman and skopeo try again for minutes, as `Retry-After` says."""
    lab.publish("docker.io", IMAGE, "2", build_index("refused"))
    with limited(lab, tmp_path, requests="1/h") as gateway:
        while fetch(f"{gateway.url}/v2/").status != 429:
            pass
        with pytest.raises(ClientError, match=r"a limit of this gateway|429|(?i:too ?many ?requests)"):
            clients[name].pull(f"{gateway.host}/{IMAGE}:2", platform="linux/amd64")
