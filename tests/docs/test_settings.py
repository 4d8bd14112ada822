"""docs/configuration.md has every setting, with its type and default, and no other."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from typing import Any

import pytest

from hubferry.core.access_values import AccessRules, Groups, Issuers
from hubferry.core.limit_values import ByteRate, RateSchedule, RequestRate
from hubferry.core.settings import BUILT_IN, SECTIONS, UpstreamSettings
from hubferry.core.settings_sources import SettingsSource, from_environment, resolve
from hubferry.core.values import Duration, Size, TagTtls, convert
from tests.docs.markdown import Section, all_pages, code_of, page

UPSTREAM = '[upstreams."NAME"]'
TABLES = {f"[{name}]": cls for name, cls in SECTIONS.items()} | {UPSTREAM: UpstreamSettings}
KINDS: dict[Any, str] = {
    str: "text", bool: "boolean", int: "number", Size: "size", Duration: "duration", TagTtls: "table",
    AccessRules: "tables", Groups: "table", Issuers: "tables", RequestRate: "rate", ByteRate: "rate",
    RateSchedule: "tables",
}  # fmt: skip
CHINESE = {
    "text": "文本", "boolean": "布尔", "number": "数值", "list": "列表", "size": "大小", "duration": "时长",
    "table": "表", "tables": "表数组", "rate": "速率",
}  # fmt: skip


def section(title: str) -> Section:
    return page("docs/configuration.md").section(title)


def toml_value(cell: str) -> Any:
    (code,) = code_of(cell)
    return tomllib.loads(f"value = {code}")["value"]


@pytest.mark.parametrize("title", TABLES)
def test_every_setting_is_documented_with_type_and_default(title: str) -> None:
    known = {f.name: f for f in fields(TABLES[title])}
    documented = {code_of(row[0])[0]: row for row in section(title).rows}
    assert list(documented) == list(known), "the same settings, in the same order"
    for name, (_, kind, default, meaning, example) in documented.items():
        option = known[name]
        assert kind == next((word for of, word in KINDS.items() if option.type is of), "list"), name
        assert convert(toml_value(default), option) == option.default, f"{name}: default"
        assert meaning, name
        assert convert(toml_value(example), option) != option.default or name in ("url", "search_url"), name
        for choice in option.metadata.get("choices", ()):
            assert f"`{choice}`" in meaning, f"{name}: {choice}"


@pytest.mark.parametrize("title", TABLES)
def test_the_chinese_tables_say_the_same_of_each_setting(title: str) -> None:
    """All cells but the meaning; the names and values in that are compared for every page (test_readmes)."""
    translated = page("docs/configuration.zh-CN.md").section(title).rows
    expected = [[name, CHINESE[kind], default, example] for name, kind, default, _, example in section(title).rows]
    assert [[*row[:3], row[4]] for row in translated] == expected


def test_no_section_is_missing() -> None:
    titles = {s.title for s in page("docs/configuration.md").sections if s.title.startswith("[")}
    assert titles == set(TABLES)


def test_the_built_in_upstreams_are_documented() -> None:
    upstreams = resolve([]).upstreams
    documented = {}
    for name, url, default, library, further in section("Built-in upstreams").rows:
        values = {"url": code_of(url)[0], "default": toml_value(default), "library": toml_value(library)}
        values |= tomllib.loads("\n".join(code_of(further)))
        documented[code_of(name)[0]] = values
    assert set(documented) == set(BUILT_IN)
    for name, values in documented.items():
        changed = {f.name: getattr(upstreams[name], f.name) for f in fields(UpstreamSettings)}
        unsaid = {f.name for f in fields(UpstreamSettings) if f.name not in values and changed[f.name] != f.default}
        assert not unsaid, name
        for key, value in values.items():
            expected = tuple(value) if isinstance(value, list) else value
            assert changed[key] == expected, f"{name}.{key}"


def test_the_readmes_name_every_built_in_upstream() -> None:
    for name in ("README.md", "README.zh-CN.md"):
        for registry in BUILT_IN.keys() - {"docker.io"}:
            assert registry in page(name).prose, f"{name}: {registry}"


def test_variables_that_are_documented_exist() -> None:
    known = {f"HUBFERRY_{name}__{f.name}".upper() for name, cls in SECTIONS.items() for f in fields(cls)}
    known.add("HUBFERRY_UPSTREAMS__ONLY")
    upstream_keys = {f.name.upper() for f in fields(UpstreamSettings)}
    for document in all_pages():
        for variable in re.findall(r"HUBFERRY_[A-Z]+__[A-Z_]+", document.text):
            assert variable in known or variable.rpartition("__")[2] in upstream_keys, variable


def test_the_examples_of_the_environment_resolve() -> None:
    (block,) = [f for f in page("docs/configuration.md").fences if f.info == "sh" and "HUBFERRY_" in f.body]
    environ = dict(re.findall(r'^(\w+)="(.*)"$', block.body, re.MULTILINE))
    assert len(environ) == len(block.body.splitlines())
    settings = resolve([from_environment(environ, list(BUILT_IN))])
    assert settings.server.listen == ("127.0.0.1:5000", "[::1]:5000")
    assert list(settings.upstreams) == ["docker.io"]
    assert settings.upstreams["docker.io"].proxy


@pytest.mark.parametrize("line", ["server.lisen", "cache.max_size", "cache.min_free", "HUBFERRY_FOO"])
def test_the_messages_shown_are_those_of_the_program(line: str) -> None:
    cases: dict[str, Any] = {
        "server.lisen": lambda: resolve([SettingsSource("hubferry.toml", {"server": {"lisen": ""}})]),
        "cache.max_size": lambda: resolve([SettingsSource("hubferry.toml", {"cache": {"max_size": "20 gigs"}})]),
        "cache.min_free": lambda: resolve([SettingsSource("hubferry.toml", {"cache": {"min_free": "5"}})]),
        "HUBFERRY_FOO": lambda: from_environment({"HUBFERRY_FOO": "1"}, []),
    }
    with pytest.raises(ValueError, match=re.escape(line)) as raised:
        cases[line]()
    assert f"Error: {raised.value}" in page("docs/configuration.md").text
