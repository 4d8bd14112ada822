"""What podman, skopeo, buildah and CRI-O are told: mirrors in registries.conf(5) or in a file beside it.

Pure. A `[[registry]]` in a file of registries.conf.d replaces one with the same prefix elsewhere, together with its
mirrors. So a registry that is there already gets its mirror where it is, in the last file that has it; only the others
go to a file of hubferry's own. The location of a mirror has the name of the registry behind the gateway, because these
clients send no `?ns=`.
"""

from collections.abc import Mapping

from hubferry.core.client_files.entries import CannotEditError, FileWish, Mirror, Plan
from hubferry.core.client_files.request import PlanRequest, head_of, refuse_every, refuse_path
from hubferry.core.client_files.toml_text import parse_toml

MAIN = "/etc/containers/registries.conf"
FOLDER = "/etc/containers/registries.conf.d"
CONTAINERS_SOURCES = (MAIN, f"{FOLDER}/*.conf")
MAX_TABLES = 10_000


def plan_podman(request: PlanRequest) -> Plan:
    """Return the plan for podman, skopeo and buildah, which read their files with each command. Raises ValueError."""
    checks = (f"podman pull {_image(request)}, and the log of the gateway has a line for it",)
    return Plan(_files(request, "podman"), checks, _notes(request, "`podman pull nginx`"))


def plan_crio(request: PlanRequest) -> Plan:
    """Return the plan for CRI-O, which reads the files of podman when it is told to. Raises ValueError."""
    checks = (f"crictl pull {_image(request)}, and the log of the gateway has a line for it",)
    notes = ("podman and skopeo on this machine read the same files", *_notes(request, "an image named nginx in a pod"))
    return Plan(_files(request, "crio"), checks, notes)


def _files(request: PlanRequest, client: str) -> tuple[FileWish, ...]:
    refuse_every(request, client)
    refuse_path(request, client)
    own = f"{FOLDER}/50-hubferry-{client}.conf"
    homes = _homes(request.texts)
    mirrors: dict[str, list[Mirror]] = {}
    for registry in request.registries:
        path = homes.get(registry, own)
        location = f"{request.gateway.host}/{registry}"
        mirrors.setdefault(path, []).append(Mirror(registry, location, request.gateway.is_plain))
    return tuple(
        FileWish(path, "registries.conf", tuple(entries), head_of(client)) for path, entries in mirrors.items()
    )


def _homes(texts: Mapping[str, str]) -> dict[str, str]:
    """Return the file in which each registry is described: the last one that does so, as the clients read them."""
    homes = {}
    for path in sorted(texts, key=lambda path: (path != MAIN, path)):
        for prefix in _prefixes(path, texts[path]):
            homes[prefix] = path
    return homes


def _prefixes(path: str, text: str) -> list[str]:
    tables = parse_toml(text, path)
    if "registries" in tables:
        raise CannotEditError(f"{path} is of the first version ([registries.search]): write it anew with [[registry]]")
    registries = tables.get("registry", [])
    if not isinstance(registries, list) or len(registries) > MAX_TABLES:
        raise CannotEditError(f"{path}: registry is no list of tables: write [[registry]]")
    found = [one.get("prefix") or one.get("location") for one in registries if isinstance(one, dict)]
    return [prefix for prefix in found if isinstance(prefix, str)]


def _image(request: PlanRequest) -> str:
    return "docker.io/library/hello-world" if "docker.io" in request.registries else f"{request.registries[0]}/IMAGE"


def _notes(request: PlanRequest, what: str) -> tuple[str, ...]:
    parts = [prefix for prefix in _homes(request.texts) if prefix.partition("/")[0] in request.registries]
    notes = tuple(
        f"{prefix} has mirrors of its own, and does not go to the gateway" for prefix in parts if "/" in prefix
    )
    if any("unqualified-search-registries" in text for text in request.texts.values()):
        return notes
    return (*notes, f'for {what}, write unqualified-search-registries = ["docker.io"] at the top of {MAIN}')
