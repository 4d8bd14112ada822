"""Check and normalise names: registry host, repository, tag, digest; and the completion with `library/`.

Pure. The grammars are those of the OCI distribution specification ("Pulling manifests") and of the OCI image
specification ("Digests"). They are applied after exactly one percent-decoding. The error for a name that does not match
says which kind of name is wrong.
"""

import re
from ipaddress import IPv6Address, ip_address
from urllib.parse import unquote_to_bytes

from hubferry.core.errors import Code, OciError

MAX_NAME = 255  # including the registry host: containerd, docker and podman refuse longer names

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128}")
_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?|\[(?P<v6>[0-9A-Fa-f:.]+)\])\.?(?::(?P<port>[0-9]{1,5}))?"
)

# Other names of Docker Hub: docker/distribution and containerd write them in place of `docker.io`.
ALIASES = {"index.docker.io": "docker.io", "registry-1.docker.io": "docker.io"}


def decode_path(path: str) -> str:
    """Percent-decode a path, exactly once.

    Raises OciError 400 for an encoded slash or backslash, a broken escape, a control character or a non-ASCII
    character. No repository name contains any of them, and each of them is a way to get a path past a check
    (CVE-2024-3727).
    """
    if "%" in path:
        lowered = path.lower()
        if "%2f" in lowered or "%5c" in lowered or re.search(r"%(?![0-9a-f]{2})", lowered):
            raise OciError(400, Code.NAME_INVALID, "the path has an encoded slash or a broken %-escape")
        path = unquote_to_bytes(path).decode("latin-1")
    if not path.isascii() or not path.isprintable():
        raise OciError(400, Code.NAME_INVALID, "the path has a character that no repository, tag or digest has")
    return path


def check_repository(name: str, registry: str = "") -> str:
    """Return the repository name unchanged if it is valid.

    Raises OciError 400 NAME_INVALID when it breaks the grammar or is too long together with the `registry` host.
    """
    if len(name) + (len(registry) + 1 if registry else 0) > MAX_NAME:
        raise OciError(
            400,
            Code.NAME_INVALID,
            f"the repository name is longer than {MAX_NAME} characters with its registry",
            detail={"length": len(name)},
        )
    if not _REPOSITORY.fullmatch(name):
        raise OciError(
            400,
            Code.NAME_INVALID,
            "invalid repository name: use lower-case letters, digits and . _ - between them, parts joined by /",
            detail={"name": name},
        )
    return name


def is_address(text: str) -> bool:
    """Return whether a text is an IPv4 or IPv6 address, without brackets and port."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def is_digest(reference: str) -> bool:
    """Return whether a reference is a well-formed sha256 or sha512 digest."""
    return _DIGEST.fullmatch(reference) is not None


def check_digest(text: str) -> str:
    """Return the digest unchanged if it is well-formed. Raises OciError 400 DIGEST_INVALID if not."""
    if not is_digest(text):
        raise OciError(
            400,
            Code.DIGEST_INVALID,
            "invalid digest: expected sha256: and 64, or sha512: and 128 lower-case hex digits",
            detail={"digest": text},
        )
    return text


def is_tag(text: str) -> bool:
    """Return whether the text is a well-formed tag."""
    return _TAG.fullmatch(text) is not None


def check_reference(text: str) -> str:
    """Return a tag or digest unchanged if it is well-formed.

    Raises OciError 400 if not: DIGEST_INVALID when the text has a colon, else NAME_INVALID.
    """
    if ":" in text:
        return check_digest(text)
    if not is_tag(text):
        raise OciError(
            400,
            Code.NAME_INVALID,
            "invalid tag: use up to 128 letters, digits, . _ -, not starting with . or -",
            detail={"tag": text},
        )
    return text


def is_host(text: str) -> bool:
    """Return whether the text can be a Host header or registry host: a name or an address, optionally with a port."""
    match = _HOST.fullmatch(text)
    if match is None or len(text) > MAX_NAME:
        return False
    if match["port"] is not None and not 0 < int(match["port"]) < 65536:
        return False
    if match["v6"] is not None:
        try:
            IPv6Address(match["v6"])
        except ValueError:
            return False
    return True


def normal_host(text: str) -> str:
    """Return a registry host in lower case, without a trailing dot, and `docker.io` for Docker Hub's other names.

    A text that is no host is returned unchanged: in lower case, letters beyond ASCII could become a known name.
    """
    if not is_host(text):
        return text
    host = host_without_port(text.lower())
    port = text[len(host) :]
    name = host.rstrip(".") + port
    return ALIASES.get(name, name)


def host_without_port(host: str) -> str:
    """`hub.example.com:8443` -> `hub.example.com`. An IPv6 address keeps its brackets."""
    if host.endswith("]") or ":" not in host:
        return host
    return host.rpartition(":")[0]


def names_registry(segment: str) -> bool:
    """Return whether the first part of an image name is a registry host, by Docker's rule.

    It is one if it has a dot or a colon, or is `localhost` (distribution/reference, `splitDockerDomain`). A text that
    cannot be a host, such as `..`, counts as part of a repository name, which is then refused.
    """
    return ("." in segment or ":" in segment or segment == "localhost") and is_host(segment)


def complete_library(repository: str) -> str:
    """`nginx` -> `library/nginx`: Docker Hub's official images are in `library/`. Names with a slash stay unchanged."""
    return repository if "/" in repository else f"library/{repository}"
