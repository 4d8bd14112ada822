"""Decide who may pull which images: `networks`, `deny_networks`, `deny`, `rules` and `allow` of `[access]`.

Pure. A client whose address is not admitted gets nothing at all. For an image the first that matches decides:

    deny      patterns of images that nobody may pull
    rules     in their order: who, what, allow or not
    allow     patterns of images that everybody may pull; when there are any, all other images are denied

What nothing decides may be pulled. With `login = "users"`, `allow` and what nothing decides are for users only: without
a login a client gets what a rule for `anyone` or for its network allows. A pattern is UPSTREAM/REPOSITORY[:TAG]; `*`
stands for any characters of one part, `**` for any number of whole parts. A digest, a blob or a list has no tag: a
pattern with a tag then denies nothing, and allows the whole repository, because whoever may pull some of its tags needs
its content.
Not here: what a caller's login may see at an upstream (rights.py), who is logged in (users.py).
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_network

from hubferry.core.access_values import ANYONE, GROUP, USER, USERS, AccessRule, Operators
from hubferry.core.bounded import MAX_REMEMBERED
from hubferry.core.client import Network, is_in
from hubferry.core.reference import complete_library, is_address, is_digest, normal_host
from hubferry.core.referrers import subject_of
from hubferry.core.settings import AccessSettings, UpstreamSettings
from hubferry.core.users import Directory, User

EVERYTHING = "**"
DENY = "access.deny"
ALLOW = "access.allow"


@dataclass(frozen=True, slots=True)
class Requester:
    """Who asks: from which address, and as which user of the gateway's own (None: nobody is logged in).

    `is_gateway`: the gateway itself asks, to keep images warm. It needs no login, and is in no network.
    """

    address: str
    user: User | None = None
    is_gateway: bool = False


GATEWAY = Requester("", is_gateway=True)


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether an image may be pulled.

    `by` is what decided that, empty: nothing did. `message` is what the operator says to whoever is refused.
    `needs_login`: it may be different for a user.
    """

    is_allowed: bool
    by: str = ""
    message: str = ""
    needs_login: bool = False


@dataclass(frozen=True, slots=True)
class ImagePattern:
    """A pattern of images, parsed: parts of their names, and the tag (empty: any)."""

    text: str
    parts: tuple[str, ...]
    tag: str = ""

    def matches(self, parts: Sequence[str], tag: str, *, without_tag: bool) -> bool:
        """Return whether an image matches, given the parts of UPSTREAM/REPOSITORY and its tag.

        `without_tag` is the result when the pattern has a tag and the image (tag empty) has none.
        """
        if not _parts_match(self.parts, parts):
            return False
        if not self.tag:
            return True
        return part_matches(self.tag, tag) if tag else without_tag

    def covers(self, other: "ImagePattern") -> bool:
        """Return whether it certainly matches whatever another pattern matches."""
        if self.tag and self.tag != other.tag:
            return False
        if self.parts == other.parts:
            return True
        if EVERYTHING in other.parts:  # of any length: only what ends likewise is certain to match
            *begin, end = self.parts
            return end == EVERYTHING and EVERYTHING not in begin and _parts_match(self.parts, _before(other.parts))
        return _parts_match(self.parts, other.parts)  # a star is matched by a star only


@dataclass(frozen=True, slots=True)
class Who:
    """Whom a row is for: clients in these networks, these users, users in these groups, and every user if `users`.

    `patterns` are names with stars, of users of issuers.
    """

    networks: tuple[Network, ...] = ()
    names: frozenset[str] = frozenset()
    patterns: tuple[str, ...] = ()
    groups: frozenset[str] = frozenset()
    users: bool = False

    def has(self, requester: Requester) -> bool:
        """Return whether this requester is one of them. The gateway itself may do what every user may."""
        if requester.is_gateway:
            return self.users
        user = requester.user
        if user is not None and (
            self.users
            or user.name in self.names
            or not self.groups.isdisjoint(user.groups)
            or any(part_matches(pattern, user.name) for pattern in self.patterns)
        ):
            return True
        return bool(self.networks) and bool(requester.address) and is_in(requester.address, self.networks)

    def covers(self, other: "Who") -> bool:
        """Return whether everybody whom the other is for is certainly one of them."""
        if not all(_is_within(one, self.networks) for one in other.networks):
            return False
        if self.users:
            return True
        is_named = other.names <= self.names and set(other.patterns) <= set(self.patterns)
        return is_named and other.groups <= self.groups and not other.users


EVERY_USER = Who(users=True)


def who_of(texts: Sequence[str]) -> Who | None:
    """Return whom a rule, or a list of operators, is for; None: anyone. The texts were checked before."""
    if not texts or ANYONE in texts:
        return None
    kinds = (USER, GROUP)
    return Who(
        tuple(ip_network(one) for one in texts if one != USERS and not one.startswith(kinds)),
        frozenset(one.removeprefix(USER) for one in texts if one.startswith(USER) and "*" not in one),
        tuple(one.removeprefix(USER) for one in texts if one.startswith(USER) and "*" in one),
        frozenset(one.removeprefix(GROUP) for one in texts if one.startswith(GROUP)),
        USERS in texts,
    )


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of the table: what it is called, whom it is for (None: anybody), the images, and what it says of them."""

    name: str
    who: Who | None
    what: tuple[ImagePattern, ...]
    is_allowed: bool
    message: str = ""

    def is_for(self, requester: Requester) -> bool:
        """Return whether the row is for who asks."""
        return self.who is None or self.who.has(requester)

    def hides(self, later: "_Row", pattern: ImagePattern) -> bool:
        """Return whether this row decides about everything that a pattern of a later row matches, for all it is for."""
        if self.who is not None and (later.who is None or not self.who.covers(later.who)):
            return False
        return any(one.covers(pattern) for one in self.what)

    def matches(self, parts: Sequence[str], tag: str) -> bool:
        """Return whether an image matches, given the parts of UPSTREAM/REPOSITORY and its tag."""
        return any(pattern.matches(parts, tag, without_tag=self.is_allowed) for pattern in self.what)


class AccessPolicy:
    """The rules of one configuration."""

    def __init__(self, access: AccessSettings, upstreams: Mapping[str, UpstreamSettings]) -> None:
        """Raises ValueError, whose text names the setting, for a pattern that can match no image."""
        self._admitted = [ip_network(text) for text in access.networks]
        self._refused = [ip_network(text) for text in access.deny_networks]
        self.has_users = access.login == "users"
        self.rows = tuple(_rows(access, upstreams))
        self._decide = lru_cache(MAX_REMEMBERED)(self._decide_anew)

    def admits(self, address: str) -> bool:
        """Return whether a client at this address may use the gateway at all.

        With `deny_networks` it has to be an address: whoever is somewhere unknown may be in one of them.
        """
        if self._refused and (is_in(address, self._refused) or not is_address(address)):
            return False
        return not self._admitted or is_in(address, self._admitted)

    @property
    def is_empty(self) -> bool:
        """Return whether every image may be pulled by everybody who is admitted."""
        return not self.rows and not self.has_users

    def decide(self, requester: Requester, upstream: str, repository: str, reference: str = "") -> Decision:
        """Decide about an image, its content or a list.

        `reference` is a tag or a digest; empty for a blob or a list.
        """
        if self.is_empty:
            return Decision(is_allowed=True)
        # `sha256-HEX` stands for what refers to a digest, and is no tag that anybody chose
        tag = "" if is_digest(reference) or subject_of(reference) else reference
        return self._decide(requester, upstream, repository, tag)

    @property
    def is_open_to_strangers(self) -> bool:
        """Return whether somebody who is not logged in may pull anything at all, from some address."""
        if not self.has_users:
            return True
        return any(row.is_allowed and (row.who is None or row.who.networks) for row in self.rows)

    def problems(self, upstreams: Collection[str]) -> Iterator[str]:
        """Yield in sentences what of the rules has no effect: patterns that others hide, or that match no upstream."""
        for number, row in enumerate(self.rows):
            for pattern in row.what:
                if pattern.text == EVERYTHING and row.name == ALLOW:
                    continue  # what the allow list ends with
                if not any(part_matches(pattern.parts[0], name) for name in upstreams) and pattern.text != EVERYTHING:
                    yield f"{row.name}: {pattern.text} matches none of the upstreams"
                hiding = next((other for other in self.rows[:number] if other.hides(row, pattern)), None)
                if hiding is not None:
                    yield f"{row.name}: {pattern.text} has no effect, because {hiding.name} decides about it before"

    def tag_filter(self, requester: Requester, upstream: str, repository: str) -> Callable[[str], bool] | None:
        """Return what decides about the tags of a repository whose list may be had; None when all may be pulled."""
        parts = (upstream, *repository.split("/"))
        steps: list[tuple[bool, str]] = []  # whether it is allowed, the pattern of tags
        for row in self.rows:
            if row.is_for(requester):
                tags = [pattern.tag for pattern in row.what if _parts_match(pattern.parts, parts)]
                steps += [(row.is_allowed, tag) for tag in tags]
                if "" in tags:
                    break
        otherwise = self._otherwise(requester).is_allowed
        if otherwise and all(is_allowed for is_allowed, _ in steps):
            return None
        return lambda tag: next((allowed for allowed, one in steps if not one or part_matches(one, tag)), otherwise)

    def _decide_anew(self, requester: Requester, upstream: str, repository: str, tag: str) -> Decision:
        parts = (upstream, *repository.split("/"))
        may_log_in = self.has_users and requester.user is None and not requester.is_gateway
        for row in self.rows:
            if row.is_for(requester) and row.matches(parts, tag):
                needs_login = may_log_in and not row.is_allowed and row.name != DENY
                return Decision(row.is_allowed, row.name, row.message, needs_login)
        return self._otherwise(requester)

    def _otherwise(self, requester: Requester) -> Decision:
        """Return what holds for an image that no row is about."""
        if self.has_users and requester.user is None and not requester.is_gateway:
            return Decision(is_allowed=False, by="access.login", needs_login=True)
        return Decision(is_allowed=True)


def unknown_names(access: AccessSettings, directory: Directory, operators: Operators) -> Iterator[str]:
    """Yield in sentences which names of rules, operators, groups and access tokens nobody has, or two have."""
    groups = {name for name, _ in access.groups.rows}
    groups |= {name for issuer in access.issuers.rows for name in issuer.groups}
    issuers = {issuer.name for issuer in access.issuers.rows}
    named = [(f"access.rules, number {number}", rule.who) for number, rule in enumerate(access.rules.rows, 1)]
    for setting, who in (*named, ("pages.operators", operators.named)):
        for one in who:
            name = one.removeprefix(USER)
            if one.startswith(USER) and ":" in name and name.partition(":")[0] not in issuers:
                yield f"{setting}: {one} is of none of access.issuers"
            if one.startswith(USER) and ":" not in name and not directory.knows(name):
                yield f"{setting}: {one} is no user or client of this gateway"
            if one.startswith(GROUP) and one.removeprefix(GROUP) not in groups:
                yield f"{setting}: {one} is none of access.groups"
    for row in directory.orphans:
        yield f"access token {row.id} is of {row.user}, who is no user any more: revoke it with hubferry token revoke"
    for name in directory.shared_names:
        yield f"{name} is both a user and a client with a secret: rules cannot tell them apart"
    for group, members in access.groups.rows:
        for name in members:
            if not directory.knows(name):
                yield f"access.groups: {name} in {group} is no user or client of this gateway"


def _rows(access: AccessSettings, upstreams: Mapping[str, UpstreamSettings]) -> Iterator[_Row]:
    if access.deny:
        yield _Row(DENY, None, _patterns(DENY, access.deny, upstreams), is_allowed=False)
    for number, rule in enumerate(access.rules.rows, 1):
        name = f"access.rules, number {number}"
        _check_rule(name, rule, access)
        yield _Row(name, who_of(rule.who), _patterns(name, rule.what, upstreams), rule.allow, rule.message)
    if access.allow:
        whom = EVERY_USER if access.login == "users" else None
        yield _Row(ALLOW, whom, _patterns(ALLOW, access.allow, upstreams), is_allowed=True)
        yield _Row(ALLOW, None, (ImagePattern(EVERYTHING, (EVERYTHING,)),), is_allowed=False)


def _check_rule(name: str, rule: AccessRule, access: AccessSettings) -> None:
    """Raise ValueError for a rule that can apply to nobody, or to more people than its author may have thought of."""
    if access.login == "users":
        if rule.allow and not rule.who:
            problem = f'who is missing: write "{USERS}" for whoever is logged in, or "{ANYONE}" for strangers as well'
            raise ValueError(f"{name}: {problem}")
        return
    for one in rule.who:
        if one == USERS or one.startswith((USER, GROUP)):
            raise ValueError(f'{name}: {one} is nobody unless access.login = "users": set it, or name networks')


def _patterns(
    setting: str, texts: Sequence[str], upstreams: Mapping[str, UpstreamSettings]
) -> tuple[ImagePattern, ...]:
    try:
        return tuple(parse_pattern(text, upstreams) for text in texts)
    except ValueError as error:
        raise ValueError(f"{setting}: {error}") from None


def parse_pattern(text: str, upstreams: Mapping[str, UpstreamSettings]) -> ImagePattern:
    """Parse a pattern of images, whose form was checked (values.py). Raises ValueError when it can match no image."""
    if text == EVERYTHING:
        return ImagePattern(text, (EVERYTHING,))
    registry, slash, rest = text.partition("/")
    if not slash:
        raise ValueError(f"{text}: write UPSTREAM/REPOSITORY, such as docker.io/library/{text} or {text}/**")
    upstream = registry.lower() if "*" in registry else normal_host(registry)
    if "*" not in registry and upstream not in upstreams:
        known = ", ".join(upstreams)
        raise ValueError(f"{text}: {registry} is none of the upstreams, which a pattern begins with: {known}")
    repository, _, tag = rest.partition(":")
    if upstream in upstreams and upstreams[upstream].library and "/" not in repository and repository != EVERYTHING:
        if "*" in repository:
            every, official = f"{upstream}/**", f"{upstream}/library/{repository}"
            raise ValueError(
                f"{text}: write {every} for every image of {upstream}, or {official} for the official ones"
            )
        repository = complete_library(repository)
    elif "*" in upstream and "/" not in repository and repository != EVERYTHING:
        completing = [name for name, one in upstreams.items() if one.library and part_matches(upstream, name)]
        if completing:  # there it would be an image that has no name of one part
            problem = f"on {completing[0]} such images are library/{repository}: write {upstream}/**/{repository}"
            raise ValueError(f"{text}: {problem}")
    return ImagePattern(text, (upstream, *repository.split("/")), tag)


def _before(parts: Sequence[str]) -> Sequence[str]:
    """Return the parts before the first `**`."""
    return parts[: parts.index(EVERYTHING)]


def _is_within(network: Network, others: Sequence[Network]) -> bool:
    return any(network.version == one.version and network.subnet_of(one) for one in others)  # type: ignore[arg-type]


def _parts_match(pattern: Sequence[str], parts: Sequence[str]) -> bool:
    """Match whole parts; `**` is any number of them. The last `**` that was met takes one more when the rest fails."""
    at, here = 0, 0
    retry: tuple[int, int] | None = None
    while here < len(parts):
        if at < len(pattern) and pattern[at] == EVERYTHING:
            retry, at = (at, here), at + 1
        elif at < len(pattern) and part_matches(pattern[at], parts[here]):
            at, here = at + 1, here + 1
        elif retry is not None:
            retry = (retry[0], retry[1] + 1)
            at, here = retry[0] + 1, retry[1]
        else:
            return False
    return all(part == EVERYTHING for part in pattern[at:])


def part_matches(pattern: str, text: str) -> bool:
    """Match one part of a name; `*` is any number of characters. Takes time linear in the text for each `*`."""
    if "*" not in pattern:
        return pattern == text
    first, *middle, last = pattern.split("*")
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for piece in middle:
        found = text.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True
