"""What several set-ups of the doctor's tests have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.images import build_index
from tests.support.processes import closed_port, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.hub import Hub
    from tests.support.images import Index

IMAGE = build_index("doctor", layer_sizes=(2_000,))


@pytest.fixture
def image() -> Index:
    """The image that is asked for."""
    return IMAGE


@pytest.fixture
def filled(hub: Hub) -> Hub:
    """The stand-in with that image."""
    hub.add("library/hello-world", "latest", IMAGE)
    return hub


@pytest.fixture
def dead() -> Iterator[str]:
    """A URL on loopback where nobody listens."""
    port = free_port()
    with closed_port(port):
        yield f"127.0.0.1:{port}"
