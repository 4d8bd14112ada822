"""Which words say what to do about a problem that the log has: the keys of words. Pure. See docs/errors.md."""

from hubferry.ports.upstream import Cause

# what the sentence has -> the key of the words
_BY_CAUSE = (
    (Cause.DNS.value, "remedy_dns"),
    (Cause.TCP.value, "remedy_tcp"),
    (Cause.TLS.value, "remedy_tls"),
    (Cause.TIMEOUT.value, "remedy_timeout"),
    (Cause.PROXY.value, "remedy_proxy"),
    (Cause.ADDRESS.value, "remedy_address"),
    (Cause.WRONG.value, "remedy_wrong"),
    (Cause.PROTOCOL.value, "remedy_protocol"),
    (Cause.CUT.value, "remedy_cut"),
    ("no room", "remedy_room"),
    ("cannot be kept", "remedy_room"),
)


def remedy_of(status: int, text: str) -> str:
    """Return the key of the words that say what to do, given the status of the answer and the sentence of the log."""
    found = next((key for part, key in _BY_CAUSE if part in text), "")
    if found:
        return found
    if status == 429 or "limit" in text:
        return "remedy_limit"
    return "remedy_other"
