"""Decide who may pull which images: `networks`, `deny_networks`, `deny`, `rules` and `allow` of `[access]`.

Pure. A client whose address is not admitted gets nothing at all. For an image the first that matches decides:

    deny      patterns of images that nobody may pull
    rules     in their order: who, what, allow or not
    allow     patterns of images that everybody may pull; when there are any, all other images are denied

What nothing decides may be pulled. A pattern is UPSTREAM/REPOSITORY[:TAG]; `*` stands for any characters of one part,
`**` for any number of whole parts. A digest, a blob or a list has no tag: a pattern with a tag then denies nothing, and
allows the whole repository, because whoever may pull some of its tags needs its content.
Not here: what a caller's login may see at an upstream (rights.py).
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_network

from hubferry.core.bounded import MAX_REMEMBERED
from hubferry.core.client import Network, is_in
from hubferry.core.reference import complete_library, is_address, is_digest, normal_host
from hubferry.core.referrers import subject_of
from hubferry.core.settings import AccessSettings, UpstreamSettings
from hubferry.core.values import ANYONE

EVERYTHING = "**"


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether an image may be pulled.

    `by` is what decided that, empty: nothing did. `message` is what the operator says to whoever is refused.
    """

    is_allowed: bool
    by: str = ""
    message: str = ""


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
        return _part_matches(self.tag, tag) if tag else without_tag

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
class _Row:
    """One row of the table: what it is called, whom it is for (None: anybody), the images, and what it says of them."""

    name: str
    who: tuple[Network, ...] | None
    what: tuple[ImagePattern, ...]
    is_allowed: bool
    message: str

    def is_for(self, address: str) -> bool:
        """Return whether the row is for a client at this address; empty: for the gateway itself."""
        return self.who is None or (bool(address) and is_in(address, self.who))

    def hides(self, later: "_Row", pattern: ImagePattern) -> bool:
        """Return whether this row decides about everything that a pattern of a later row matches, for all it is for."""
        if self.who is not None and (later.who is None or not all(_is_within(one, self.who) for one in later.who)):
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
        return not self.rows

    def decide(self, address: str, upstream: str, repository: str, reference: str = "") -> Decision:
        """Decide about an image, its content or a list.

        `address` is the client's, empty for the gateway itself. `reference` is a tag or a digest; empty for a blob or a
        list.
        """
        if not self.rows:
            return Decision(is_allowed=True)
        # `sha256-HEX` stands for what refers to a digest, and is no tag that anybody chose
        tag = "" if is_digest(reference) or subject_of(reference) else reference
        return self._decide(address, upstream, repository, tag)

    def problems(self, upstreams: Collection[str]) -> Iterator[str]:
        """Yield in sentences what of the rules has no effect: patterns that others hide, or that match no upstream."""
        for number, row in enumerate(self.rows):
            for pattern in row.what:
                if pattern.text == EVERYTHING and row.name == "access.allow":
                    continue  # what the allow list ends with
                if not any(_part_matches(pattern.parts[0], name) for name in upstreams) and pattern.text != EVERYTHING:
                    yield f"{row.name}: {pattern.text} matches none of the upstreams"
                hiding = next((other for other in self.rows[:number] if other.hides(row, pattern)), None)
                if hiding is not None:
                    yield f"{row.name}: {pattern.text} has no effect, because {hiding.name} decides about it before"

    def tag_filter(self, address: str, upstream: str, repository: str) -> Callable[[str], bool] | None:
        """Return what decides about the tags of a repository whose list may be had; None when all may be pulled."""
        parts = (upstream, *repository.split("/"))
        steps: list[tuple[bool, str]] = []  # whether it is allowed, the pattern of tags
        for row in self.rows:
            if row.is_for(address):
                tags = [pattern.tag for pattern in row.what if _parts_match(pattern.parts, parts)]
                steps += [(row.is_allowed, tag) for tag in tags]
                if "" in tags:
                    break
        if all(is_allowed for is_allowed, _ in steps):
            return None
        return lambda tag: next((allowed for allowed, one in steps if not one or _part_matches(one, tag)), True)

    def _decide_anew(self, address: str, upstream: str, repository: str, tag: str) -> Decision:
        parts = (upstream, *repository.split("/"))
        for row in self.rows:
            if row.is_for(address) and row.matches(parts, tag):
                return Decision(row.is_allowed, row.name, row.message)
        return Decision(is_allowed=True)


def _rows(access: AccessSettings, upstreams: Mapping[str, UpstreamSettings]) -> Iterator[_Row]:
    if access.deny:
        yield _Row("access.deny", None, _patterns("access.deny", access.deny, upstreams), is_allowed=False, message="")
    for number, rule in enumerate(access.rules.rows, 1):
        name = f"access.rules, number {number}"
        networks = None if ANYONE in rule.who else tuple(ip_network(text) for text in rule.who)
        yield _Row(name, networks, _patterns(name, rule.what, upstreams), rule.allow, rule.message)
    if access.allow:
        yield _Row(
            "access.allow", None, _patterns("access.allow", access.allow, upstreams), is_allowed=True, message=""
        )
        everything = (ImagePattern(EVERYTHING, (EVERYTHING,)),)
        yield _Row("access.allow", None, everything, is_allowed=False, message="")


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
        completing = [name for name, one in upstreams.items() if one.library and _part_matches(upstream, name)]
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
        elif at < len(pattern) and _part_matches(pattern[at], parts[here]):
            at, here = at + 1, here + 1
        elif retry is not None:
            retry = (retry[0], retry[1] + 1)
            at, here = retry[0] + 1, retry[1]
        else:
            return False
    return all(part == EVERYTHING for part in pattern[at:])


def _part_matches(pattern: str, text: str) -> bool:
    """Match one part; `*` is any number of characters. Takes time linear in the text for each `*`."""
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
