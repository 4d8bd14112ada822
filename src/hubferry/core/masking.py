"""How values that may hold secrets are shown: in `config show`, and in messages about what is wrong with them.

Pure. What was meant for one setting may stand in another, with its password.
"""

import re

MASK = "********"
MAX_SHOWN = 100


def mask_userinfo(url: str) -> str:
    """`http://user:secret@host` -> `http://********@host`; also where the scheme was forgotten."""
    before, at, host = url.rpartition("@")
    scheme, slashes, _ = before.partition("//")
    return f"{scheme if slashes else ''}{slashes}{MASK}@{host}" if at else url


def shown(text: str) -> str:
    """A value as a message may repeat it: quoted, not too long, without user names and passwords, or a URL's query."""
    masked = mask_userinfo(text)
    if "//" in masked:
        masked = re.split(r"[?#]", masked, maxsplit=1)[0]
    return repr(masked[:MAX_SHOWN] + "..." if len(masked) > MAX_SHOWN else masked)
