"""What cannot work although each value may be: the setting, and what to do."""

from typing import Any

import pytest

from hubferry.core.settings_sources import SettingsSource, resolve
from hubferry.core.workable import find_unworkable

CASES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "nothing is wrong": ({"reg.test": {}}, []),
    "a name that nobody can write": (
        {"plain": {"url": "https://reg.test"}},
        ["upstreams.plain: no request can mean it"],
    ),
    "the same with a host name": ({"plain": {"url": "https://reg.test", "hosts": ["a.test"]}}, []),
    "the same as the default": ({"plain": {"url": "https://reg.test", "default": True}}, []),
    "localhost can be written": ({"localhost": {"url": "https://reg.test"}}, []),
    "a private url": (
        {"reg.test": {"url": "http://10.0.0.1:5000"}},
        ['upstreams."reg.test".url: http://10.0.0.1:5000 is the private or special address 10.0.0.1'],
    ),
    "a private mirror": (
        {"reg.test": {"mirrors": ["http://localhost:5000", "https://b.test"]}},
        ['upstreams."reg.test".mirrors: http://localhost:5000 is the private name localhost'],
    ),
    "one that is allowed": ({"reg.test": {"url": "http://10.0.0.1", "allow_private_addresses": True}}, []),
    "a gateway with a registry in its path": (
        {"ghcr.io": {"url": "https://hub.test/ghcr.io"}},
        ['upstreams."ghcr.io".url: https://hub.test/ghcr.io: a registry is asked at /ghcr.io/v2/'],
    ),
    "another path": ({"reg.test": {"url": "https://hub.test/registry"}}, []),
}


@pytest.mark.parametrize(("upstreams", "beginnings"), CASES.values(), ids=CASES.keys())
def test_what_cannot_work_is_found(upstreams: dict[str, Any], beginnings: list[str]) -> None:
    settings = resolve([SettingsSource("file", {"upstreams": upstreams})])
    found = [str(problem) for problem in find_unworkable(settings)]
    assert len(found) == len(beginnings), found
    for problem, beginning in zip(found, beginnings, strict=True):
        assert problem.startswith(beginning), problem
