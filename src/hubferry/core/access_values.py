"""The tables of `[access]`: rules (who may pull which images), issuers and groups; and operators. They are parsed and
checked here.

Pure. A value that is refused raises ValueError, whose text says what to write instead. Not here: what the rules decide
(rules.py).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from ipaddress import ip_network
from typing import Any

from hubferry.core.masking import shown
from hubferry.core.values import (
    ParsedValue,
    check_image_patterns,
    check_url,
    format_toml,
    parse_tables,
    texts,
    toml_key,
)

ANYONE = "anyone"
USERS = "users"
USER = "user:"
GROUP = "group:"
MAX_RULES = 10_000
MAX_ISSUERS = 100
_ISSUER_USER = re.compile(r"[a-z0-9][a-z0-9-]{0,31}:[\x21-\x7e]{1,200}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
NAME_RULE = "a letter or digit, then at most 63 letters, digits or . _ @ -"
_RULE_KEYS = ("who", "what", "allow", "message")
_MESSAGE = re.compile(r"[^\x00-\x1f\x7f]{0,300}")


@dataclass(frozen=True)
class AccessRule:
    """One rule of `[[access.rules]]`: for whom, about which images, and whether they may be pulled.

    `who` has networks, `user:NAME`, `group:NAME`, `users` (everybody who is logged in) or `anyone`; empty: it was
    not written. `message` is shown to a client that is refused; empty: a general one.
    """

    who: tuple[str, ...]
    what: tuple[str, ...]
    allow: bool
    message: str = ""


@dataclass(frozen=True)
class AccessRules(ParsedValue):
    """The rules of `[[access.rules]]` in the order they were written."""

    rows: tuple[AccessRule, ...] = ()

    @classmethod
    def parse(cls, raw: Any) -> "AccessRules":
        return cls(parse_tables(raw, "access.rules", MAX_RULES, _parse_rule, things="rules"))

    def to_toml(self) -> str:
        return "[" + ", ".join(_format_rule(rule) for rule in self.rows) + "]"


@dataclass(frozen=True)
class Groups(ParsedValue):
    """The groups of `[access.groups]`: pairs of a name and its members, who are users or clients."""

    rows: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @classmethod
    def parse(cls, raw: Any) -> "Groups":
        """Convert a TOML table of lists, or the same as JSON from the environment."""
        if isinstance(raw, str):
            try:
                raw = json.loads(raw or "{}")
            except (ValueError, RecursionError):
                raise ValueError("expected a JSON object of groups") from None
        if not isinstance(raw, Mapping):
            raise ValueError('expected a table of groups and their members, such as admins = ["alice", "bob"]')
        rows = []
        for name, members in raw.items():
            try:
                rows.append((check_name(str(name)), _names(members)))
            except ValueError as error:
                raise ValueError(f"{shown(str(name))}: {error}") from None
        return cls(tuple(rows))

    def to_toml(self) -> str:
        return "{" + ", ".join(f"{toml_key(name)} = {format_toml(members)}" for name, members in self.rows) + "}"


@dataclass(frozen=True)
class Operators(ParsedValue):
    """Whom the status page is for: `user:NAME`, `group:NAME` and networks, as in `who` of a rule. Empty: nobody."""

    who: tuple[str, ...] = ()

    @classmethod
    def parse(cls, raw: Any) -> "Operators":
        who = texts(raw)
        if not all(isinstance(one, str) for one in who):
            raise ValueError("expected a list of texts in quotes")
        for one in who:
            if one in (ANYONE, USERS):
                problem = f"it is for chosen people only: write {USER}NAME, {GROUP}NAME or a network"
                raise ValueError(f"{one} is not possible here, because what is kept can be removed there: {problem}")
            _check_who(one)
        return cls(who)

    @property
    def named(self) -> tuple[str, ...]:
        """Those who have to log in to be known: users and groups."""
        return tuple(one for one in self.who if one.startswith((USER, GROUP)))

    @property
    def networks(self) -> tuple[str, ...]:
        """The networks: whoever asks from one of them is an operator without a login."""
        return tuple(one for one in self.who if not one.startswith((USER, GROUP)))

    def to_toml(self) -> str:
        return format_toml(self.who)


@dataclass(frozen=True)
class Issuer:
    """One table of `[[access.issuers]]`: whose tokens are a login, and of whom.

    `claims` are pairs of a claim and a pattern that it has to match. `user` is the claim that names the user. All users
    are in `groups`.
    """

    name: str
    issuer: str
    audience: str
    claims: tuple[tuple[str, str], ...] = ()
    user: str = "sub"
    groups: tuple[str, ...] = ()
    jwks_url: str = ""
    ca_file: str = ""
    allow_private_addresses: bool = False


@dataclass(frozen=True)
class Issuers(ParsedValue):
    """The tables of `[[access.issuers]]` in the order they were written."""

    rows: tuple[Issuer, ...] = ()

    @classmethod
    def parse(cls, raw: Any) -> "Issuers":
        return cls(parse_tables(raw, "access.issuers", MAX_ISSUERS, _parse_issuer, things="issuers"))

    def to_toml(self) -> str:
        return "[" + ", ".join(map(_format_issuer, self.rows)) + "]"


def is_name(text: str) -> bool:
    """Return whether a user, a client or a group may have this name."""
    return _NAME.fullmatch(text) is not None


def check_name(text: str) -> str:
    """Return the name of a user, a client or a group. Raises ValueError when it is not allowed."""
    if not is_name(text):
        raise ValueError(f"{shown(text)} is no name: write {NAME_RULE}")
    return text


def _names(raw: Any) -> tuple[str, ...]:
    names = texts(raw)
    if not all(isinstance(name, str) for name in names):
        raise ValueError("expected a list of names in quotes")
    return tuple(check_name(name) for name in names)


def _parse_rule(table: Mapping[str, Any]) -> AccessRule:
    for key in table:
        if key not in _RULE_KEYS:
            raise ValueError(f"unknown key {shown(str(key))}; known are {', '.join(_RULE_KEYS)}")
    if not isinstance(table.get("allow"), bool):
        raise ValueError("allow = true or allow = false is missing")
    who = texts(table.get("who", ()))
    what = texts(table.get("what", ["**"]))
    message = table.get("message", "")
    if not isinstance(message, str) or not _MESSAGE.fullmatch(message):
        raise ValueError("message: expected a text of one line, of at most 300 characters")
    if not (who or "who" not in table) or not what:
        raise ValueError("who and what need at least one entry each; without them they are anyone, and every image")
    if not all(isinstance(one, str) for one in (*who, *what)):
        raise ValueError("who and what: expected texts in quotes")
    for one in who:
        _check_who(one)
    try:
        check_image_patterns(what)
    except ValueError as error:
        raise ValueError(f"what: {error}") from None
    return AccessRule(who, what, table["allow"], message)


def _parse_issuer(table: Mapping[str, Any]) -> Issuer:
    known = {f.name: f for f in fields(Issuer)}
    for key, value in table.items():
        if key not in known:
            raise ValueError(f"unknown key {shown(str(key))}; known are {', '.join(known)}")
        if known[key].type is str and not isinstance(value, str):
            raise ValueError(f"{key}: expected a text in quotes")
    for key in ("name", "issuer", "audience"):
        if not table.get(key):
            raise ValueError(f"{key} is missing")
    if "claims" not in table:
        problem = "everybody who can get a token of the issuer would be logged in; write claims = {} if that is meant"
        raise ValueError(f"claims is missing: {problem}")
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,31}", table["name"]):
        raise ValueError("name: expected lower case letters, digits and -, such as github")
    _check_urls_of_issuer(table)
    claims = table.get("claims", {})
    if not isinstance(claims, Mapping) or not all(isinstance(one, str) for pair in claims.items() for one in pair):
        raise ValueError('claims: expected a table of texts, such as {repository_owner = "our-company"}')
    plain = {key: value for key, value in table.items() if key not in ("claims", "groups")}
    return Issuer(**plain, claims=tuple(claims.items()), groups=_names(table.get("groups", ())))


def _check_urls_of_issuer(table: Mapping[str, Any]) -> None:
    is_private = table.get("allow_private_addresses", False)
    if not isinstance(is_private, bool):
        raise ValueError("allow_private_addresses: expected true or false")
    for key in ("issuer", "jwks_url"):
        if table.get(key):
            check_url(table[key])
        if table.get(key, "").startswith("http:") and not is_private:
            raise ValueError(f"{key}: expected https, because keys that others can change are worth nothing")


def _format_issuer(issuer: Issuer) -> str:
    shown_values = {f.name: getattr(issuer, f.name) for f in fields(Issuer) if f.name != "claims"}
    written = [f"{key} = {format_toml(value)}" for key, value in shown_values.items()]
    claims = ", ".join(f"{toml_key(name)} = {format_toml(pattern)}" for name, pattern in issuer.claims)
    return "{" + ", ".join([*written, f"claims = {{{claims}}}"]) + "}"


def _check_who(one: str) -> None:
    if one in (ANYONE, USERS) or (one.startswith(USER) and _ISSUER_USER.fullmatch(one.removeprefix(USER))):
        return
    beginning = next((kind for kind in (USER, GROUP) if one.startswith(kind)), "")
    try:
        if beginning:
            check_name(one.removeprefix(beginning))
        else:
            ip_network(one)
    except ValueError:
        if beginning:
            raise ValueError(f"who: {shown(one)} names nobody: after {beginning} write {NAME_RULE}") from None
        kinds = f"{ANYONE}, {USERS}, {USER}NAME, {GROUP}NAME, or a network such as 10.0.0.0/8"
        raise ValueError(f"who: {shown(one)} is none of {kinds}") from None


def _format_rule(rule: AccessRule) -> str:
    written = [key for key in _RULE_KEYS if key != "who" or rule.who]
    return "{" + ", ".join(f"{key} = {format_toml(getattr(rule, key))}" for key in written) + "}"
