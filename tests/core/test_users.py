"""The gateway's own users: what their files may have in them, and who a login is."""

from dataclasses import replace

import pytest

from hubferry.core.access import Credential, Grant, UserLogin, claims_of, grant_of
from hubferry.core.http import Request
from hubferry.core.logged import logged
from hubferry.core.masking import has_secret
from hubferry.core.users import (
    MAX_ROWS,
    NO_PASSWORD,
    Directory,
    StoredSecret,
    User,
    digest_of,
    format_secrets,
    login_by_password,
    parse_secrets,
    parse_users,
    split_password,
    take_secret_from_path,
    with_user,
    without_user,
)

HASH = "$2y$05$" + "a" * 21 + "." + "a" * 31
OTHER_HASH = "$2b$10$" + "b" * 21 + "O" + "b" * 31
TOKEN, MIRROR = "hubferry_" + "1" * 40, "hubferry_" + "2" * 40
NOW = 1_000_000.0
ROWS = [
    StoredSecret("aa", "alice", digest_of(TOKEN), is_client=False, created_at=1),
    StoredSecret("bb", "node1", digest_of(MIRROR), is_client=True, created_at=1, ends_at=int(NOW) + 10),
]
DIRECTORY = Directory({"alice": HASH, "ci": NO_PASSWORD}, ROWS, {"admins": ["alice", "node1"], "all": ["alice"]})


# --- who a login is --------------------------------------------------------------------------------------


def test_a_user_is_who_shows_what_is_in_the_files() -> None:
    by_password = login_by_password("alice", HASH)
    by_token = DIRECTORY.login_by_secret(TOKEN, NOW, is_client=False)
    by_mirror = DIRECTORY.login_by_secret(MIRROR, NOW, is_client=True)
    assert by_token is not None
    assert by_mirror is not None
    alice = User("alice", frozenset({"admins", "all"}))
    assert [DIRECTORY.user_of(login, NOW) for login in (by_password, by_token)] == [alice, alice]
    assert DIRECTORY.user_of(by_mirror, NOW) == User("node1", frozenset({"admins"}))
    assert DIRECTORY.user_of(by_mirror, NOW + 10) is None, "it has ended"
    assert DIRECTORY.login_by_secret(MIRROR, NOW + 10, is_client=True) is None
    assert DIRECTORY.login_by_secret(TOKEN, NOW, is_client=True) is None, "an access token is no client's secret"
    assert DIRECTORY.login_by_secret(MIRROR, NOW, is_client=False) is None
    assert DIRECTORY.login_by_secret(MIRROR[:-1], NOW, is_client=True) is None


LOGINS = {
    "another password": UserLogin("alice", login_by_password("alice", OTHER_HASH).proof),
    "another user's proof": UserLogin("ci", login_by_password("alice", HASH).proof),
    "a made-up proof": UserLogin("alice", "secret zz"),
    "another user's access token": UserLogin("ci", "secret aa"),
    "a user who is gone": login_by_password("dave", HASH),
    "a proof that has ended": replace(login_by_password("alice", HASH), ends_at=NOW),
}


@pytest.mark.parametrize("login", LOGINS.values(), ids=LOGINS.keys())
def test_what_does_not_count_is_nobody(login: UserLogin) -> None:
    assert DIRECTORY.user_of(login, NOW) is None


def test_a_user_who_is_removed_has_no_access_token_any_more() -> None:
    later = Directory({"ci": NO_PASSWORD}, ROWS)
    assert later.login_by_secret(TOKEN, NOW, is_client=False) is None
    assert later.login_by_secret(MIRROR, NOW, is_client=True) is not None


def test_a_name_is_known_when_it_has_a_line_or_a_secret() -> None:
    assert [DIRECTORY.knows(name) for name in ("alice", "ci", "node1", "dave")] == [True, True, True, False]
    assert DIRECTORY.hash_of("alice") == HASH
    assert DIRECTORY.hash_of("ci") is None
    assert DIRECTORY.hash_of("dave") is None
    assert [DIRECTORY.knows_user(name) for name in ("alice", "ci", "node1")] == [True, True, False]


def test_access_tokens_of_nobody_and_names_of_two_are_found() -> None:
    found = Directory({"node1": "!"}, ROWS)
    assert [row.id for row in found.orphans] == ["aa"]
    assert found.shared_names == ["node1"]
    assert not DIRECTORY.orphans
    assert not DIRECTORY.shared_names


def test_the_decoy_takes_as_long_as_the_dearest_hash() -> None:
    assert DIRECTORY.decoy.startswith("$2b$05$")
    assert Directory({"a": HASH, "b": HASH, "c": OTHER_HASH}).decoy.startswith("$2b$10$")
    assert Directory({}).decoy.startswith("$2b$10$")


def test_a_token_carries_the_login() -> None:
    login = UserLogin("alice", "secret aa", NOW)
    grant = Grant(("app",), "gw", NOW, login=login)
    assert grant_of(claims_of(grant)) == grant
    assert grant_of(claims_of(Grant(("app",), "gw", NOW))).login is None


# --- secrets ---------------------------------------------------------------------------------------------

PASSWORDS: dict[str, tuple[str, tuple[str, Credential | None]]] = {
    "a password": ("s3cret", ("", None)),
    "an access token": (TOKEN, (TOKEN, None)),
    "an access token and nothing": (TOKEN + ":", (TOKEN, None)),
    "both": (TOKEN + ":pass:word", (TOKEN, Credential("carl", "pass:word"))),
    "too long": (TOKEN + "0", ("", None)),
    "too short": (TOKEN[:-1], ("", None)),
    "in capitals": (TOKEN.replace("1", "A"), ("", None)),
    "behind something": ("x" + TOKEN, ("", None)),
}


@pytest.mark.parametrize(("password", "parts"), PASSWORDS.values(), ids=PASSWORDS.keys())
def test_an_access_token_stands_at_the_beginning_of_a_password(
    password: str, parts: tuple[str, Credential | None]
) -> None:
    assert split_password(Credential("carl", password)) == parts


PATHS = {
    f"/{MIRROR}/v2/": ("/v2/", MIRROR),
    f"/{MIRROR}/v2/library/app/manifests/1": ("/v2/library/app/manifests/1", MIRROR),
    f"/{MIRROR}": ("/", MIRROR),
    f"/{MIRROR}/{MIRROR}/v2/": (f"/{MIRROR}/v2/", MIRROR),
    f"/{MIRROR}x/v2/": (f"/{MIRROR}x/v2/", ""),
    f"//{MIRROR}/v2/": (f"//{MIRROR}/v2/", ""),
    f"/v2/{MIRROR}/app/tags/list": (f"/v2/{MIRROR}/app/tags/list", ""),
    "/v2/": ("/v2/", ""),
    "": ("", ""),
}


@pytest.mark.parametrize(("path", "parts"), PATHS.items())
def test_a_client_secret_stands_at_the_beginning_of_a_path(path: str, parts: tuple[str, str]) -> None:
    request = take_secret_from_path(Request("GET", path, "ns=docker.io", (), "https", "gw", "192.0.2.1"))
    assert (request.path, request.secret) == parts
    assert request.query == "ns=docker.io"
    if request.secret:
        assert MIRROR not in repr(replace(request, path="/"))


@pytest.mark.parametrize(
    "text",
    [
        TOKEN,
        f"/{TOKEN}x/v2/",
        f"a {TOKEN} and {MIRROR}",
        "/hubferry_%31" + "1" * 38,
        TOKEN.upper(),
        TOKEN.replace("h", "%68"),
        TOKEN.replace("_", "%5F"),
        TOKEN.replace("_", "%5f").replace("b", "%62"),
    ],
)
def test_no_secret_is_logged(text: str) -> None:
    assert "1111" not in str(logged(text))
    assert "********" in str(logged(text))


def test_digests_and_commits_are_logged() -> None:
    for text in ("sha256:" + "1" * 64, "1" * 40, "sha256-" + "1" * 64, "my_image"):
        assert logged(text) == text


# --- the files -------------------------------------------------------------------------------------------


def test_what_htpasswd_writes_is_read() -> None:
    text = f"# staff\n\nalice:{HASH}\nbob@example.com:{OTHER_HASH}\nci:!\n"
    assert parse_users(text) == {"alice": HASH, "bob@example.com": OTHER_HASH, "ci": NO_PASSWORD}
    assert parse_users("") == {}


BAD_USERS = {
    "plain text": ("alice:s3cret", "line 1: alice has no bcrypt hash"),
    "MD5": ("alice:$apr1$x$y", "has no bcrypt hash"),
    "the faulty version": ("alice:" + HASH.replace("$2y$", "$2x$"), "has no bcrypt hash"),
    "too cheap": ("alice:" + HASH.replace("$05$", "$03$"), "has no bcrypt hash"),
    "too dear": ("alice:" + HASH.replace("$05$", "$15$"), "has no bcrypt hash"),
    "cut": ("alice:" + HASH[:-1], "has no bcrypt hash"),
    "a salt that cannot be": ("alice:" + HASH.replace(".", "b"), "has no bcrypt hash"),
    "no name": (f":{HASH}", "line 1 is no NAME:HASH"),
    "no colon": ("alice", "line 1 is no NAME:HASH"),
    "a name with a slash": (f"a/b:{HASH}", "line 1 is no NAME:HASH"),
    "twice": (f"a:{HASH}\na:{HASH}", "line 2: a is there twice"),
}


@pytest.mark.parametrize(("text", "words"), BAD_USERS.values(), ids=BAD_USERS.keys())
def test_a_line_that_cannot_be_used_is_named_without_its_hash(text: str, words: str) -> None:
    with pytest.raises(ValueError, match="line") as caught:
        parse_users(text)
    assert words in str(caught.value)
    assert text.partition(":")[2] == "" or text.partition(":")[2] not in str(caught.value)


def test_there_are_not_more_users_than_may_be() -> None:
    with pytest.raises(ValueError, match="more than"):
        parse_users("".join(f"u{number}:!\n" for number in range(MAX_ROWS + 1)))


def test_secrets_are_read_as_they_were_written() -> None:
    assert parse_secrets(format_secrets(ROWS)) == ROWS
    assert parse_secrets(format_secrets([])) == []


BAD_SECRETS = {
    "no JSON": ("{", "is no JSON"),
    "deep": ("[" * 100_000, "is no JSON"),
    "a list": ("[]", 'no "version"'),
    "another version": ('{"version": 2, "secrets": []}', 'no "version": 1'),
    "no rows": ('{"version": 1}', "no list"),
    "an unknown key": (format_secrets(ROWS).replace('"id"', '"it"'), "number 1 cannot be read"),
    "a number for a name": (format_secrets(ROWS).replace('"alice"', "7"), "number 1 cannot be read"),
    "a hash that is none": (format_secrets(ROWS).replace(digest_of(MIRROR), "x"), "number 2 cannot be read"),
    "an end that is none": (format_secrets(ROWS).replace('"ends_at": null', '"ends_at": "x"'), "number 1 cannot"),
}


@pytest.mark.parametrize(("text", "words"), BAD_SECRETS.values(), ids=BAD_SECRETS.keys())
def test_a_secrets_file_that_cannot_be_used_says_why(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_secrets(text)


def test_a_users_file_is_changed_line_by_line() -> None:
    text = f"# staff\nalice:{HASH}\nalice2:{HASH}\n"
    assert with_user(text, "alice", OTHER_HASH) == f"# staff\nalice:{OTHER_HASH}\nalice2:{HASH}\n"
    assert with_user(text, "bob", NO_PASSWORD) == text + "bob:!\n"
    assert with_user("", "bob", NO_PASSWORD) == "bob:!\n"
    assert without_user(text, "alice") == f"# staff\nalice2:{HASH}\n"
    assert without_user(text, "bob") == text


def test_a_secret_is_found_anywhere_in_a_name() -> None:
    assert has_secret(f"a/{TOKEN}/b")
    assert has_secret(TOKEN.upper())
    assert not has_secret("hubferry_" + "1" * 39)
