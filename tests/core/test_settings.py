"""Case tables of core.settings, core.values and core.layers: which layer wins, and what a mistake is told."""

import base64
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import pytest

from hubferry.core.masking import mask_userinfo
from hubferry.core.settings import BUILT_IN, SECTIONS, Settings, UpstreamSettings, describe, option
from hubferry.core.settings_sources import SettingsSource, from_environment, resolve
from hubferry.core.values import (
    ConfigError,
    Duration,
    Size,
    TagTtls,
    format_toml,
    parse_duration,
    parse_listen,
    parse_size,
    parse_token_key,
    toml_key,
)

Tables = Mapping[str, Any]


def file(text: str) -> SettingsSource:
    return SettingsSource("hubferry.toml", tomllib.loads(text))


def environment(**variables: str) -> SettingsSource:
    return from_environment(variables, list(BUILT_IN))


def command_line(tables: Tables) -> SettingsSource:
    return SettingsSource("command line", tables)


def as_toml(settings: Settings) -> str:
    return "\n".join(
        line for section, shown in describe(settings) for line in (f"[{section}]", *(f"{k} = {v}" for k, v, _ in shown))
    )


# --- values ----------------------------------------------------------------------------------------------

SIZES = [
    ("20GiB", 20 * 2**30, "20GiB"),
    ("1.5KiB", 1536, "1536B"),
    ("1GB", 10**9, "1000000000B"),
    ("512B", 512, "512B"),
    (" 1 mib ", 2**20, "1MiB"),
    ("0B", 0, "0B"),
    ("2TiB", 2 * 2**40, "2TiB"),
]


@pytest.mark.parametrize(("text", "size_bytes", "shown"), SIZES)
def test_a_size_has_a_unit(text: str, size_bytes: int, shown: str) -> None:
    assert parse_size(text) == Size(size_bytes)
    assert str(Size(size_bytes)) == shown
    assert parse_size(shown) == Size(size_bytes)


@pytest.mark.parametrize("text", ["", "GiB", "-1GiB", "1XB", "1e9", "1,5GiB", "nan", "inf", "9" * 16, "1 2", "0x1"])
def test_what_is_no_size_is_told_how_one_looks(text: str) -> None:
    with pytest.raises(ValueError, match="such as 20GiB"):
        parse_size(text)


@pytest.mark.parametrize("text", ["10", "0", " 20 ", "1.5", "21474836480"])
def test_a_size_without_its_unit_is_told_to_have_one(text: str) -> None:
    with pytest.raises(ValueError, match=rf"has no unit, and a size needs its unit: write {text.strip()}GiB"):
        parse_size(text)


SIZE_SETTINGS = [
    (section, field.name)
    for section, cls in [*SECTIONS.items(), ("upstreams", UpstreamSettings)]
    for field in fields(cls)
    if field.type is Size
]


@pytest.mark.parametrize(("section", "key"), SIZE_SETTINGS)
def test_every_setting_of_a_size_needs_its_unit_in_file_and_environment(section: str, key: str) -> None:
    table = {key: "20"}
    as_file = SettingsSource("hubferry.toml", {section: {"docker.io": table} if section == "upstreams" else table})
    name = f"{section}__docker_io__{key}" if section == "upstreams" else f"{section}__{key}"
    from_variables = from_environment({f"HUBFERRY_{name.upper()}": "20"}, list(BUILT_IN))
    for layer in (as_file, from_variables):
        with pytest.raises(ConfigError, match=rf"{key}: '20' has no unit.*write 20GiB, 20MiB or 20B"):
            resolve([layer])


DURATIONS = [
    ("500ms", 0.5, "0.5s"),
    ("60s", 60, "1m"),
    ("90s", 90, "90s"),
    ("5m", 300, "5m"),
    ("1.5h", 5400, "90m"),
    ("7d", 604800, "7d"),
    ("0s", 0, "0s"),
    ("36h", 129600, "36h"),
]


@pytest.mark.parametrize(("text", "seconds", "shown"), DURATIONS)
def test_a_duration_has_a_unit(text: str, seconds: float, shown: str) -> None:
    assert parse_duration(text) == Duration(seconds)
    assert str(Duration(seconds)) == shown
    assert parse_duration(shown) == Duration(seconds)


@pytest.mark.parametrize("text", ["1000001s", "100000.5s", "999999999ms"])
def test_a_long_duration_is_shown_as_it_is(text: str) -> None:
    duration = parse_duration(text)
    assert parse_duration(str(duration)) == duration


@pytest.mark.parametrize("text", ["", "60", "s", "-1s", "1 week", "1S", "1e3s", "nan", "9" * 13 + "s", "1m30s"])
def test_what_is_no_duration_is_told_how_one_looks(text: str) -> None:
    with pytest.raises(ValueError, match="such as 60s or 7d"):
        parse_duration(text)


LISTEN = [
    ("127.0.0.1:5000", ("127.0.0.1", 5000)),
    ("[::]:5000", ("::", 5000)),
    (":5000", ("0.0.0.0", 5000)),
    ("localhost:0", ("localhost", 0)),
]


@pytest.mark.parametrize(("text", "address"), LISTEN)
def test_an_address_has_a_port(text: str, address: tuple[str, int]) -> None:
    assert parse_listen(text) == address


@pytest.mark.parametrize("text", ["", "5000", "127.0.0.1", "::1:5000", "a:x", "a:", "a:65536", "a:-1", "a:123456"])
def test_what_is_no_address_is_told_how_one_looks(text: str) -> None:
    with pytest.raises(ValueError, match="write HOST:PORT"):
        parse_listen(text)


KEY = bytes(range(0xE0, 0x100))  # its base64 has a + and a /, its base64url a - and a _
KEY_TEXT = base64.urlsafe_b64encode(KEY).decode()
KEYS = {
    "base64url": KEY_TEXT,
    "base64url without padding": KEY_TEXT.rstrip("="),
    "base64": base64.b64encode(KEY).decode(),
    "base64 without padding": base64.b64encode(KEY).decode().rstrip("="),
    "with white space around it": f" {KEY_TEXT}\r\n",
}


def test_the_alphabets_of_a_token_key_differ() -> None:
    assert {*"-_"} <= {*KEYS["base64url"]}
    assert {*"+/"} <= {*KEYS["base64"]}


@pytest.mark.parametrize("text", KEYS.values(), ids=KEYS.keys())
def test_a_token_key_is_32_bytes_in_either_base64(text: str) -> None:
    assert parse_token_key(text) == KEY
    assert parse_token_key(resolve([environment(HUBFERRY_ACCESS__TOKEN_KEY=text)]).access.token_key) == KEY


NO_KEYS = {
    "nothing": "",
    "31 bytes": base64.b64encode(KEY[1:]).decode(),
    "33 bytes": base64.b64encode(KEY + b"x").decode(),
    "one letter less": KEY_TEXT[1:],
    "too much padding": KEY_TEXT + "=",
    "hexadecimal": KEY.hex(),
    "white space inside": KEY_TEXT[:20] + "\n" + KEY_TEXT[20:],
    "quotes that nobody took away": f'"{KEY_TEXT}"',
    "beyond ASCII": "\u00e4" + KEY_TEXT[1:],
    "other digits": "\u0663" + KEY_TEXT[1:],
}


@pytest.mark.parametrize("text", NO_KEYS.values(), ids=NO_KEYS.keys())
def test_what_is_no_token_key_is_told_how_to_make_one(text: str) -> None:
    with pytest.raises(ValueError, match=r"openssl rand -base64 32 \| tr '\+/' '-_'"):
        parse_token_key(text)


MASKED = [
    ("http://user:secret@proxy:3128", "http://********@proxy:3128"),
    ("socks5://proxy:1080", "socks5://proxy:1080"),
    pytest.param(
        "http://user:sec@ret@proxy:1",
        "http://********@proxy:1",
    ),
]


@pytest.mark.parametrize(("url", "shown"), MASKED)
def test_the_credentials_of_a_proxy_are_masked(url: str, shown: str) -> None:
    assert mask_userinfo(url) == shown


def test_a_default_is_immutable() -> None:
    with pytest.raises(TypeError):
        option([], "a list")


def test_every_option_has_a_help_line_and_a_default() -> None:
    for cls in (*SECTIONS.values(), UpstreamSettings):
        for f in fields(cls):
            assert f.metadata["help"]
            assert f.default is not None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (False, "false"),
        (3, "3"),
        ('a"b\\', '"a\\"b\\\\"'),
        (("a", "b"), '["a", "b"]'),
        ((), "[]"),
        (Size(2**30), '"1GiB"'),
        (Duration(60.0), '"1m"'),
        (TagTtls((("*:1", Duration(60.0)), ("a/*", Duration(0)))), '{"*:1" = "1m", "a/*" = "0s"}'),
    ],
)
def test_a_value_is_written_as_toml(value: Any, text: str) -> None:
    assert format_toml(value) == text
    tomllib.loads(f"x = {text}")


@pytest.mark.parametrize("value", ["a\nb", "a\x7f", "a\x00"])
def test_a_text_with_control_characters_is_written_as_toml(value: str) -> None:
    assert tomllib.loads(f"x = {format_toml(value)}") == {"x": value}


@pytest.mark.parametrize(("name", "key"), [("docker", "docker"), ("docker.io", '"docker.io"'), ("a:1", '"a:1"')])
def test_a_name_is_quoted_where_toml_needs_it(name: str, key: str) -> None:
    assert toml_key(name) == key


# --- layers ----------------------------------------------------------------------------------------------


def test_with_no_file_at_all_the_public_registries_are_served() -> None:
    settings = resolve([])
    assert list(settings.upstreams) == [
        "docker.io", "ghcr.io", "quay.io", "gcr.io", "registry.k8s.io", "mcr.microsoft.com", "nvcr.io",
        "public.ecr.aws", "lscr.io",
    ]  # fmt: skip
    assert settings.default_upstream == "docker.io"
    assert settings.upstreams["docker.io"].library
    assert settings.upstreams["docker.io"].url == "https://registry-1.docker.io"
    assert settings.upstreams["ghcr.io"].url == "https://ghcr.io"
    assert not any(upstream.allow_private_addresses for upstream in settings.upstreams.values())
    assert settings.server.listen == ("127.0.0.1:5000",)
    assert (settings.server.workers, settings.server.public_url, settings.access.login) == (1, "", "upstream")
    assert settings.cache.max_size == Size(20 * 2**30)
    assert settings.cache.stale_if_error == Duration(7 * 86400)


LAYERS: dict[str, tuple[list[SettingsSource], str]] = {
    "defaults": ([], "127.0.0.1:5000"),
    "a file": ([file('server.listen = ":1"')], ":1"),
    "the environment before the file": (
        [file('server.listen = ":1"'), environment(HUBFERRY_SERVER__LISTEN=":2")],
        ":2",
    ),
    "the command line before both": (
        [
            file('server.listen = ":1"'),
            environment(HUBFERRY_SERVER__LISTEN=":2"),
            command_line({"server": {"listen": ":3"}}),
        ],
        ":3",
    ),
    "the command line before the file": (
        [file('server.listen = ":1"'), command_line({"server": {"listen": ":3"}})],
        ":3",
    ),
}


@pytest.mark.parametrize(("layers", "listen"), LAYERS.values(), ids=LAYERS.keys())
def test_defaults_file_environment_command_line(layers: list[SettingsSource], listen: str) -> None:
    assert resolve(layers).server.listen == (listen,)


def test_layers_are_merged_key_by_key() -> None:
    settings = resolve(
        [file("server.workers = 2\nserver.public_url = 'https://a'"), environment(HUBFERRY_SERVER__WORKERS="3")]
    )
    assert (settings.server.workers, settings.server.public_url) == (3, "https://a")


def test_a_list_may_be_a_text_or_a_list_and_is_comma_separated_in_the_environment() -> None:
    assert resolve([file('server.listen = [":1", "[::]:2"]')]).server.listen == (":1", "[::]:2")
    layer = environment(HUBFERRY_SERVER__TRUSTED_PROXIES="10.0.0.0/8, ::1,")
    assert resolve([layer]).server.trusted_proxies == ("10.0.0.0/8", "::1")


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("FALSE", False), ("1", True), ("0", False), ("yes", True), ("Off", False)]
)
def test_truth_in_the_environment_has_many_words(text: str, value: bool) -> None:
    assert resolve([environment(HUBFERRY_CACHE__ENABLED=text)]).cache.enabled is value


def test_a_table_of_ttls_keeps_its_order_and_is_replaced_as_a_whole() -> None:
    ours = file('[cache.tag_ttls]\n"docker.io/library/*" = "1h"\n"*:latest" = "0s"')
    assert resolve([ours]).cache.tag_ttls.rows == (
        ("docker.io/library/*", Duration(3600)),
        ("*:latest", Duration(0)),
    )
    theirs = environment(HUBFERRY_CACHE__TAG_TTLS="*:1 = 5m, ghcr.io/*=1d,")
    assert resolve([ours, theirs]).cache.tag_ttls.rows == (("*:1", Duration(300)), ("ghcr.io/*", Duration(86400)))
    assert resolve([ours, environment(HUBFERRY_CACHE__TAG_TTLS="")]).cache.tag_ttls.rows == ()


def test_one_upstream_in_a_file_keeps_the_built_in_ones() -> None:
    settings = resolve([file('[upstreams."reg.example:5000"]\nurl = "http://10.0.0.1:5000"')])
    assert set(settings.upstreams) == {*BUILT_IN, "reg.example:5000"}


def test_a_built_in_upstream_keeps_its_other_values() -> None:
    hub = resolve([file('[upstreams."docker.io"]\nmirrors = ["https://mirror.example"]')]).upstreams["docker.io"]
    assert (hub.url, hub.default, hub.library) == ("https://registry-1.docker.io", True, True)
    assert hub.mirrors == ("https://mirror.example",)


def test_only_leaves_what_the_file_names() -> None:
    settings = resolve([file('[upstreams]\nonly = true\n[upstreams."docker.io"]\n[upstreams."a.example"]')])
    assert list(settings.upstreams) == ["docker.io", "a.example"]
    assert settings.upstreams["docker.io"].library


def test_only_may_be_said_in_the_environment_for_what_it_names_there() -> None:
    layer = environment(HUBFERRY_UPSTREAMS__ONLY="yes", HUBFERRY_UPSTREAMS__DOCKER_IO__PROXY="http://p:1")
    assert list(resolve([layer]).upstreams) == ["docker.io"]


def test_only_in_the_environment_keeps_what_the_file_names() -> None:
    layers = [
        file('[upstreams."docker.io"]\nlibrary = true\n[upstreams."ghcr.io"]\nproxy = "http://p:1"'),
        environment(HUBFERRY_UPSTREAMS__ONLY="true"),
    ]
    assert list(resolve(layers).upstreams) == ["docker.io", "ghcr.io"]


def test_a_new_default_takes_the_place_of_the_old_one() -> None:
    settings = resolve([file('[upstreams."ghcr.io"]\ndefault = true')])
    assert settings.default_upstream == "ghcr.io"
    assert not settings.upstreams["docker.io"].default


def test_a_default_of_a_later_layer_takes_the_place_of_an_earlier_one() -> None:
    layers = [
        file('[upstreams."ghcr.io"]\ndefault = true'),
        environment(HUBFERRY_UPSTREAMS__QUAY_IO__DEFAULT="true"),
    ]
    assert resolve(layers).default_upstream == "quay.io"


@pytest.mark.parametrize("variable", ["DOCKER_IO", "docker.io", "Docker-IO"])
def test_the_name_of_an_upstream_may_be_written_with_underscores(variable: str) -> None:
    layer = from_environment({f"HUBFERRY_UPSTREAMS__{variable}__PROXY": "http://p:1"}, list(BUILT_IN))
    assert resolve([layer]).upstreams["docker.io"].proxy == "http://p:1"


def test_an_upstream_of_the_file_may_be_named_in_the_environment() -> None:
    layer = from_environment({"HUBFERRY_UPSTREAMS__REG_EXAMPLE_5000__PROXY": "http://p:1"}, ["reg.example:5000"])
    assert layer.tables == {"upstreams": {"reg.example:5000": {"proxy": "http://p:1"}}}


def test_a_misspelt_upstream_in_the_environment_is_an_error() -> None:
    with pytest.raises(ConfigError):
        resolve([environment(HUBFERRY_UPSTREAMS__DOKER_IO__PROXY="http://p:1")])


def test_other_variables_are_not_ours() -> None:
    assert from_environment({"PATH": "/bin", "hubferry_x": "1"}, []).tables == {}


def test_an_empty_url_is_the_registry_itself() -> None:
    assert (
        resolve([file('[upstreams."a.example:8443"]\nurl = ""')]).upstreams["a.example:8443"].url
        == "https://a.example:8443"
    )


def test_the_sections_are_shown_with_their_help_and_can_be_read_back() -> None:
    settings = resolve(
        [
            file(
                "server.listen = ['127.0.0.1:1', '[::1]:2']\nserver.cors_origins = ['https://ui']\n"
                "cache.max_size = '1.5GiB'\ncache.tag_ttl = '90s'\n"
                "cache.tag_ttls = {'docker.io/[a-m]*:1.?' = '1h', '*' = '0s'}\n"
                "[upstreams.'reg.example:5000']\nurl = 'http://10.0.0.1:5000/prefix'\nhosts = ['a', 'b:1']\n"
                "username = 'me\"\\\\'\npassword_file = '/run/secret'"
            )
        ]
    )
    assert resolve([SettingsSource("shown", tomllib.loads(as_toml(settings)))]) == settings
    assert all(line for _, shown in describe(settings) for _, _, line in shown)


def test_what_is_shown_holds_no_password_of_a_proxy() -> None:
    settings = resolve([file('[upstreams."docker.io"]\nproxy = "socks5://me:hunter2@10.0.0.1:1080"')])
    assert "hunter2" not in as_toml(settings)
    assert "10.0.0.1:1080" in as_toml(settings)


SECRETS = {
    "the token key": (f"access.token_key = '{KEY_TEXT}'", KEY_TEXT, "token_key"),
    "a password": ("upstreams.a = {username = 'me', password = 'hunter2'}", "hunter2", "password"),
}


@pytest.mark.parametrize(("text", "secret", "key"), SECRETS.values(), ids=SECRETS.keys())
def test_a_secret_is_not_shown_but_that_it_is_set(text: str, secret: str, key: str) -> None:
    settings = resolve([file(text)])
    assert secret not in as_toml(settings)
    assert f'\n{key} = "********"\n' in as_toml(settings)
    assert secret not in repr(settings)


def test_a_secret_that_is_not_set_is_shown_as_that() -> None:
    assert {'token_key = ""', 'password = ""'} <= {*as_toml(resolve([])).splitlines()}


def test_white_space_around_a_secret_is_dropped() -> None:
    layers = [
        file("upstreams.'docker.io'.username = 'me'\naccess.token_key_file = '/run/key'"),
        environment(HUBFERRY_UPSTREAMS__DOCKER_IO__PASSWORD=" correct horse\n", HUBFERRY_ACCESS__TOKEN_KEY="\n"),
    ]
    settings = resolve(layers)
    assert settings.upstreams["docker.io"].password == "correct horse"
    assert settings.access.token_key == "", "white space is no key, and excludes none"


def test_an_empty_variable_takes_back_what_the_file_says() -> None:
    layers = [
        file("access.token_key_file = '/run/key'"),
        environment(HUBFERRY_ACCESS__TOKEN_KEY=KEY_TEXT, HUBFERRY_ACCESS__TOKEN_KEY_FILE=""),
    ]
    assert resolve(layers).access.token_key == KEY_TEXT


PLAIN = {
    "username",
    "images",
    "dir",
    "file",
    "tls_cert",
    "tls_key",
}  # names of accounts, images and files: shown as they are
OPTIONS = [
    (section, f.name)
    for section, cls in {**SECTIONS, "upstreams": UpstreamSettings}.items()
    for f in fields(cls)
    if f.name not in PLAIN and not f.name.endswith("_file")
]


@pytest.mark.parametrize(("section", "name"), OPTIONS)
@pytest.mark.parametrize(
    "value",
    [
        "u:hunter2@h",
        "u:hunter2@h:5000",
        "//u:hunter2@h",
        "http://u:hunter2@h:5000/",
        "https://u:hun@er/hunter2@h",
        "http://h/?token=hunter2",
        "http://u:x\nhunter2@h",
    ],
)
def test_no_message_and_no_listing_repeats_the_password_of_a_url(section: str, name: str, value: str) -> None:
    table: dict[str, Any] = {name: value}
    layer = SettingsSource("hubferry.toml", {section: {"docker.io": table} if section == "upstreams" else table})
    try:
        shown = as_toml(resolve([layer]))
    except ConfigError as error:
        shown = str(error)
    if name not in ("cors_origins", "tag_ttls") or "?" not in value:  # there `=` divides, or everything is taken
        assert "hunter2" not in shown


def test_the_name_of_an_upstream_is_masked_as_well() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve([file("[upstreams.'u:hunter2@h']\nurl = 'https://h'")])
    assert "hunter2" not in str(caught.value)


# --- mistakes --------------------------------------------------------------------------------------------

MISTAKES: dict[str, tuple[str, str, str]] = {
    # name: TOML, key, words of the remedy
    "a misspelt section": ("sever.listen = ':1'", "sever", "did you mean server?"),
    "a section like nothing": ("[zzz]", "zzz", "known are access, audit, cache, limits, pages, server, upstreams"),
    "operators who are everybody": ("[pages]\noperators = ['users']", "pages.operators", "for chosen people only"),
    "operators who are nobody": ("[pages]\noperators = ['alice']", "pages.operators", "'alice' is none of"),
    "operators who log in where nobody does": (
        "[pages]\noperators = ['user:alice']",
        "pages.operators",
        'unless access.login = "users"',
    ),
    "a misspelt key": ("server.lisen = ':1'", "server.lisen", "did you mean listen?"),
    "a key like nothing": ("server.qqqq = 1", "server.qqqq", "known are connections_per_address"),
    "a misspelt key of an upstream": (
        '[upstreams."ghcr.io"]\nmirors = []',
        'upstreams."ghcr.io".mirors',
        "mirrors?",
    ),
    "a section that is no table": ("server = 1", "server", "expected a table"),
    "upstreams that are no table": ("upstreams = 1", "upstreams", "expected tables such as"),
    "an upstream that is no table": ("upstreams.a = 1", "upstreams.a", "expected a table"),
    "only that is no truth": ("upstreams.only = 'maybe'", "upstreams.only", "expected true or false"),
    "an upstream with a path": ('[upstreams."a/b"]', 'upstreams."a/b"', "registry host such as docker.io"),
    "an upstream in capitals": (
        '[upstreams."A.example"]',
        'upstreams."A.example"',
        "registry host such as docker.io",
    ),
    "an upstream by an alias": ('[upstreams."index.docker.io"]', 'upstreams."index.docker.io"', "registry host"),
    "a text for a number": ("server.workers = 'two'", "server.workers", "expected a whole number"),
    "a truth for a number": ("server.workers = true", "server.workers", "expected a whole number"),
    "a fraction": ("server.workers = 1.5", "server.workers", "expected a whole number"),
    "no workers": ("server.workers = 0", "server.workers", "from 1 on"),
    "fewer than no workers": ("server.workers = -1", "server.workers", "from 1 on"),
    "a number for a text": ("server.public_url = 1", "server.public_url", "expected a text in quotes"),
    "a number for a truth": ("cache.enabled = 1", "cache.enabled", "expected true or false"),
    "a word for a truth": ("cache.enabled = 'maybe'", "cache.enabled", "expected true or false"),
    "a number for a list": ("server.listen = 5000", "server.listen", "expected a text or a list of texts"),
    "a number in a list": ("server.listen = [5000]", "server.listen", "expected a text in quotes"),
    "an empty list of addresses": ("server.listen = []", "server.listen", "at least one address"),
    "an address without a port": ("server.listen = 'localhost'", "server.listen", "write HOST:PORT"),
    "a number for a size": ("cache.max_size = 5", "cache.max_size", "with a unit in quotes"),
    "a bad size": ("cache.max_size = '5 bananas'", "cache.max_size", "such as 20GiB"),
    "a bad duration": ("cache.tag_ttl = '5'", "cache.tag_ttl", "such as 60s or 7d"),
    "durations that are no table": ("cache.tag_ttls = ['*:1']", "cache.tag_ttls", "expected a table of image patterns"),
    "a pattern with a bad duration": ("cache.tag_ttls = {'*:1' = 'soon'}", "cache.tag_ttls", "*:1: 'soon' is no"),
    "a pattern with a number": ("cache.tag_ttls = {'*:1' = 60}", "cache.tag_ttls", "*:1: expected a text with a unit"),
    "a pattern without a registry": (
        "cache.tag_ttls = {'nginx' = '1h'}",
        "cache.tag_ttls",
        "write docker.io/library/*",
    ),
    "a pattern of digests": ("cache.tag_ttls = {'*@sha256:*' = '1h'}", "cache.tag_ttls", "is no pattern of images"),
    "a pattern with an open bracket": ("cache.tag_ttls = {'*:[1' = '1h'}", "cache.tag_ttls", "is no pattern of images"),
    "a pattern that is empty": ("cache.tag_ttls = {'' = '1h'}", "cache.tag_ttls", "is no pattern of images"),
    "a pattern of a misspelt upstream": (
        "cache.tag_ttls = {'docker.oi/*' = '1h'}",
        "cache.tag_ttls",
        "docker.oi/*: there is no upstream docker.oi; did you mean docker.io?",
    ),
    "a pattern of an alias": (
        "cache.tag_ttls = {'index.docker.io/*' = '1h'}",
        "cache.tag_ttls",
        "did you mean docker.io?",
    ),
    "a pattern without an upstream": (
        "cache.tag_ttls = {'library/*' = '1h'}",
        "cache.tag_ttls",
        "known are docker.io, ",
    ),
    "an unknown choice": ("access.login = 'closed'", "access.login", "expected one of upstream, open"),
    "a format that is no text": ("server.log_format = 1", "server.log_format", "expected a text in quotes"),
    "a URL without a scheme": ("server.public_url = 'hub.example'", "server.public_url", "write http(s)://HOST"),
    "a URL with credentials": ("server.public_url = 'https://a@b'", "server.public_url", "without credentials"),
    "a URL with a query": ("server.public_url = 'https://a?b'", "server.public_url", "write http(s)://HOST"),
    "a URL with a fragment": ("server.public_url = 'https://a#b'", "server.public_url", "write http(s)://HOST"),
    "a URL with port 0": ("server.public_url = 'https://a:0'", "server.public_url", "write http(s)://HOST"),
    "a URL with a port too large": (
        "server.public_url = 'https://a:65536'",
        "server.public_url",
        "write http(s)://",
    ),
    "a mirror that is no URL": ("[upstreams.a]\nmirrors = ['x']", "upstreams.a.mirrors", "write http(s)://HOST"),
    "a proxy without a port": ("[upstreams.a]\nproxy = 'http://p'", "upstreams.a.proxy", "HOST:PORT"),
    "a proxy of another kind": ("[upstreams.a]\nproxy = 'ftp://p:1'", "upstreams.a.proxy", "HOST:PORT"),
    "a proxy with a bad port": ("[upstreams.a]\nproxy = 'http://p:x'", "upstreams.a.proxy", "HOST:PORT"),
    "a host that is a URL": ("[upstreams.a]\nhosts = ['https://a']", "upstreams.a.hosts", "without https://"),
    "a network that is none": ("server.trusted_proxies = ['10.0.0.1/8']", "server.trusted_proxies", "10.0.0.0/8"),
    "a certificate without a key": ("server.tls_cert = 'c'", "server.tls_key", "set both or neither"),
    "a key without a certificate": ("server.tls_key = 'k'", "server.tls_cert", "set both or neither"),
    "a name without a password": (
        "[upstreams.a]\nusername = 'u'",
        "upstreams.a.password_file",
        "set password_file or password, or drop username",
    ),
    "a password itself without a name": (
        "[upstreams.a]\npassword = 'p'",
        "upstreams.a.username",
        "password needs a username: set both or neither",
    ),
    "two passwords": (
        "[upstreams.a]\nusername = 'u'\npassword = 'p'\npassword_file = 'f'",
        "upstreams.a.password",
        "password_file is set as well (hubferry.toml): set one of the two",
    ),
    "two passwords without a name": (
        "[upstreams.a]\npassword = 'p'\npassword_file = 'f'",
        "upstreams.a.password",
        "set one of the two",
    ),
    "a number for a password": ("[upstreams.a]\npassword = 5", "upstreams.a.password", "expected a text in quotes"),
    "a token key of another length": ("access.token_key = 'dG9vIHNob3J0'", "access.token_key", "openssl rand"),
    "two token keys": (
        f"[access]\ntoken_key = '{KEY_TEXT}'\ntoken_key_file = 'f'",
        "access.token_key",
        "token_key_file is set as well (hubferry.toml): set one of the two",
    ),
    "a password without a name": (
        "[upstreams.a]\npassword_file = 'p'",
        "upstreams.a.username",
        "set both or neither",
    ),
    "a host for two upstreams": (
        "[upstreams.a]\nhosts = ['h.example']\n[upstreams.b]\nhosts = ['H.example']",
        "upstreams.b.hosts",
        "listed for a as well",
    ),
}
WITHOUT_SOURCE: dict[str, tuple[str, str, str]] = {
    "two defaults": (
        "[upstreams.a]\ndefault = true\n[upstreams.b]\ndefault = true",
        "upstreams",
        "exactly one upstream",
    ),
    "no default": ("[upstreams]\nonly = true\n[upstreams.a]", "upstreams", "no upstream has it"),
}


@pytest.mark.parametrize(
    ("text", "key", "remedy"), [*MISTAKES.values(), *WITHOUT_SOURCE.values()], ids=[*MISTAKES, *WITHOUT_SOURCE]
)
def test_a_mistake_names_its_key_and_the_remedy(text: str, key: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve([file(text)])
    assert caught.value.key == key
    assert remedy in caught.value.problem
    assert f"{key}: {caught.value.problem}" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        *(pytest.param(text, id=name) for name, (text, _, _) in MISTAKES.items()),
        *(pytest.param(text, id=name) for name, (text, _, _) in WITHOUT_SOURCE.items()),
    ],
)
def test_a_mistake_names_its_source(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve([file(text)])
    assert caught.value.source == "hubferry.toml"
    assert str(caught.value).startswith("hubferry.toml: ")
    assert "\n" not in str(caught.value)


VARIABLES: dict[str, tuple[str, str]] = {
    "HUBFERRY_SERVER_LISTEN": ("HUBFERRY_SERVER_LISTEN", "did you mean HUBFERRY_SERVER__LISTEN?"),
    "HUBFERRY_": ("HUBFERRY_", "unknown variable"),
    "HUBFERRY_XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX": (
        "HUBFERRY_XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX",
        "settings are HUBFERRY_SECTION__KEY",
    ),
    "HUBFERRY_UPSTREAMS__DOCKER_IO": ("HUBFERRY_UPSTREAMS__DOCKER_IO", "unknown variable"),
    "HUBFERRY_SERVER__LISTEN__X": ("HUBFERRY_SERVER__LISTEN__X", "did you mean"),
    "HUBFERRY_SERVER__LISEN": ("server.lisen", "did you mean listen?"),
    "HUBFERRY_UPSTREAMS__GHCR_IO__MIRORS": ('upstreams."ghcr.io".mirors', "did you mean mirrors?"),
    "HUBFERRY_UPSTREAMS__ONLY": ("upstreams.only", "expected true or false"),
    "HUBFERRY_SERVER__WORKERS": ("server.workers", "expected a whole number"),
    "HUBFERRY_CACHE__TAG_TTLS": ("cache.tag_ttls", "write PATTERN=DURATION"),
}


@pytest.mark.parametrize(("variable", "told"), VARIABLES.items(), ids=VARIABLES.keys())
def test_a_mistake_in_the_environment_names_environment_key_and_remedy(variable: str, told: tuple[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve([environment(**{variable: "x"})])
    assert caught.value.source == "environment"
    assert caught.value.key == told[0]
    assert told[1] in caught.value.problem


def test_a_mistake_on_the_command_line_names_it() -> None:
    with pytest.raises(ConfigError, match=r"^command line: server\.listen: "):
        resolve([file("server.listen = ':1'"), command_line({"server": {"listen": "x"}})])


@pytest.mark.parametrize("text", ["server.public_url = 'http://[x'", "upstreams.a.mirrors = ['http://[:::]/']"])
def test_a_broken_bracket_in_a_url_is_told_how_one_looks(text: str) -> None:
    with pytest.raises(ConfigError, match="write http"):
        resolve([file(text)])


@pytest.mark.parametrize("key", ["server.public_url", "upstreams.a.url", "upstreams.a.mirrors"])
def test_a_mistake_in_a_url_does_not_repeat_its_password(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve([file(f"{key} = 'https://me:hunter2@reg.example'")])
    assert "hunter2" not in str(caught.value)


def test_a_mistake_in_a_proxy_does_not_repeat_its_password() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve([file("upstreams.a.proxy = 'http://me:hunter2@pr\u2100xy:1'")])
    assert "hunter2" not in str(caught.value)


SECRET_MISTAKES = {
    "a token key": {"HUBFERRY_ACCESS__TOKEN_KEY": "hunter2"},
    "a password without a name": {"HUBFERRY_UPSTREAMS__DOCKER_IO__PASSWORD": "hunter2"},
    "two passwords": {
        "HUBFERRY_UPSTREAMS__DOCKER_IO__PASSWORD": "hunter2",
        "HUBFERRY_UPSTREAMS__DOCKER_IO__PASSWORD_FILE": "f",
    },
    "a misspelt key": {"HUBFERRY_UPSTREAMS__DOCKER_IO__PASSWORT": "hunter2"},
    "a misspelt upstream": {"HUBFERRY_UPSTREAMS__DOCKR_IO__PASSWORD": "hunter2"},
    "a misspelt section": {"HUBFERRY_ACESS__TOKEN_KEY": "hunter2"},
}


@pytest.mark.parametrize("variables", SECRET_MISTAKES.values(), ids=SECRET_MISTAKES.keys())
def test_a_mistake_does_not_repeat_a_secret(variables: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve([environment(**variables)])
    assert caught.value.source == "environment"
    assert "hunter2" not in str(caught.value)


def test_two_keys_of_two_sources_name_both() -> None:
    layers = [file("access.token_key_file = '/run/key'"), environment(HUBFERRY_ACCESS__TOKEN_KEY=KEY_TEXT)]
    with pytest.raises(ConfigError) as caught:
        resolve(layers)
    assert str(caught.value) == (
        "environment: access.token_key: token_key_file is set as well (hubferry.toml): set one of the two"
    )


@pytest.mark.parametrize("name", ["a.example:99999", "a.example:0", "[:::]", "[1.2]:5"])
def test_a_name_that_makes_no_url_is_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        resolve([file(f'[upstreams."{name}"]')])


@pytest.mark.parametrize("key", ["connect_timeout", "tls_timeout", "response_timeout", "read_timeout"])
def test_a_timeout_of_zero_is_refused(key: str) -> None:
    with pytest.raises(ConfigError):
        resolve([file(f"upstreams.a.{key} = '0s'")])


@pytest.mark.parametrize("host", ["Auth.Example.com", "auth.example.com:8443"])
def test_a_realm_host_that_can_never_match_is_refused_or_understood(host: str) -> None:
    try:
        hosts = resolve([file(f"upstreams.a.realm_hosts = ['{host}']")]).upstreams["a"].realm_hosts
    except ConfigError:
        return
    assert hosts == ("auth.example.com",)
