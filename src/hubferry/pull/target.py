"""Of whom something is asked, and on whose behalf."""

from dataclasses import dataclass
from typing import Literal

from hubferry.core.access import Credential
from hubferry.core.errors import Asked
from hubferry.core.http import Headers
from hubferry.core.redirect import Trust
from hubferry.core.settings import UpstreamSettings

Witness = Literal["upstream", "mirror"]  # whose answer something is
# what is asked for, as far as upstreams limit it apart: Docker Hub limits manifests, its search has a limit of its own
Kind = Literal["manifests", "blobs", "lists", "search", "tokens"]


@dataclass(frozen=True, slots=True)
class Origin:
    """An upstream as the orchestrator uses it; `accounts` are the gateway's own there."""

    name: str
    settings: UpstreamSettings
    trust: Trust
    accounts: tuple[Credential, ...] = ()

    @property
    def account(self) -> Credential | None:
        """What stands for all of its accounts: which of them is used is decided for each request."""
        return self.accounts[0] if self.accounts else None

    @property
    def bases(self) -> tuple[str, ...]:
        """Its URL and those of its mirrors, without a slash at the end."""
        return tuple(url.rstrip("/") for url in (self.settings.url, *self.settings.mirrors))


@dataclass(frozen=True, slots=True)
class Target:
    """An upstream, one repository of it, a credential; `may_use_mirrors`: see Rights.may_ask_mirrors."""

    origin: Origin
    repository: str = ""
    credential: Credential | None = None
    may_use_mirrors: bool = False

    @property
    def is_own(self) -> bool:
        """Whether it is asked with one of the gateway's own accounts."""
        return self.credential is not None and self.credential in self.origin.accounts

    @property
    def is_anonymous(self) -> bool:
        """Whether it is asked for anybody: without a credential, or with an account of the gateway's own."""
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
    kind: Kind = "manifests"
    ask_last: str = ""
