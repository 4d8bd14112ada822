"""Registrable domains by the Public Suffix List."""

from __future__ import annotations

import pytest

from hubferry.server.domains import read_public_suffixes, registrable_domain


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("auth.docker.io", "docker.io"),
        ("registry.example.co.uk", "example.co.uk"),
        ("team.github.io", "team.github.io"),
        ("co.uk", None),
        ("a.例子.公司.cn", "例子.公司.cn"),
        ("a.xn--fsqu00a.xn--55qx5d.cn", "xn--fsqu00a.xn--55qx5d.cn"),
    ],
)
def test_a_host_below_a_public_suffix(host: str, expected: str | None) -> None:
    assert registrable_domain(host) == expected


def test_the_list_is_read_once() -> None:
    assert read_public_suffixes() is read_public_suffixes()
