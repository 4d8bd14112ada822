"""What every shell supplies beside content: clock, log, counters, and tokens that only it can read."""

from collections.abc import Mapping
from typing import Literal, Protocol

from hubferry.core.access import Grant, UserLogin
from hubferry.core.rules import Requester
from hubferry.core.users import Directory


class Sealer(Protocol):
    """Turns grants into tokens that only this gateway can read."""

    async def seal(self, grant: Grant) -> str:
        """Return a token that carries the grant, encrypted."""

    async def open(self, token: str) -> Grant | None:
        """Return the grant of a token made by `seal`, even if it has expired; None for any other text."""


class UserSource(Protocol):
    """Knows the gateway's own users; a shell reads them again when their files change."""

    def current(self) -> Directory:
        """Return everybody who is known now."""

    def revision(self) -> int:
        """Return a number that grows whenever somebody may have been added or removed."""


class PasswordChecker(Protocol):
    """Checks passwords against bcrypt hashes, which takes long by design."""

    def remembers(self, password: str, hashed: str) -> bool:
        """Return whether the password was found right a while ago; takes no time."""

    async def check(self, password: str, hashed: str) -> bool:
        """Return whether this is the hash of the password."""


class TokenChecker(Protocol):
    """Checks tokens of issuers (core/issuers.py)."""

    def is_of_issuer(self, token: str) -> bool:
        """Return whether a text is a token that says it is of a configured issuer; it is not checked."""

    async def check(self, token: str) -> UserLogin | None:
        """Return whose login a token is; None when it is not accepted. Raises issuers.KeysMissing."""


class Visit(Protocol):
    """One request, as far as limits for clients go."""

    def admit(self, requester: Requester, *, is_download: bool = False) -> None:
        """Note who sent it, once. Raises OciError 429 when that client has had enough for now."""


class UpstreamPace(Protocol):
    """How fast upstreams may be fetched from."""

    async def pay_upstream(self, size_bytes: int) -> None:
        """Count bytes that an upstream gave, and wait until there may be more."""

    def charge_upstream(self, size_bytes: int) -> None:
        """Count bytes that an upstream gave, without waiting."""


class AnyVisit:
    """The `Visit` of a shell without limits."""

    def admit(self, requester: Requester, *, is_download: bool = False) -> None: ...


UNLIMITED: Visit = AnyVisit()


class Clock(Protocol):
    """The time.

    What only this process remembers is measured with `monotonic`, because nobody can set that clock back; tags, lists,
    rights and grants, which others read as well, with `time`.
    """

    def monotonic(self) -> float:
        """Return seconds since an arbitrary moment in the past."""

    def time(self) -> float:
        """Return seconds since 1970, UTC."""


class EventLog(Protocol):
    """Receives the events that an operator should know about."""

    def warning(self, event: str, fields: Mapping[str, object]) -> None:
        """Report that something went wrong and was handled."""


# kept: verified and kept; failed: broken off, to be continued later; wrong: another length or digest than it should
# have; unwanted: stopped because no client wanted it any longer; store_failed: the disk failed
FillResult = Literal["kept", "failed", "wrong", "unwanted", "store_failed"]


class Metrics(Protocol):
    """Counts the events that operators want counted.

    Methods may be called from any thread, are cheap, and never raise.
    """

    def upstream_asked(self, upstream: str, method: str, status: int | None) -> None:
        """Count a request to an upstream, its token service or its CDN. `status` None: there was no usable answer."""

    def upstream_gave(self, upstream: str, size_bytes: int) -> None:
        """Count bytes of a body that arrived from an upstream."""

    def fill_ended(self, upstream: str, result: FillResult) -> None:
        """Count a finished fill that this process led."""

    def wrong_content(self, upstream: str) -> None:
        """Count content that was refused because it had another length or digest than it should have."""

    def store_failed(self) -> None:
        """Count content that could not be kept."""

    def index_failed(self) -> None:
        """Count a read or write of the index that failed."""

    def quota(self, upstream: str, account: str, limit: int, remaining: int) -> None:
        """Record how many pulls an upstream says that one of the gateway's own accounts has left.

        `account` is `anonymous` for the limit of the gateway's address.
        """

    def account_refused(self, upstream: str, account: str) -> None:
        """Count that an upstream refused the user name or password of one of the gateway's own accounts."""


class Uncounted:
    """A `Metrics` that counts nothing, for processes without `/metrics`."""

    def upstream_asked(self, upstream: str, method: str, status: int | None) -> None: ...

    def upstream_gave(self, upstream: str, size_bytes: int) -> None: ...

    def fill_ended(self, upstream: str, result: FillResult) -> None: ...

    def wrong_content(self, upstream: str) -> None: ...

    def store_failed(self) -> None: ...

    def index_failed(self) -> None: ...

    def quota(self, upstream: str, account: str, limit: int, remaining: int) -> None: ...

    def account_refused(self, upstream: str, account: str) -> None: ...


UNCOUNTED: Metrics = Uncounted()
