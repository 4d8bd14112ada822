"""Show a change of a file to people: a unified diff without secrets.

Pure. Masked are the gateway's own secrets, what stands behind words such as `password`, and logins in URLs. So a line
that is shown need not be the line that is written.
"""

import difflib
import re

from hubferry.core.masking import MASK, mask_secrets

_NAMED = re.compile(r"(?i)((?:password|passwd|auth|token|secret|credential)\w*[\"']?\s*[:=]\s*)([^\s{\[].*)")
_LOGIN = re.compile(r"(//)[^/@\s\"']+@")


def format_diff(path: str, before: str | None, after: str | None) -> list[str]:
    """Return the lines of the difference, without line ends; none if there is none."""
    lines = difflib.unified_diff(
        (before or "").splitlines(),
        (after or "").splitlines(),
        "/dev/null" if before is None else path,
        "/dev/null" if after is None else path,
        lineterm="",
    )
    return [mask_line(line) for line in lines]


def mask_line(line: str) -> str:
    """Return a line of configuration as it may be shown."""
    line = _LOGIN.sub(rf"\1{MASK}@", mask_secrets(line))
    return _NAMED.sub(rf"\g<1>{MASK}", line)
