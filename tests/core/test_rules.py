"""Who may pull which images: networks, lists, rules, and patterns of images."""

from typing import Any

import pytest

from hubferry.core.access_values import Operators
from hubferry.core.rules import GATEWAY, AccessPolicy, Decision, Requester, parse_pattern, unknown_names
from hubferry.core.settings import Settings
from hubferry.core.settings_sources import SettingsSource, from_environment, resolve
from hubferry.core.users import Directory, User
from hubferry.core.values import ConfigError

OFFICE, GUEST = "10.1.2.3", "192.0.2.7"
DIGEST = "sha256:" + "a" * 64


def settings_of(**access: Any) -> Settings:
    return resolve([SettingsSource("test", {"access": access})])


def policy(**access: Any) -> AccessPolicy:
    settings = settings_of(**access)
    return AccessPolicy(settings.access, settings.upstreams)


def may(rules: AccessPolicy, image: str, address: str = GUEST) -> bool:
    """Whether an image may be pulled: UPSTREAM/REPOSITORY, :TAG or @DIGEST."""
    name, _, digest = image.partition("@")
    upstream, _, rest = name.partition("/")
    repository, _, tag = rest.partition(":")
    return rules.decide(Requester(address), upstream, repository, digest or tag).is_allowed


# --- patterns --------------------------------------------------------------------------------------------

PATTERNS: dict[str, tuple[str, list[str], list[str]]] = {
    # pattern: what it matches, what it does not
    "everything": ("**", ["docker.io/library/nginx", "ghcr.io/a/b/c:1"], []),
    "an upstream": ("ghcr.io/**", ["ghcr.io/a", "ghcr.io/a/b/c:1"], ["quay.io/a/b"]),
    "one part": ("ghcr.io/*", ["ghcr.io/a"], ["ghcr.io/a/b"]),
    "two parts": (
        "ghcr.io/owner/*",
        ["ghcr.io/owner/app"],
        ["ghcr.io/owner", "ghcr.io/owner/a/b", "ghcr.io/own/x"],
    ),
    "an owner": ("ghcr.io/owner/**", ["ghcr.io/owner/app", "ghcr.io/owner/a/b"], ["ghcr.io/other/app"]),
    "no part at all": ("ghcr.io/owner/**", ["ghcr.io/owner"], []),
    "parts between": ("ghcr.io/**/app", ["ghcr.io/app", "ghcr.io/a/app", "ghcr.io/a/b/app"], ["ghcr.io/a/app/b"]),
    "the last that fits": ("ghcr.io/**/a/*", ["ghcr.io/a/a/b", "ghcr.io/x/a/a/b"], ["ghcr.io/a/a/b/c"]),
    "any upstream": ("*/owner/app", ["ghcr.io/owner/app", "quay.io/owner/app"], ["quay.io/owner/apps"]),
    "several upstreams": ("*.io/owner/app", ["ghcr.io/owner/app"], ["nvcr.test/owner/app"]),
    "part of a name": ("ghcr.io/o/a*b*c", ["ghcr.io/o/abc", "ghcr.io/o/axbxc"], ["ghcr.io/o/ac", "ghcr.io/o/abcd"]),
    "pieces in their order": ("ghcr.io/o/*ab*ba*", ["ghcr.io/o/xabxbax"], ["ghcr.io/o/aba"]),
    "ends do not overlap": ("ghcr.io/o/ab*ba", ["ghcr.io/o/abba"], ["ghcr.io/o/aba"]),
    "an official image": ("docker.io/nginx", ["docker.io/library/nginx"], ["docker.io/user/nginx"]),
    "by another name of the upstream": ("index.docker.io/nginx", ["docker.io/library/nginx"], []),
    "a tag": ("docker.io/library/nginx:1.27", ["docker.io/library/nginx:1.27"], ["docker.io/library/nginx:1.2"]),
    "tags": ("docker.io/**:1.*", ["docker.io/library/nginx:1.27", "docker.io/a/b:1."], ["docker.io/a/b:latest"]),
}


@pytest.mark.parametrize(("pattern", "matched", "others"), PATTERNS.values(), ids=PATTERNS.keys())
def test_a_pattern_matches_whole_names(pattern: str, matched: list[str], others: list[str]) -> None:
    denied = policy(deny=[pattern])
    assert [image for image in matched if may(denied, image)] == []
    assert [image for image in others if not may(denied, image)] == []


BAD_PATTERNS = {
    "no upstream": ("nginx", "write UPSTREAM/REPOSITORY, such as docker.io/library/nginx"),
    "an upstream alone": ("ghcr.io", "ghcr.io/**"),
    "an unknown upstream": ("docker.oi/library/nginx", "docker.oi is none of the upstreams"),
    "any single name of Docker Hub": ("docker.io/*", "docker.io/** for every image"),
    "some single names of Docker Hub": ("docker.io/ng*", "docker.io/library/ng* for the official ones"),
    "stars within a name": ("ghcr.io/a**b", "is no pattern of images"),
    "three stars": ("ghcr.io/***", "is no pattern of images"),
    "a digest": (f"ghcr.io/a/b@{DIGEST}", "is no pattern of images"),
    "a space": ("ghcr.io/a b", "is no pattern of images"),
    "single names of any upstream": ("*/nginx", "on docker.io such images are library/nginx: write */**/nginx"),
    "nothing": ("", "is no pattern of images"),
    "an empty part": ("ghcr.io//a", "is no pattern of images"),
    "a very long one": ("ghcr.io/" + "a" * 500, "is no pattern of images"),
}


@pytest.mark.parametrize("setting", ["deny", "allow", "rules"])
@pytest.mark.parametrize(("pattern", "words"), BAD_PATTERNS.values(), ids=BAD_PATTERNS.keys())
def test_a_pattern_that_can_match_nothing_stops_the_start(setting: str, pattern: str, words: str) -> None:
    value: Any = [{"what": [pattern], "allow": False}] if setting == "rules" else [pattern]
    with pytest.raises(ConfigError) as caught:
        settings_of(**{setting: value})
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"test: access.{setting}")


def test_many_stars_and_a_long_name_take_no_time_to_speak_of() -> None:
    upstreams = settings_of().upstreams
    pattern = parse_pattern("ghcr.io/" + "*a" * 100 + "b/" + "**/" * 100 + "x", upstreams)
    parts = ("ghcr.io", "a" * 250, *("y" for _ in range(100)))
    assert not pattern.matches(parts, "", without_tag=False)


# --- what is decided -------------------------------------------------------------------------------------


def test_without_rules_everything_may_be_pulled() -> None:
    assert policy().is_empty
    assert policy().decide(Requester(GUEST), "docker.io", "library/nginx", "1") == Decision(is_allowed=True)


def test_a_blocklist_denies_what_it_names() -> None:
    rules = policy(deny=["docker.io/evil/**", "*/**:latest"])
    assert may(rules, "docker.io/library/nginx:1")
    assert not may(rules, "docker.io/evil/app:1")
    assert not may(rules, f"docker.io/evil/app@{DIGEST}")
    assert not may(rules, "ghcr.io/a/b:latest")
    assert rules.decide(Requester(GUEST), "docker.io", "evil/app") == Decision(is_allowed=False, by="access.deny")


def test_an_allowlist_denies_everything_else() -> None:
    rules = policy(allow=["docker.io/library/*", "ghcr.io/owner/app:1.*"])
    allowed = ["docker.io/library/nginx:1", "ghcr.io/owner/app:1.2", "ghcr.io/owner/app", f"ghcr.io/owner/app@{DIGEST}"]
    assert [image for image in allowed if not may(rules, image)] == []
    denied = ["docker.io/user/app:1", "ghcr.io/owner/app:2.0", "ghcr.io/owner/other", f"quay.io/a/b@{DIGEST}"]
    assert [image for image in denied if may(rules, image)] == []


def test_a_tag_denies_a_name_and_no_content() -> None:
    rules = policy(deny=["docker.io/library/nginx:1.1*"])
    assert not may(rules, "docker.io/library/nginx:1.19")
    referrers = "docker.io/library/nginx:sha256-" + "a" * 64
    for image in (
        "docker.io/library/nginx:1.27",
        f"docker.io/library/nginx@{DIGEST}",
        "docker.io/library/nginx",
        referrers,
    ):
        assert may(rules, image), image


def test_the_first_that_matches_decides_and_the_lists_come_before_and_after_the_rules() -> None:
    rules = policy(
        deny=["docker.io/evil/**"],
        rules=[
            {"who": ["10.0.0.0/8"], "what": ["**"], "allow": True},
            {"what": ["quay.io/**"], "allow": False, "message": "quay.io is for the office"},
            {"what": ["ghcr.io/owner/secret"], "allow": False},
            {"what": ["ghcr.io/owner/**"], "allow": True},
        ],
        allow=["docker.io/library/*"],
    )
    assert not may(rules, "docker.io/evil/app", OFFICE)
    assert may(rules, "quay.io/a/b", OFFICE)
    assert rules.decide(Requester(GUEST), "quay.io", "a/b") == Decision(
        is_allowed=False, by="access.rules, number 2", message="quay.io is for the office"
    )
    assert not may(rules, "ghcr.io/owner/secret")
    assert may(rules, "ghcr.io/owner/app")
    assert may(rules, "docker.io/library/nginx")
    assert rules.decide(Requester(GUEST), "docker.io", "user/app").by == "access.allow"


def test_the_gateway_itself_is_in_no_network_and_nor_is_an_unknown_address() -> None:
    rules = policy(rules=[{"who": ["0.0.0.0/0", "::/0"], "what": ["**"], "allow": False}])
    assert not may(rules, "ghcr.io/a/b", GUEST)
    assert not may(rules, "ghcr.io/a/b", "2001:db8::1")
    for address in ("", "unix:", "not an address"):
        assert may(rules, "ghcr.io/a/b", address)


def test_the_tags_of_a_list_are_those_that_may_be_pulled() -> None:
    rules = policy(
        deny=["*/**:latest"],
        rules=[
            {"who": ["10.0.0.0/8"], "what": ["docker.io/library/nginx"], "allow": True},
            {"what": ["docker.io/library/nginx:1.*"], "allow": True},
            {"what": ["docker.io/library/nginx"], "allow": False},
        ],
    )
    tags = ["1.27", "2.0", "latest"]
    listed = {
        address: [
            tag
            for tag in tags
            if (one := rules.tag_filter(Requester(address), "docker.io", "library/nginx")) and one(tag)
        ]
        for address in (GUEST, OFFICE)
    }
    assert listed == {GUEST: ["1.27"], OFFICE: ["1.27", "2.0"]}
    assert policy(deny=["docker.io/evil/**"]).tag_filter(Requester(GUEST), "docker.io", "library/nginx") is None


# --- networks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("networks", "denied", "address", "admitted"),
    [
        ([], [], GUEST, True),
        ([], [], "", True),
        (["10.0.0.0/8"], [], OFFICE, True),
        (["10.0.0.0/8"], [], GUEST, False),
        (["10.0.0.0/8"], [], "", False),
        (["10.0.0.0/8"], [], "::1", False),
        (["10.0.0.0/8", "2001:db8::/32"], [], "2001:db8::5", True),
        (["10.0.0.0/8"], ["10.1.0.0/16"], OFFICE, False),
        ([], ["192.0.2.0/24"], GUEST, False),
        ([], ["192.0.2.0/24"], OFFICE, True),
        ([], ["10.0.0.0/8"], "::ffff:10.0.0.9", False),
        ([], ["10.0.0.0/8"], "::ffff:a00:9", False),
        (["10.0.0.0/8"], [], "::ffff:10.0.0.9", True),
        ([], ["192.0.2.0/24"], "unknown", False),
        ([], ["192.0.2.0/24"], "", False),
    ],
)
def test_addresses_are_admitted_by_their_networks(
    networks: list[str], denied: list[str], address: str, admitted: bool
) -> None:
    assert policy(networks=networks, deny_networks=denied).admits(address) is admitted


# --- settings --------------------------------------------------------------------------------------------

BAD_RULES: dict[str, tuple[Any, str]] = {
    "no table": (5, "expected tables such as [[access.rules]]"),
    "a list of texts": (["docker.io/**"], "expected tables such as [[access.rules]]"),
    "no decision": ([{"what": ["**"]}], "number 1: allow = true or allow = false is missing"),
    "a decision in quotes": ([{"allow": "false"}], "number 1: allow = true or allow = false is missing"),
    "a key that is none": ([{"allow": True}, {"allow": True, "image": "x"}], "number 2: unknown key 'image'"),
    "nobody": ([{"allow": True, "who": []}], "need at least one entry"),
    "no image": ([{"allow": True, "what": []}], "need at least one entry"),
    "no network": ([{"allow": True, "who": ["10.0.0.1/8"]}], "is none of anyone, users, user:NAME"),
    "a message of two lines": ([{"allow": False, "message": "a\nb"}], "a text of one line"),
    "a message that is too long": ([{"allow": False, "message": "a" * 301}], "at most 300"),
    "too many": ([{"allow": True}] * 10_001, "at most 10000 rules"),
}


@pytest.mark.parametrize(("rules", "words"), BAD_RULES.values(), ids=BAD_RULES.keys())
def test_a_rule_that_says_nothing_stops_the_start(rules: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings_of(rules=rules)
    assert words in str(caught.value)


def test_rules_from_the_environment_are_json() -> None:
    text = '[{"who": ["10.0.0.0/8"], "what": ["ghcr.io/**"], "allow": false, "message": "no"}]'
    layer = from_environment({"HUBFERRY_ACCESS__RULES": text, "HUBFERRY_ACCESS__ALLOW": "docker.io/**, quay.io/**"}, [])
    access = resolve([layer]).access
    assert AccessPolicy(access, settings_of().upstreams).decide(Requester(OFFICE), "ghcr.io", "a").message == "no"
    assert access.allow == ("docker.io/**", "quay.io/**")
    for bad in ("[", "{}", "[5]"):
        with pytest.raises(ConfigError):
            resolve([from_environment({"HUBFERRY_ACCESS__RULES": bad}, [])])


def test_an_image_that_is_kept_warm_may_be_pulled() -> None:
    tables = {"access": {"deny": ["docker.io/library/nginx:1"]}, "warm": {"images": ["redis", "nginx:1"]}}
    with pytest.raises(ConfigError, match=r"warm.images: nginx:1 may not be pulled \(access.deny\)"):
        resolve([SettingsSource("test", tables)])


# --- what has no effect ----------------------------------------------------------------------------------

EFFECTS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "nothing is hidden": ({"deny": ["ghcr.io/a/**"], "allow": ["ghcr.io/**"]}, []),
    "everything was denied": (
        {"deny": ["ghcr.io/**"], "allow": ["ghcr.io/a/b"]},
        ["access.allow: ghcr.io/a/b has no effect, because access.deny decides about it before"],
    ),
    "parts of a name": ({"deny": ["ghcr.io/a*"], "allow": ["ghcr.io/ab*", "ghcr.io/*a"]}, [
        "access.allow: ghcr.io/ab* has no effect, because access.deny decides about it before",
    ]),
    "the same again": ({"rules": [{"allow": one, "what": ["ghcr.io/**/a"]} for one in (True, False)]}, [
        "access.rules, number 2: ghcr.io/**/a has no effect, because access.rules, number 1 decides about it before",
    ]),
    "one part is less than many": ({"deny": ["ghcr.io/*"], "allow": ["ghcr.io/**"]}, []),
    "many are more than some": ({"deny": ["ghcr.io/a/**"], "allow": ["ghcr.io/**/a"]}, []),
    "a tag hides nothing else": ({"deny": ["ghcr.io/a/b:1"], "allow": ["ghcr.io/a/b", "ghcr.io/a/b:2"]}, []),
    "a tag is hidden by all tags": ({"deny": ["ghcr.io/a/b"], "allow": ["ghcr.io/a/b:2"]}, [
        "access.allow: ghcr.io/a/b:2 has no effect, because access.deny decides about it before",
    ]),
    "others are meant": (
        {"rules": [{"who": ["10.0.0.0/8"], "allow": True}, {"who": ["192.0.2.0/24"], "allow": False}]}, [],
    ),
    "some of them are meant": (
        {"rules": [{"who": ["10.0.0.0/8"], "allow": True}, {"who": ["10.1.0.0/16"], "allow": False}]},
        ["access.rules, number 2: ** has no effect, because access.rules, number 1 decides about it before"],
    ),
    "all of them are meant": (
        {"rules": [{"who": ["10.0.0.0/8"], "allow": True}, {"who": ["anyone"], "allow": False}]}, [],
    ),
    "no such upstream": ({"deny": ["*.test/**"]}, ["access.deny: *.test/** matches none of the upstreams"]),
}  # fmt: skip


@pytest.mark.parametrize(("access", "said"), EFFECTS.values(), ids=EFFECTS.keys())
def test_what_has_no_effect_is_said(access: dict[str, Any], said: list[str]) -> None:
    assert list(policy(**access).problems(settings_of().upstreams)) == said


# --- users -----------------------------------------------------------------------------------------------

ALICE, BOB = User("alice", frozenset({"admins"})), User("bob")
USERS = {"login": "users", "users_file": "x"}


def verdicts(rules: AccessPolicy, image: str, *requesters: Requester) -> list[tuple[bool, bool]]:
    """Whether each may pull an image, and whether a login may help."""
    upstream, _, repository = image.partition("/")
    decisions = [rules.decide(requester, upstream, repository) for requester in requesters]
    return [(one.is_allowed, one.needs_login) for one in decisions]


EVERYBODY = (Requester(GUEST, ALICE), Requester(GUEST, BOB), Requester(GUEST), Requester(OFFICE), GATEWAY)
YES, NO, LOGIN = (True, False), (False, False), (False, True)
WITH_USERS: dict[str, tuple[dict[str, Any], list[tuple[bool, bool]]]] = {
    # what alice (an admin), bob, a stranger, somebody in the office, and the gateway itself may do with quay.io/a/b
    "no rule": ({}, [YES, YES, LOGIN, LOGIN, YES]),
    "denied to all": ({"deny": ["quay.io/**"]}, [NO, NO, NO, NO, NO]),
    "allowed to users": ({"allow": ["quay.io/**"]}, [YES, YES, LOGIN, LOGIN, YES]),
    "something else is allowed": ({"allow": ["ghcr.io/**"]}, [NO, NO, LOGIN, LOGIN, NO]),
    "a user": ({"rules": [{"who": ["user:alice"], "allow": True}, {"allow": False}]}, [YES, NO, LOGIN, LOGIN, NO]),
    "a group": ({"rules": [{"who": ["group:admins"], "allow": False}]}, [NO, YES, LOGIN, LOGIN, YES]),
    "users": ({"rules": [{"who": ["users"], "allow": True}, {"allow": False}]}, [YES, YES, LOGIN, LOGIN, YES]),
    "anyone": ({"rules": [{"who": ["anyone"], "allow": True}]}, [YES, YES, YES, YES, YES]),
    "a network": ({"rules": [{"who": ["10.0.0.0/8"], "allow": True}]}, [YES, YES, LOGIN, YES, YES]),
    "a network or a user": (
        {"rules": [{"who": ["10.0.0.0/8", "user:bob"], "allow": False}]}, [YES, NO, LOGIN, LOGIN, YES],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("access", "expected"), WITH_USERS.values(), ids=WITH_USERS.keys())
def test_users_are_asked_for_where_a_stranger_may_not(
    access: dict[str, Any], expected: list[tuple[bool, bool]]
) -> None:
    assert verdicts(policy(**USERS, **access), "quay.io/a/b", *EVERYBODY) == expected


OPEN_TO_STRANGERS = {
    "nothing": ({}, False),
    "an allow list": ({"allow": ["quay.io/**"]}, False),
    "users": ({"rules": [{"who": ["users"], "allow": True}]}, False),
    "anyone": ({"rules": [{"who": ["anyone"], "what": ["quay.io/a"], "allow": True}]}, True),
    "a network": ({"rules": [{"who": ["10.0.0.0/8"], "allow": True}]}, True),
    "a denied network": ({"rules": [{"who": ["10.0.0.0/8"], "allow": False}]}, False),
}


@pytest.mark.parametrize(("access", "is_open"), OPEN_TO_STRANGERS.values(), ids=OPEN_TO_STRANGERS.keys())
def test_whether_strangers_get_anything(access: dict[str, Any], is_open: bool) -> None:
    assert policy(**USERS, **access).is_open_to_strangers is is_open
    assert policy().is_open_to_strangers


def test_tags_are_listed_for_whom_they_are() -> None:
    rules = [
        {"who": ["user:alice"], "what": ["quay.io/a/b"], "allow": True},
        {"who": ["anyone"], "what": ["quay.io/a/b:1"], "allow": True},
    ]
    made = policy(**USERS, rules=rules)
    for_alice, for_stranger = (made.tag_filter(Requester(GUEST, user), "quay.io", "a/b") for user in (ALICE, None))
    assert for_alice is None
    assert for_stranger is not None
    assert [tag for tag in ("1", "2") if for_stranger(tag)] == ["1"]


BAD_WHO = {
    "users without users": ({"rules": [{"who": ["users"], "allow": False}]}, "is nobody unless access.login"),
    "a user without users": ({"rules": [{"who": ["user:a"], "allow": False}]}, "is nobody unless access.login"),
    "nobody is named": ({**USERS, "rules": [{"what": ["quay.io/**"], "allow": True}]}, "who is missing"),
    "a name with a space": ({**USERS, "rules": [{"who": ["user:a b"], "allow": True}]}, "names nobody"),
    "a group without a name": ({**USERS, "rules": [{"who": ["group:"], "allow": True}]}, "names nobody"),
    "a member with a slash": ({**USERS, "groups": {"g": ["a/b"]}}, "is no name"),
    "groups without users": ({"groups": {"g": ["a"]}}, "has no effect unless"),
    "users without a file": ({"login": "users"}, "needs it"),
    "a file without users": ({"users_file": "x"}, "has no effect unless"),
    "both": ({**USERS, "users": "a:!"}, "set one of the two"),
    "users that cannot be read": ({"login": "users", "users": "a:b"}, "has no bcrypt hash"),
    "secrets that cannot be read": ({**USERS, "secrets": "{"}, "is no JSON"),
}


@pytest.mark.parametrize(("access", "words"), BAD_WHO.values(), ids=BAD_WHO.keys())
def test_settings_of_users_that_say_nothing_stop_the_start(access: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        settings_of(**access)


def test_names_that_nobody_has_are_found() -> None:
    rules = [{"who": ["user:alice", "user:dave", "group:admins", "group:none"], "allow": True}]
    access = settings_of(**USERS, rules=rules, groups={"admins": ["alice", "carl"]}).access
    operators = Operators(("user:alice", "user:eve", "10.0.0.0/8"))
    found = list(unknown_names(access, Directory({"alice": "!"}), operators))
    named = ("dave", "group:none", "carl", "pages.operators: user:eve")
    assert [one for one in found if any(name in one for name in named)] == found
    assert len(found) == len(named)


HIDDEN_WHO = {
    "users hide a user": (["users"], ["user:a"], True),
    "users hide a group": (["users"], ["group:a"], True),
    "a user hides no users": (["user:a"], ["users"], False),
    "a user hides itself": (["user:a", "user:b"], ["user:a"], True),
    "a group hides no user": (["group:a"], ["user:a"], False),
    "users hide no network": (["users"], ["10.0.0.0/8"], False),
    "anyone hides users": (["anyone"], ["users"], True),
}


@pytest.mark.parametrize(("first", "second", "hides"), HIDDEN_WHO.values(), ids=HIDDEN_WHO.keys())
def test_a_rule_that_others_hide_is_found(first: list[str], second: list[str], hides: bool) -> None:
    rules = [{"who": who, "what": ["quay.io/**"], "allow": False} for who in (first, second)]
    assert bool(list(policy(**USERS, rules=rules).problems(["quay.io"]))) is hides


def test_groups_are_shown_as_they_were_written() -> None:
    settings = settings_of(**USERS, groups={"admins": ["alice", "bob"]})
    assert settings.access.groups.to_toml() == '{admins = ["alice", "bob"]}'
    layer = from_environment({"HUBFERRY_ACCESS__GROUPS": '{"admins": ["alice", "bob"]}'}, [])
    assert resolve([SettingsSource("t", {"access": USERS}), layer]).access.groups == settings.access.groups
