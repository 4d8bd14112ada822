"""Make text from clients and upstreams safe for the log: bounded in length, without control characters or our secrets.

Pure. Paths, names, forwarded addresses and messages of upstreams can contain anything that their senders like. In the
log they must not control a terminal or begin a new line.
"""

from collections.abc import Mapping

from hubferry.core.masking import mask_secrets

MAX_FIELD = 512  # characters; names of repositories and our own messages are shorter
MAX_PEER = 64  # characters; an address is shorter, but a proxy may forward any text as one
MAX_TRACE = 16 * 1024
CUT = "..."


def logged(value: object, most: int = MAX_FIELD) -> object:
    """Return the value of a log field: a text cut to `most` characters, its control characters escaped.

    Access tokens and client secrets of the gateway are masked, wherever a client wrote them. Values that are not text
    are returned as they are.
    """
    if not isinstance(value, str):
        return value
    if "_" in value or "%" in value:
        value = mask_secrets(value)
    if len(value) <= most and value.isprintable():
        return value
    text = value if len(value) <= most else value[: most - len(CUT)] + CUT
    if not text.isprintable():  # that includes characters that reverse the direction of text, and Unicode's line breaks
        text = "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)
    return text if len(text) <= most else text[: most - len(CUT)] + CUT


def logged_fields(fields: Mapping[str, object]) -> dict[str, object]:
    """Return all fields of a log line, each made safe by `logged`.

    A traceback (`exception`) keeps its line breaks. When it is longer than MAX_TRACE characters its end is kept.
    """
    shown = {name: logged(value) for name, value in fields.items()}
    trace = fields.get("exception")
    if isinstance(trace, str):
        shown["exception"] = mask_secrets(trace[-MAX_TRACE:])
    return shown
