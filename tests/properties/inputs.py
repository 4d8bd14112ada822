"""Texts as attackers write them: valid ones, nearly valid ones, and anything."""

from hypothesis import strategies as st

from hubferry.core.errors import OciError

component = st.from_regex(r"[a-z0-9]{1,8}((\.|_|__|-{1,3})[a-z0-9]{1,8}){0,2}", fullmatch=True)
repository = st.lists(component, min_size=1, max_size=4).map("/".join)
tag = st.from_regex(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,40}", fullmatch=True)
hexadecimal = st.text("0123456789abcdef", min_size=64, max_size=64)
digest = hexadecimal.map(lambda text: f"sha256:{text}")
latin1 = st.text(st.characters(max_codepoint=255), max_size=60)
anything = st.text(max_size=60)

PIECES = [
    "/", "//", "..", ".", "%2f", "%2e", "%", "%00", "%0d%0a", "\r\n", "\\", " ", "@", ":", "#", "?", "&",
    "=", ",", ";",
    '"', "'", "<", ">", "a", "Z", "0", "library", "nginx", "ghcr.io", "docker.io", "index.docker.io", "localhost",
    "127.0.0.1", "[::1]", "sha256:", "manifests", "blobs", "tags/list", "referrers", "latest", "v2", "\x00",
    "\x7f",
    "ä", "\u212a", "\u0661", "\ud800", "x" * 300,
]  # fmt: skip
crafted = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
hostile = st.one_of(crafted, anything, latin1)


def on_the_wire(text: str) -> str:
    """As a shell reads it: bytes, taken for latin-1."""
    return text.encode("utf-8", "ignore").decode("latin-1")


def refused_with(error: OciError, *statuses: int) -> None:
    """The error is a refusal with one of the statuses."""
    assert error.status in statuses, error
