"""What is added to TOML, YAML, hosts.toml and registries.conf, and taken out again, with everything else as it was."""

from __future__ import annotations

import tomllib

import pytest

from hubferry.core.client_files import CannotEditError, Entry, Host, Item, Mirror, Setting
from hubferry.core.client_files.entries import Format
from hubferry.setup.edits import EDITORS, has_entries

FOLDER = Setting(("plugins", "io.containerd.grpc.v1.cri", "registry", "config_path"), "/certs.d")
HUB = Item(("registry", "docker.io", "mirrors"), "hub")
ENDPOINT = Item(("mirrors", "docker.io", "endpoint"), "https://hub")
HOST = Host("https://hub", ("pull", "resolve"))
MIRROR = Mirror("docker.io", "hub/docker.io", is_insecure=False)

# format, entry, before, after
ADDED: list[tuple[Format, Entry, str, str]] = [
    (
        "toml",
        FOLDER,
        "version = 2  # two\n",
        'version = 2  # two\n\n[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = "/certs.d"\n',
    ),
    (
        "toml",
        FOLDER,
        "[plugins]\n  [plugins.'io.containerd.grpc.v1.cri'.registry]  # here\n    x = 1\n\n[grpc]\n",
        (
            "[plugins]\n  [plugins.'io.containerd.grpc.v1.cri'.registry]  # here\n    x = 1\n"
            '  config_path = "/certs.d"\n\n[grpc]\n'
        ),
    ),
    (
        "toml",
        FOLDER,
        "plugins.'io.containerd.grpc.v1.cri'.registry.config_path = ''  # none\n",
        "plugins.'io.containerd.grpc.v1.cri'.registry.config_path = \"/certs.d\"  # none\n",
    ),
    ("toml", HUB, "", '[registry."docker.io"]\n  mirrors = ["hub"]\n'),
    (
        "toml",
        HUB,
        '[registry."docker.io"]\n  # ours\n  mirrors = ["a", "b"] # two\n',
        '[registry."docker.io"]\n  # ours\n  mirrors = ["hub","a", "b"] # two\n',
    ),
    ("yaml", ENDPOINT, "", 'mirrors:\n  "docker.io":\n    endpoint:\n      - "https://hub"\n'),
    (
        "yaml",
        ENDPOINT,
        "# mine\nconfigs: {a: b}",
        '# mine\nconfigs: {a: b}\nmirrors:\n  "docker.io":\n    endpoint:\n      - "https://hub"\n',
    ),
    (
        "yaml",
        ENDPOINT,
        "mirrors:  # all\n    quay.io:\n        endpoint: [x]\n",
        (
            'mirrors:  # all\n    "docker.io":\n      endpoint:\n        - "https://hub"\n'
            "    quay.io:\n        endpoint: [x]\n"
        ),
    ),
    (
        "yaml",
        ENDPOINT,
        "mirrors:\n  docker.io:\n    endpoint:\n    # the first\n    - 'https://a'  # a\n    - https://b\n",
        (
            "mirrors:\n  docker.io:\n    endpoint:\n    # the first\n    - \"https://hub\"\n    - 'https://a'  # a\n"
            "    - https://b\n"
        ),
    ),
    (
        "yaml",
        ENDPOINT,
        "mirrors:\n  docker.io:\n    rewrite: {a: b}  # c\n",
        'mirrors:\n  docker.io:\n    endpoint:\n      - "https://hub"\n    rewrite: {a: b}  # c\n',
    ),
    (
        "yaml",
        ENDPOINT,
        "mirrors: {docker.io: {endpoint: [https://a]}}  # one line\n",
        "mirrors: {docker.io: {endpoint: [https://hub, https://a]}} # one line\n",
    ),
    ("hosts.toml", HOST, "", '[host."https://hub"]\n  capabilities = ["pull", "resolve"]\n'),
    (
        "hosts.toml",
        HOST,
        'server = "https://x"\n\n[host."https://a"]  # a\n  skip_verify = true\n',
        (
            'server = "https://x"\n\n[host."https://hub"]\n  capabilities = ["pull", "resolve"]\n\n'
            '[host."https://a"]  # a\n'
            "  skip_verify = true\n"
        ),
    ),
    (
        "registries.conf",
        MIRROR,
        "# none\n",
        '# none\n\n[[registry]]\nlocation = "docker.io"\n[[registry.mirror]]\nlocation = "hub/docker.io"\n',
    ),
    (
        "registries.conf",
        MIRROR,
        (
            '[[registry]]\nprefix = "docker.io"\nblocked = true # yes\n\n# the office\n[[registry.mirror]]\n'
            'location = "a"\n'
        ),
        (
            '[[registry]]\nprefix = "docker.io"\nblocked = true # yes\n[[registry.mirror]]\nlocation = "hub/docker.io"'
            '\n\n# the office\n[[registry.mirror]]\nlocation = "a"\n'
        ),
    ),
    (
        "registries.conf",
        MIRROR,
        '[[registry]]\nlocation = "quay.io"\n[[registry]]\nlocation = "docker.io"',
        (
            '[[registry]]\nlocation = "quay.io"\n[[registry]]\nlocation = "docker.io"\n[[registry.mirror]]\n'
            'location = "hub/docker.io"\n'
        ),
    ),
]


@pytest.mark.parametrize(("kind", "entry", "before", "after"), ADDED)
def test_what_is_added(kind: Format, entry: Entry, before: str, after: str) -> None:
    added = EDITORS[kind].add(before, (entry,))
    assert added == after
    assert has_entries(kind, added, (entry,))


@pytest.mark.parametrize(("kind", "entry", "before", "after"), ADDED)
def test_what_was_added_is_taken_out(kind: Format, entry: Entry, before: str, after: str) -> None:
    if isinstance(entry, Setting) and "''" in before:
        entry = Setting(entry.keys, entry.value, "")
    removed = EDITORS[kind].remove(after, (entry,))
    assert not has_entries(kind, removed, (entry,))
    assert comments(removed) == comments(before)
    if kind != "yaml":
        assert bare(tomllib.loads(removed)) == bare(tomllib.loads(before))


def comments(text: str) -> list[str]:
    return [line.partition("#")[2] for line in text.splitlines() if "#" in line]


def bare(tables: dict[str, object]) -> object:
    """Without a registry of which nothing is said."""
    registries = [one for one in tables.get("registry", ()) if one != {"location": "docker.io"}]  # type: ignore[attr-defined]
    return {**tables, "registry": registries} if isinstance(tables.get("registry"), list) else tables


def test_several_registries_stay_in_their_order() -> None:
    items = tuple(Item(("mirrors", name, "endpoint"), "https://hub") for name in ("docker.io", "ghcr.io", "quay.io"))
    for before in ("", "mirrors:\n  a: {}\n"):
        text = EDITORS["yaml"].add(before, items)
        places = [text.index(name) for name in ("docker.io", "ghcr.io", "quay.io")]
        assert places == sorted(places)


@pytest.mark.parametrize(
    ("kind", "entry", "text"),
    [
        ("toml", FOLDER, "= 1"),
        ("toml", FOLDER, "plugins = 1"),
        ("toml", FOLDER, f"x = '{'a' * 5000}'"),
        ("toml", HUB, '[registry."docker.io"]\nmirrors = "a"\n'),
        ("yaml", ENDPOINT, "a: [\n"),
        ("yaml", ENDPOINT, "- a\n"),
        ("yaml", ENDPOINT, "mirrors: [a]\n"),
        ("yaml", ENDPOINT, "mirrors: {docker.io: {endpoint: a}}\n"),
        ("yaml", ENDPOINT, "a: 1\na: 2\n"),
        ("hosts.toml", HOST, 'host = {"https://a" = {}}\n'),
        ("hosts.toml", HOST, "host = 1\n"),
        ("registries.conf", MIRROR, 'registry = [{location = "docker.io"}]\n'),
        ("registries.conf", MIRROR, "registry = 1\n"),
    ],
)
def test_what_cannot_be_changed_is_refused(kind: Format, entry: Entry, text: str) -> None:
    with pytest.raises(CannotEditError):
        EDITORS[kind].add(text, (entry,))


def test_a_setting_that_somebody_changed_stays() -> None:
    text = "[plugins.'io.containerd.grpc.v1.cri'.registry]\nconfig_path = '/other'\n"
    assert EDITORS["toml"].remove(text, (FOLDER,)) == text


@pytest.mark.parametrize(
    ("kind", "entry"),
    [("toml", FOLDER), ("toml", HUB), ("yaml", ENDPOINT), ("hosts.toml", HOST), ("registries.conf", MIRROR)],
)
def test_what_stands_around_stays_when_it_is_taken_out(kind: Format, entry: Entry) -> None:
    """Somebody wrote before and behind it; in the middle nothing is left of it, and no line is joined to another."""
    before = "# mine\nx: 1\n" if kind == "yaml" else '# mine\nx = "1"\n'
    added = EDITORS[kind].add(before, (entry,)) + "# behind\n"
    assert EDITORS[kind].remove(added, (entry,)) == before + "# behind\n"
