"""Case tables of core.token_request: what docker, podman, containerd and BuildKit say, and what nobody should."""

import base64
from urllib.parse import urlencode

import pytest

from hubferry.core.access import Credential
from hubferry.core.errors import OciError
from hubferry.core.token_request import from_form, from_query, parse_basic

ALICE = Credential("alice", "s3:cret")


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


BASIC: dict[str, tuple[str | None, Credential | None]] = {
    "absent": (None, None),
    "empty": ("", None),
    "another scheme": ("Bearer x", None),
    "name and password": (basic("alice:s3:cret"), ALICE),
    "scheme in lower case": (basic("alice:s3:cret").replace("Basic", "basic"), ALICE),
    "spaces after it": (basic("alice:s3:cret") + "  ", ALICE),
    "docker without a login": (basic(":"), None),
    "only a token": (basic(":t"), Credential("", "t")),
    "only a name": (basic("alice:"), Credential("alice", "")),
    "not ASCII": (basic("älice:ß"), Credential("älice", "ß")),
}


@pytest.mark.parametrize(("value", "expected"), BASIC.values(), ids=BASIC.keys())
def test_basic_credentials_are_read(value: str | None, expected: Credential | None) -> None:
    assert parse_basic(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        "Basic",
        "Basic !",
        "Basic YQ",
        basic("no colon"),
        basic("a\r\nb:c"),
        basic("a:b\x00"),
        "Basic /w==",
        pytest.param("Basic YTpi\u00e4"),
    ],
)
def test_unreadable_basic_credentials_are_refused_rather_than_anonymous(value: str) -> None:
    with pytest.raises(OciError) as caught:
        parse_basic(value)
    assert caught.value.status == 401


def test_a_get_repeats_its_scopes() -> None:
    params = (
        ("service", "gw"),
        ("scope", "repository:a:pull"),
        ("offline_token", "true"),
        ("scope", "repository:b:pull repository:c:pull"),
    )
    asked = from_query(params, basic("alice:s3:cret"))
    assert [scope.name for scope in asked.scopes] == ["a", "b", "c"]
    assert asked.credential == ALICE


def test_a_login_asks_for_no_scope() -> None:
    asked = from_query((("account", "alice"), ("client_id", "docker")), None)
    assert asked.scopes == ()
    assert asked.credential is None


PASSWORD = {"grant_type": "password", "username": "alice", "password": "s3:cret"}


@pytest.mark.parametrize(
    "scopes", [["repository:a:pull repository:b:pull"], ["repository:a:pull", "repository:b:pull"]]
)
def test_a_post_joins_its_scopes_or_repeats_them(scopes: list[str]) -> None:
    body = urlencode([*PASSWORD.items(), *(("scope", scope) for scope in scopes)])
    asked = from_form(body.encode(), None)
    assert [scope.name for scope in asked.scopes] == ["a", "b"]
    assert asked.credential == ALICE


def test_the_header_of_a_post_comes_before_its_form() -> None:
    asked = from_form(urlencode(PASSWORD).encode(), basic("bob:x"))
    assert asked.credential == Credential("bob", "x")


def test_a_post_without_a_name_is_anonymous() -> None:
    assert from_form(b"grant_type=password&scope=repository:a:pull", None).credential is None


@pytest.mark.parametrize(
    "body", [b"", b"grant_type=refresh_token&refresh_token=x", b"grant_type=", b"username=a&password=b"]
)
def test_an_unsupported_post_is_404_because_clients_fall_back_on_nothing_else(body: bytes) -> None:
    with pytest.raises(OciError) as caught:
        from_form(body, None)
    assert caught.value.status == 404


@pytest.mark.parametrize(
    "body",
    [b"\xff", "grant_type=pässword".encode(), b"grant_type=%ff", b"&".join([b"a=b"] * 65)],
)
def test_a_form_that_cannot_be_read_is_400(body: bytes) -> None:
    with pytest.raises(OciError) as caught:
        from_form(body, None)
    assert caught.value.status == 400


def test_a_password_never_shows() -> None:
    assert "s3:cret" not in repr(from_form(urlencode(PASSWORD).encode(), None))
