"""Whatever stands in the files of a client: setting up keeps all of it, and undoing restores every byte."""

from __future__ import annotations

import copy
import io
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from hubferry.core.client_files import SOURCES, CannotEditError, PlanRequest, parse_gateway, plan_client
from hubferry.core.client_files.json_text import add_items
from hubferry.core.client_files.toml_text import parse_toml
from hubferry.setup.machine import Machine
from hubferry.setup.steps import Setup

if TYPE_CHECKING:
    from collections.abc import Callable

URL = "https://hub.example.com"
REGISTRIES = ("docker.io", "ghcr.io")

words = st.text("abcxyz-._:/ #'\"\\\n\té€", max_size=8)
scalars = st.one_of(words, st.booleans(), st.integers(-1000, 1000), st.floats(-9, 9).map(lambda one: round(one, 3)))
names = st.one_of(st.sampled_from([*REGISTRIES, "mirrors", "registry", "host", "plugins"]), words)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=3)),
    max_leaves=8,
)
lists = st.lists(words, max_size=3)
white = st.sampled_from([None, 1, 2, 4, "\t"])


def tables(named: st.SearchStrategy[str], inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(named, inner, max_size=3)


def _location(one: Any) -> str:
    return str(one["location"])


daemons = st.fixed_dictionaries(
    {}, optional={"registry-mirrors": lists, "insecure-registries": lists, "debug": scalars}
)
other_daemons = st.builds(lambda one, two: {**two, **one}, daemons, tables(words, values))
hosts = st.fixed_dictionaries({}, optional={"server": words, "host": tables(words, tables(words, scalars))})
cri = tables(
    st.sampled_from(["io.containerd.grpc.v1.cri", "x"]),
    tables(st.sampled_from(["registry", "y"]), tables(words, scalars)),
)
configs = st.fixed_dictionaries({"version": st.sampled_from([2, 3])}, optional={"plugins": cri, "root": words})
registry = st.fixed_dictionaries(
    {"location": st.sampled_from([*REGISTRIES, "quay.io"])},
    optional={"mirror": st.lists(st.fixed_dictionaries({"location": words}), max_size=2), "blocked": st.booleans()},
)
registries = st.fixed_dictionaries(
    {},
    optional={
        "registry": st.lists(registry, max_size=3, unique_by=_location),
        "aliases": tables(words, words),
    },
)
builders = st.fixed_dictionaries(
    {},
    optional={"registry": tables(names, st.fixed_dictionaries({}, optional={"mirrors": lists, "http": st.booleans()}))},
)
# ruamel.yaml itself writes `{:\\: 1}`, which it does not read
plain = st.text("abcxyz-._/ #'\"é€", max_size=8)
keys = st.one_of(st.sampled_from([*REGISTRIES, "*"]), st.text("abcxyz-._", min_size=1, max_size=8))
endpoints = st.fixed_dictionaries(
    {}, optional={"endpoint": st.lists(plain, max_size=3), "rewrite": tables(keys, plain)}
)
clusters = st.fixed_dictionaries({}, optional={"mirrors": tables(keys, endpoints), "configs": tables(keys, endpoints)})
# each example writes some files and waits for the disk
few = settings(max_examples=max(settings().max_examples // 4, 10))


def kept(client: str, path: str, before: str, read: Callable[[str], Any]) -> str:
    """The text of the file after setting up; setting up again changed nothing, and undoing restored it.

    If somebody changed it in between, undoing takes out what was added, and leaves the change.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        file = root / path.lstrip("/")
        file.parent.mkdir(parents=True)
        file.write_bytes(before.encode())
        set_up(root, client)
        after = file.read_bytes().decode()
        set_up(root, client)
        assert file.read_bytes().decode() == after
        work = Setup(Machine(root), client)
        work.write(work.changes(None))
        assert file.read_bytes().decode() == before
        assert [one for one in root.rglob("*") if one.is_file()] == [file]
        set_up(root, client)
        change = "\n" if client == "docker" else "# changed\n"
        file.write_bytes((after + change).encode())
        work = Setup(Machine(root), client)
        work.write(work.changes(None))
        left = file.read_bytes().decode()
        # comments of what is written in one line go with it
        assert change.strip() in left or "{" in before or "[]" in before
        assert said(read(left)) == said(read(before))
    return after


def read_yaml(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text) or {}


def set_up(root: Path, client: str) -> None:
    machine = Machine(root)
    work = Setup(machine, client)
    texts = work.texts(machine.find(SOURCES[client]))
    work.write(work.changes(plan_client(client, PlanRequest(parse_gateway(URL), REGISTRIES, None, texts))))


def without(data: Any, value: str) -> Any:
    """The data without a value in lists, and without what is empty."""
    if isinstance(data, dict):
        found = {key: without(one, value) for key, one in data.items()}
        return {key: one for key, one in found.items() if one not in ({}, [], None)}
    if isinstance(data, list):
        return [without(one, value) for one in data if one != value]
    return data


def said(document: Any) -> Any:
    """What a file says, without registries of which it says nothing but their name."""
    found = without(document, URL)
    if isinstance(found.get("registry"), list):
        found["registry"] = [one for one in found["registry"] if set(one) != {"location"}]
    return without(found, URL)


@few
@given(document=other_daemons, indent=white, is_spaced=st.booleans())
def test_docker(document: dict[str, Any], indent: Any, *, is_spaced: bool) -> None:
    before = json.dumps(document, indent=indent, ensure_ascii=is_spaced) + "\n" * is_spaced
    after = kept("docker", "/etc/docker/daemon.json", before, json.loads)
    mirrors = json.loads(after).pop("registry-mirrors")
    assert mirrors == [URL, *document.get("registry-mirrors", [])]
    others = {key: value for key, value in json.loads(after).items() if key != "registry-mirrors"}
    assert others == {key: value for key, value in document.items() if key != "registry-mirrors"}
    assert list(others) == [key for key in document if key != "registry-mirrors"]


@few
@given(document=hosts)
def test_hosts_toml(document: dict[str, Any]) -> None:
    before = "# ours\n" + tomlkit.dumps(document)
    after = parse_toml(kept("containerd", "/etc/containerd/certs.d/ghcr.io/hosts.toml", before, parse_toml))
    assert next(iter(after["host"])) == URL
    del after["host"][URL]
    assert without(after, "") == without(document, "")


@few
@given(document=configs)
def test_containerd(document: dict[str, Any]) -> None:
    before = tomlkit.dumps(document) + "# the end\n"
    after = parse_toml(kept("containerd", "/etc/containerd/config.toml", before, parse_toml))
    plugin = "io.containerd.grpc.v1.cri" if document["version"] == 2 else "io.containerd.cri.v1.images"
    assert after["plugins"][plugin]["registry"].pop("config_path") == "/etc/containerd/certs.d"
    assert without(after, "") == without(document, "")


@few
@given(document=registries)
def test_podman(document: dict[str, Any]) -> None:
    before = tomlkit.dumps(document)
    after = parse_toml(kept("podman", "/etc/containers/registries.conf", before, parse_toml))
    for one in after.get("registry", []):
        if one["location"] in REGISTRIES:
            assert one["mirror"].pop(0)["location"] == f"hub.example.com/{one['location']}"
    assert without(after, "") == without(document, "")


@few
@given(document=builders)
def test_buildkit(document: dict[str, Any]) -> None:
    before = tomlkit.dumps(document)
    after = parse_toml(kept("buildkit", "/etc/buildkit/buildkitd.toml", before, parse_toml))
    for name in REGISTRIES:
        assert after["registry"][name]["mirrors"].pop(0) == "hub.example.com"
    assert without(after, "") == without(document, "")


@few
@given(document=clusters, is_flow=st.booleans(), indent=st.sampled_from([2, 4]))
def test_k3s(document: dict[str, Any], *, is_flow: bool, indent: int) -> None:
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style, writer.indent, writer.allow_unicode = is_flow, indent, True
    out = io.StringIO()
    writer.dump(copy.deepcopy(document), out)
    before = f"# ours\n{out.getvalue()}"
    after = read_yaml(kept("k3s", "/etc/rancher/k3s/registries.yaml", before, read_yaml))
    for name in REGISTRIES:
        assert after["mirrors"][name]["endpoint"].pop(0) == URL
    assert without(after, "") == without(document, "")


@given(text=st.text(max_size=60))
def test_no_text_breaks_it(text: str) -> None:
    """json_text walks by itself: it refuses, or the result is a document that keeps what was there."""
    item = plan_client("docker", PlanRequest(parse_gateway(URL), ("docker.io",))).files[0].entries
    try:
        changed = add_items(text, item)
    except CannotEditError:
        return
    assert URL in json.loads(changed)["registry-mirrors"]
