"""What the log repeats of others' words: of bounded length, and in characters that do nothing to a terminal or a line.

Pure. Paths, names, forwarded addresses and messages of upstreams come from whoever likes to send them.
"""

from collections.abc import Mapping

MAX_FIELD = 512  # characters; names of repositories and messages of ours are shorter
MAX_PEER = 64  # an address; what a proxy forwards as one may be anything
MAX_TRACE = 16 * 1024
CUT = "..."


def logged(value: object, most: int = MAX_FIELD) -> object:
    """A value of a log field: a text of at most `most` characters, none of them for control; others as they are."""
    if not isinstance(value, str) or (len(value) <= most and value.isprintable()):
        return value
    text = value if len(value) <= most else value[: most - len(CUT)] + CUT
    if not text.isprintable():  # also what turns the direction of writing, and lines of Unicode's own
        text = "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)
    return text if len(text) <= most else text[: most - len(CUT)] + CUT


def logged_fields(fields: Mapping[str, object]) -> dict[str, object]:
    """All fields of a line so; a traceback keeps its lines, and its end."""
    shown = {name: logged(value) for name, value in fields.items()}
    trace = fields.get("exception")
    if isinstance(trace, str):
        shown["exception"] = trace[-MAX_TRACE:]
    return shown
