"""Whom a question to an upstream goes to: upstream, repository, and whose right counts."""

from dataclasses import dataclass
from typing import Literal

from hubferry.core.access import Credential
from hubferry.core.errors import Asked
from hubferry.core.http import Headers
from hubferry.core.redirect import Trust
from hubferry.core.settings import UpstreamSettings

AnsweredBy = Literal["upstream", "mirror"]  # whose answer something is
# what is asked for, as far as upstreams limit it apart: Docker Hub limits manifests, its search has a limit of its own
RequestKind = Literal["manifests", "blobs", "lists", "search", "tokens"]


@dataclass(frozen=True, slots=True)
class Upstream:
    """A configured upstream: its settings, whom it trusts, and the gateway's own accounts there."""

    name: str
    settings: UpstreamSettings
    trust: Trust
    accounts: tuple[Credential, ...] = ()

    @property
    def account(self) -> Credential | None:
        """Return an account that stands for all of them: which one is used is decided for each request."""
        return self.accounts[0] if self.accounts else None

    @property
    def bases(self) -> tuple[str, ...]:
        """Return its own URL and then those of its mirrors, without a slash at the end."""
        return tuple(url.rstrip("/") for url in (self.settings.url, *self.settings.mirrors))


@dataclass(frozen=True, slots=True)
class Target:
    """An upstream, one repository of it, a credential; `may_use_mirrors`: see Rights.may_ask_mirrors."""

    upstream: Upstream
    repository: str = ""
    credential: Credential | None = None
    may_use_mirrors: bool = False

    @property
    def is_own(self) -> bool:
        """Return whether the credential is one of the gateway's own accounts."""
        return self.credential is not None and self.credential in self.upstream.accounts

    @property
    def is_everybodys(self) -> bool:
        """Return whether everybody's right counts: there is no credential, or it is an account of the gateway's own."""
        return self.credential is None or self.is_own


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, of whom, and what it is called in messages.

    `path` is appended to the base URL; `ask_last` is a base that has just failed at this.
    """

    target: Target
    asked: Asked
    method: str
    path: str
    headers: Headers
    kind: RequestKind = "manifests"
    ask_last: str = ""
