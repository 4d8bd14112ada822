"""What the documents say is tried with what they say it of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.gateway import begun_as_by_users

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="package", autouse=True)
def _as_by_users() -> Iterator[None]:
    with begun_as_by_users():
        yield
