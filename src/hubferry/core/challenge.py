"""The `WWW-Authenticate` header: parse what upstreams send, format what hubferry sends.

Pure. RFC 9110 section 11.6.1 (several challenges in one line or in several lines), RFC 6750 section 3 and the
distribution token specification for the parameters. Not here: whether a realm is trusted (redirect.py).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110's `token`, not a secret
_LEXEME = re.compile(
    rf"\s*(?:(?P<comma>,)|(?P<name>{_TOKEN})[ \t]*=[ \t]*(?:\"(?P<quoted>(?:[^\"\\]|\\.)*)\"|(?P<plain>{_TOKEN}))"
    rf"|(?P<word>[A-Za-z0-9._~+/!#$%&'*^`|-]+=*))"
)
MAX_LENGTH = 8192  # a challenge is a few hundred bytes; a longer one is not worth the time to read it


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge: its scheme in lower case, and its parameters with names in lower case."""

    scheme: str
    params: tuple[tuple[str, str], ...] = ()

    def param(self, name: str) -> str:
        """Return the value of a parameter, or an empty string when the challenge does not have it."""
        return dict(self.params).get(name, "")


def parse_challenges(values: Iterable[str]) -> list[Challenge]:
    """Return the challenges of all `WWW-Authenticate` lines.

    Where a line cannot be read, the rest of that line is ignored. Nothing is raised.
    """
    found: list[Challenge] = []
    for value in values:
        if len(value) <= MAX_LENGTH:
            found.extend(_parse_line(value))
    return found


def _parse_line(value: str) -> list[Challenge]:
    challenges: list[tuple[str, dict[str, str]]] = []
    position = 0
    while position < len(value):
        match = _LEXEME.match(value, position)
        if match is None:
            break
        position = match.end()
        if match["word"] is not None:
            challenges.append((match["word"].lower(), {}))
        elif match["name"] is not None and challenges:
            text = match["plain"]
            if text is None:
                text = re.sub(r"\\(.)", r"\1", match["quoted"])
            # the first of a repeated parameter counts: a later one must not replace a realm already checked
            challenges[-1][1].setdefault(match["name"].lower(), text)
    return [Challenge(scheme, tuple(params.items())) for scheme, params in challenges]


def format_challenge(realm: str, service: str, scope: str = "", error: str = "") -> str:
    """Return hubferry's own Bearer challenge as a header value. `scope` and `error` are left out when empty."""
    pairs = [("realm", realm), ("service", service), ("scope", scope), ("error", error)]
    return "Bearer " + ",".join(f'{name}="{_quote(text)}"' for name, text in pairs if text)


def _quote(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
