"""Configuration: any tables are settings or a ConfigError, and what is shown can be read back."""

import contextlib
import tomllib
from dataclasses import fields
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubferry.core.settings import BUILT_IN, SECTIONS, Settings, UpstreamSettings, describe
from hubferry.core.settings_sources import SettingsSource, from_environment, resolve
from hubferry.core.values import UNITS_BYTES, ConfigError, format_toml, parse_size
from tests.properties.inputs import hostile

VALUES = [
    "", "true", "1", "0", "-1", "60s", "20GiB", "20", "127.0.0.1:5000", ":0", "https://a.example",
    "http://u:p@h:1", "[::1]:1",
    "10.0.0.0/8", "open", "json", "http://[", "https://a:99999", "docker.io", "socks5://p:1", "auto",
]  # fmt: skip
scalars = st.one_of(
    st.sampled_from(VALUES),
    hostile,
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.dates(),
    st.none(),
)
values = st.one_of(
    scalars, st.lists(scalars, max_size=3), st.dictionaries(st.sampled_from(["a", "url"]), scalars, max_size=2)
)


def keys_of(cls: type) -> st.SearchStrategy[str]:
    return st.one_of(st.sampled_from([f.name for f in fields(cls)]), hostile)


upstream_names = st.one_of(st.sampled_from([*BUILT_IN, "a.example:5000", "[::1]:5000", "A.b", "only"]), hostile)
upstream_tables = st.dictionaries(
    upstream_names, st.one_of(st.dictionaries(keys_of(UpstreamSettings), values, max_size=3), values), max_size=3
)
tables = st.fixed_dictionaries(
    {},
    optional={
        **{
            name: st.one_of(st.dictionaries(keys_of(cls), values, max_size=3), values) for name, cls in SECTIONS.items()
        },
        "upstreams": st.one_of(upstream_tables, values),
    },
)
# tables that are mostly right, so that whole settings come out of them
texts = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f"), max_size=20)
good_upstream = st.fixed_dictionaries(
    {},
    optional={
        "url": st.sampled_from(["https://a.example/x", "http://10.0.0.1:5000"]),
        "mirrors": st.lists(st.sampled_from(["https://m.example", "https://n.example/p"]), max_size=2),
        "library": st.booleans(),
        "ca_file": texts,
        "proxy": st.sampled_from(["http://p:1", "socks5://127.0.0.1:1080"]),
        "connect_timeout": st.integers(1, 999_999).map("{}s".format),
    },
)
good = st.fixed_dictionaries(
    {},
    optional={
        "server": st.fixed_dictionaries(
            {}, optional={"tls_cert": st.just("c"), "cors_origins": st.lists(texts, max_size=2)}
        ),
        "cache": st.fixed_dictionaries(
            {},
            optional={
                "dir": texts,
                "max_size": st.integers(0, 2**50).map("{}B".format),
                "enabled": st.booleans(),
                "tag_ttls": st.dictionaries(
                    st.sampled_from(["*", "*:[!0-9]", "docker.io/a?", "a.example:1/*:x"]),
                    st.integers(0, 99).map("{}s".format),
                ),
            },
        ),
        "upstreams": st.dictionaries(
            st.sampled_from(["docker.io", "quay.io", "a.example:1", "[::1]:1"]), good_upstream
        ),
    },
)


def shown(settings: Settings) -> str:
    return "\n".join(
        line for section, rows in describe(settings) for line in (f"[{section}]", *(f"{k} = {v}" for k, v, _ in rows))
    )


@given(st.lists(tables, max_size=3))
def test_any_tables_are_settings_or_a_configerror(layers: list[dict[str, Any]]) -> None:
    try:
        settings = resolve([SettingsSource(f"layer {i}", layer) for i, layer in enumerate(layers)])
    except ConfigError:
        return
    assert settings.default_upstream in settings.upstreams
    for upstream in settings.upstreams.values():
        assert urlsplit(upstream.url).scheme in ("http", "https")


@given(st.dictionaries(st.one_of(hostile.map("HUBFERRY_{}".format), hostile), hostile, max_size=3))
def test_any_environment_is_a_layer_or_a_configerror(environ: dict[str, str]) -> None:
    with contextlib.suppress(ConfigError):
        resolve([from_environment(environ, list(BUILT_IN))])


@given(good)
def test_what_is_shown_can_be_read_back(layer: dict[str, Any]) -> None:
    try:
        settings = resolve([SettingsSource("file", layer)])
    except ConfigError:
        return
    assert resolve([SettingsSource("shown", tomllib.loads(shown(settings)))]) == settings


@given(st.integers(0, 10**15 - 1), st.sampled_from(list(UNITS_BYTES)), st.sampled_from(["", " "]))
def test_a_size_is_what_its_unit_says_and_nothing_without_one(number: int, unit: str, space: str) -> None:
    size = parse_size(f"{number}{space}{unit}")
    assert size.size_bytes == int(float(number) * UNITS_BYTES[unit])
    with pytest.raises(ValueError, match="needs its unit"):
        parse_size(f"{number}{space}")


@given(texts)
def test_a_text_is_written_as_toml_reads_it(text: str) -> None:
    assert tomllib.loads(f"x = {format_toml(text)}") == {"x": text}


@given(st.sampled_from([f.name for f in fields(UpstreamSettings)]), st.sampled_from(VALUES), st.sampled_from(VALUES))
def test_a_later_layer_wins_key_by_key(key: str, first: str, second: str) -> None:
    layers = [
        SettingsSource(source, {"upstreams": {"a.example": {key: value}}})
        for source, value in (("1", first), ("2", second))
    ]
    try:
        alone, both = resolve(layers[1:]), resolve(layers)
    except ConfigError:
        return
    assert getattr(alone.upstreams["a.example"], key) == getattr(both.upstreams["a.example"], key)
