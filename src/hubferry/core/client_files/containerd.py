"""What containerd is told: a hosts.toml for each registry, and the folder of these for its CRI plugin.

Pure. `config_path` of the CRI plugin is in other tables in each version of config.toml: `plugins.cri` (1),
`io.containerd.grpc.v1.cri` (2), `io.containerd.cri.v1.images` (3 and newer). It has to be one folder: the default of
containerd 2, a list of two, is not understood by its own pulls (containerd#12808). It excludes `mirrors`, with which
the plugin does not load. ctr and nerdctl read no config.toml. containerd before 2.2 ignores files with `"referrers"`.
"""

import fnmatch
from collections.abc import Iterator, Mapping
from typing import Any

from hubferry.core.client_files.entries import CannotEditError, FileWish, Plan, Setting
from hubferry.core.client_files.gateway import EVERY
from hubferry.core.client_files.hosts import hosts_path, hosts_wish
from hubferry.core.client_files.request import PlanRequest, head_of
from hubferry.core.client_files.toml_text import parse_toml

CONFIG = "/etc/containerd/config.toml"
CERTS_D = "/etc/containerd/certs.d"
CONTAINERD_SOURCES = (CONFIG, "/etc/containerd/conf.d/*.toml", f"{CERTS_D}/*/hosts.toml")
IMAGES = "io.containerd.cri.v1.images"
GRPC = "io.containerd.grpc.v1.cri"
PLUGINS = (IMAGES, GRPC, "cri")
KNOWS_REFERRERS = (2, 2)


def plan_containerd(request: PlanRequest) -> Plan:
    """Return the plan for containerd. Raises CannotEditError for files that are wrong, or have mirrors of their own."""
    configs = list(_configs(request.texts))
    folder, setting, notes = _decide_folder(request, configs)
    files = [] if setting is None else [_config_wish(request, setting)]
    capabilities = ("pull", "resolve", "referrers") if request.is_since(*KNOWS_REFERRERS) else ("pull", "resolve")
    paths = [hosts_path(folder, registry) for registry in request.registries]
    files += [hosts_wish(request, "containerd", path, capabilities) for path in paths]
    registry = "docker.io/library/hello-world:latest"
    if EVERY not in request.registries and "docker.io" not in request.registries:
        registry = f"{request.registries[0]}/IMAGE"
    checks = (
        f"crictl pull {registry}, and the log of the gateway has a line for it",
        f"without CRI: ctr images pull --hosts-dir {folder} {registry}",
    )
    return Plan(tuple(files), checks, tuple(notes))


def _configs(texts: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Return config.toml and the files that it imports, as far as they are there."""
    main = parse_toml(texts.get(CONFIG, ""), CONFIG)
    yield main
    imports = [pattern for pattern in _list(main, "imports") if isinstance(pattern, str)]
    for path, text in texts.items():
        if path != CONFIG and any(fnmatch.fnmatch(path, pattern) for pattern in imports):
            yield parse_toml(text, path)


def _decide_folder(request: PlanRequest, configs: list[dict[str, Any]]) -> tuple[str, Setting | None, list[str]]:
    """Return the folder of the hosts.toml files, what to set so that CRI reads it (None: nothing), and notes."""
    disabled = {name for config in configs for name in _list(config, "disabled_plugins") if isinstance(name, str)}
    if disabled & set(PLUGINS):
        return CERTS_D, None, [f"the CRI plugin is switched off in {CONFIG}; nerdctl reads {CERTS_D} by itself"]
    plugin, path = _plugin_of(request, configs[0]), ""
    for config in configs:
        for name in PLUGINS:
            registry = _table(config, "plugins", name, "registry")
            _refuse_mirrors(registry)
            if isinstance(found := registry.get("config_path"), str) and found:
                plugin, path = name, found
    first, *others = path.split(":")
    if path and (not others or request.is_older_than(2)):
        return first, None, []
    keys = ("plugins", plugin, "registry", "config_path")
    former = _table(configs[0], *keys[:-1]).get("config_path")
    setting = Setting(keys, first or CERTS_D, former if isinstance(former, str) else None)
    notes = [f"containerd 2 reads one folder only (containerd#12808), so {':'.join(others)} is out"] if others else []
    return first or CERTS_D, setting, notes


def _plugin_of(request: PlanRequest, config: dict[str, Any]) -> str:
    """Return the name of the table that CRI's registries are in, by the version that config.toml has or will have."""
    version = config.get("version", 1 if config else _new_version(request))
    if version == 1:
        return "cri"
    return GRPC if version == 2 and IMAGES not in _table(config, "plugins") else IMAGES


def _new_version(request: PlanRequest) -> int:
    """Return the version of a config.toml that is made: 2 is understood by every containerd since 1.3."""
    return 3 if request.is_since(2) else 2


def _refuse_mirrors(registry: dict[str, Any]) -> None:
    configs = registry.get("configs")
    has_tls = isinstance(configs, dict) and any(isinstance(one, dict) and "tls" in one for one in configs.values())
    if registry.get("mirrors") or has_tls:
        raise CannotEditError(
            f"{CONFIG} has registry.mirrors or registry.configs with tls, and containerd does not load its CRI plugin "
            f"with these and config_path together: move them to {CERTS_D}/REGISTRY/hosts.toml, then try again"
        )


def _config_wish(request: PlanRequest, setting: Setting) -> FileWish:
    head = f"{head_of('containerd')}version = {_new_version(request)}\n"
    return FileWish(CONFIG, "toml", (setting,), head)


def _table(config: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """Return the table at some keys; an empty one if there is none."""
    found: Any = config
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _list(config: Mapping[str, Any], key: str) -> list[Any]:
    found = config.get(key)
    return found if isinstance(found, list) else []
