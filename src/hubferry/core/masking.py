"""Mask secrets in values that are shown in `config show` or in messages about wrong values.

Pure. Every value is treated as if it could contain a secret, because users sometimes write a value into the wrong
setting, together with its password.
"""

import re

MASK = "********"
MAX_SHOWN = 100
# what every access token and client secret of the gateway begins with, so that people and scanners recognize one
SECRET_BEGINNING = "hubferry_"  # noqa: S105
_SECRET = re.compile(r"(?i)(hubferry(?:_|%5f))[0-9a-z%]+|((?:_|%5f))[0-9a-f]{40}(?![0-9a-f])")
_WHOLE_SECRET = re.compile(r"(?i)hubferry_[0-9a-f]{40}")


def has_secret(text: str) -> bool:
    """Return whether an access token or client secret of the gateway stands anywhere in a text."""
    return _WHOLE_SECRET.search(text) is not None


def mask_secrets(text: str) -> str:
    """Return a text with everything masked in it that could be an access token or client secret of the gateway.

    That includes what is written with escapes, as in a URL.
    """
    return _SECRET.sub(lambda found: (found[1] or found[2]) + MASK, text)


def mask_userinfo(url: str) -> str:
    """`http://user:secret@host` -> `http://********@host`. This works without a scheme as well."""
    before, at, host = url.rpartition("@")
    scheme, slashes, _ = before.partition("//")
    return f"{scheme if slashes else ''}{slashes}{MASK}@{host}" if at else url


def shown(text: str) -> str:
    """Return a value in quotes as a message may repeat it.

    User names and passwords are masked, the query of a URL is left out, and the text is cut to MAX_SHOWN characters.
    """
    masked = mask_userinfo(text)
    if "//" in masked:
        masked = re.split(r"[?#]", masked, maxsplit=1)[0]
    return repr(masked[:MAX_SHOWN] + "..." if len(masked) > MAX_SHOWN else masked)
