"""What a shell sends to the client, and what it writes into the access log."""

from dataclasses import dataclass, field

from hubferry.core.errors import OciError
from hubferry.core.http import Headers
from hubferry.ports import Body


@dataclass(slots=True)
class Trail:
    """What became known of a request on its way, for its log line. Filled in as it is decided."""

    upstream: str = ""
    repository: str = ""
    reference: str = ""
    outcome: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers (lower-case names) and body; None: no body, although a length may be declared (HEAD).

    For `reusable_s` the very same request may be given the same again, unless `Gateway.revision` changes meanwhile.
    """

    status: int
    headers: Headers = ()
    body: bytes | Body | None = None
    trail: Trail = field(default_factory=Trail)
    reusable_s: float = 0.0


def json_answer(body: bytes, headers: Headers = (), status: int = 200) -> Answer:
    """A whole JSON body with its length."""
    head = (("content-type", "application/json"), ("content-length", str(len(body))))
    return Answer(status, head + headers, body)


def error_answer(error: OciError) -> Answer:
    """The OCI error as it goes to the client."""
    return json_answer(error.body(), error.headers, error.status)
