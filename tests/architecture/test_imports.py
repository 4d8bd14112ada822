"""The direction of imports: core, ports, three strands (remote, pull, gateway), the shells, the command line."""

from pathlib import Path

import pytest

import hubferry
from tests.architecture.imports import cycles, problems

SOURCE = Path(hubferry.__file__).parent


def test_the_house_rules_hold() -> None:
    assert problems(SOURCE) == []


def test_no_modules_import_each_other() -> None:
    assert cycles(SOURCE) == []


def test_modules_that_import_each_other_are_found(tmp_path: Path) -> None:
    files = {
        "pull/a.py": "from hubferry.pull.b import x\n",
        "pull/b.py": "from hubferry.pull import c\n",
        "pull/c.py": "if TYPE_CHECKING:\n    from .a import x\n",
        "pull/d.py": "from hubferry.pull.a import x\n",
    }
    assert cycles(tree(tmp_path, files)) == ["hubferry.pull.a -> hubferry.pull.b -> hubferry.pull.c -> hubferry.pull.a"]


def test_the_whole_tree_is_read() -> None:
    assert len(list(SOURCE.rglob("*.py"))) > 30
    assert (SOURCE / "core" / "exchange.py").exists()


def tree(root: Path, files: dict[str, str]) -> Path:
    package = root / "hubferry"
    for name, text in files.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return package


GOOD: dict[str, str] = {
    "__init__.py": '__version__ = "0"',
    "core/scope.py": "import re; from urllib.parse import quote; from hubferry.core import a; from . import b",
    "core/errors.py": "import json; from .scope import x",
    "ports.py": "from typing import Protocol; from hubferry.core.scope import x\nasync def f(): ...",
    "remote/fetch.py": "import asyncio; from hubferry.ports import x; from .b import y; from ..core import c",
    "pull/blobs.py": "from hubferry.remote.fetch import x; from hubferry.core.http import Headers",
    "gateway/login.py": "from hubferry.pull.blobs import x; from hubferry.core.http import Request",
    "transport/client.py": "import socket; import pyreqwest; from hubferry.core.b import x; from ..ports import y",
    "store/disk.py": "import sqlite3; from hubferry.ports import x",
    "fill.py": "import asyncio; from hubferry.core import ranges",
    "pages/home.py": "import json, jinja2.ext; from hubferry import __version__; from hubferry.core.b import y",
    "pages/__init__.py": "from hubferry.pages.home import x; from .home import y",
    "server/app.py": "import starlette; from hubferry import __version__; from hubferry.transport.client import x",
    "server/pages.py": "from hubferry.pages.home import x",
    "worker/main.py": "import js; from hubferry.gateway import Gateway; from hubferry.ports import x",
    "worker/pages.py": "from hubferry import __version__, pages; from hubferry.pages.home import x",
    "cli/serve.py": "import click; from hubferry.server import a; from hubferry.worker import b; import hubferry",
}


def test_a_tree_that_keeps_the_rules_passes(tmp_path: Path) -> None:
    assert problems(tree(tmp_path, GOOD)) == []


BROKEN: dict[str, tuple[str, str, str]] = {
    # name: file, its text, words of the problem
    "core takes a client": ("core/a.py", "import pyreqwest\n", "core imports pyreqwest"),
    "core waits": ("core/a.py", "import asyncio\n", "core imports asyncio"),
    "core opens sockets": ("core/a.py", "from socket import socket\n", "core imports socket"),
    "core reads the environment": ("core/a.py", "from os import environ\n", "core imports os"),
    "core reads the environment by a submodule": ("core/a.py", "import os.path\n", "core imports os.path"),
    "core reads the clock": ("core/a.py", "from time import monotonic\n", "core imports time"),
    "core reads the clock by datetime": ("core/a.py", "from datetime import datetime\n", "core imports datetime"),
    "core logs": ("core/a.py", "import logging\n", "core imports logging"),
    "core draws lots": ("core/a.py", "import random\n", "core imports random"),
    "core reads files": ("core/a.py", "from pathlib import Path\n", "core imports pathlib"),
    "core opens files": ("core/a.py", "x = open('a')\n", "core calls open()"),
    "core prints": ("core/a.py", "print(1)\n", "core calls print()"),
    "core fetches": ("core/a.py", "import urllib.request\n", "core imports urllib.request"),
    "core fetches, by name": ("core/a.py", "from urllib import request\n", "core imports urllib"),
    "core is async": ("core/a.py", "async def f(): ...\n", "core is not async"),
    "core has state": ("core/a.py", "x = 1\ndef f():\n    global x\n    x = 2\n", "no mutable globals"),
    "core knows ports": ("core/a.py", "from hubferry.ports import x\n", "core imports ports"),
    "core knows ports, relatively": ("core/a.py", "from ..ports import x\n", "core imports ports"),
    "core knows ports, as a name": ("core/a.py", "from hubferry import ports\n", "core imports ports"),
    "core knows the package": ("core/a.py", "from hubferry import __version__\n", "core imports hubferry"),
    "core knows pull in a function": ("core/a.py", "def f():\n    import hubferry.pull\n", "core imports pull"),
    "core knows pull for types": (
        "core/a.py",
        "if TYPE_CHECKING:\n    from hubferry.pull import x\n",
        "core imports pull",
    ),
    "core deep down": ("core/b/c.py", "import socket\n", "core imports socket"),
    "ports know pull": ("ports.py", "from hubferry.pull import x\n", "ports imports pull"),
    "ports know a package": ("ports.py", "import starlette\n", "ports imports starlette"),
    "pull knows the server": ("pull/a.py", "from hubferry.server import x\n", "pull imports server"),
    "pull knows sockets": ("pull/a.py", "from ..transport import x\n", "pull imports transport"),
    "remote knows pull": ("remote/a.py", "from hubferry.pull import x\n", "remote imports pull"),
    "remote knows what is kept": ("remote/a.py", "from hubferry.store import x\n", "remote imports store"),
    "remote knows clients": ("remote/a.py", "from hubferry.core.http import Request\n", "the request of a client"),
    "pull knows HTTP answers": ("pull/a.py", "from hubferry.gateway.answer import x\n", "pull imports gateway"),
    "pull knows HTTP requests": ("pull/a.py", "from hubferry.core.http import Headers, Request\n", "the request of a"),
    "gateway knows sockets": ("gateway/a.py", "from hubferry.transport import x\n", "gateway imports transport"),
    "gateway knows a shell": ("gateway/a.py", "from ..server import x\n", "gateway imports server"),
    "gateway knows a package": ("gateway/a.py", "import starlette\n", "gateway imports starlette"),
    "pull knows a package": ("pull/a.py", "import joserfc\n", "pull imports joserfc"),
    "transport knows pull": ("transport/a.py", "from hubferry.pull import x\n", "transport imports pull"),
    "store knows transport": ("store/a.py", "from hubferry.transport import x\n", "store imports transport"),
    "fill knows store": ("fill.py", "from hubferry.store import x\n", "fill imports store"),
    "pages know upstreams": ("pages/a.py", "from hubferry.remote import x\n", "pages imports remote"),
    "pages know the store": ("pages/a.py", "from hubferry.store import x\n", "pages imports store"),
    "pages know server": ("pages/a.py", "from ..server import x\n", "pages imports server"),
    "pages know worker": ("pages/a.py", "from hubferry.worker import x\n", "pages imports worker"),
    "pages know another package": (
        "pages/a.py",
        "import starlette.responses\n",
        "pages imports starlette.responses, which is not of the standard library or jinja2",
    ),
    "core knows the package of pages": ("core/a.py", "import jinja2\n", "core imports jinja2"),
    "core knows pages": ("core/a.py", "from hubferry.pages import x\n", "core imports pages"),
    "pull knows pages": ("pull/a.py", "from hubferry.pages import x\n", "pull imports pages"),
    "transport knows pages": ("transport/a.py", "from hubferry.pages import x\n", "transport imports pages"),
    "cli knows pages": ("cli/a.py", "from hubferry.pages import x\n", "cli imports pages"),
    "server knows worker": ("server/a.py", "from hubferry.worker import x\n", "server imports worker"),
    "server knows cli": ("server/a.py", "import hubferry.cli.load\n", "server imports cli"),
    "worker knows server": ("worker/a.py", "from hubferry.server.seal import x\n", "worker imports server"),
    "worker knows sockets": ("worker/a.py", "from hubferry.transport import x\n", "worker imports transport"),
    "the package knows its parts": ("__init__.py", "from hubferry.core import x\n", "hubferry imports core"),
    "a part without a rule": ("extras/a.py", "", "no rule"),
}


@pytest.mark.parametrize(("name", "text", "words"), BROKEN.values(), ids=BROKEN.keys())
def test_whoever_breaks_a_rule_is_found(tmp_path: Path, name: str, text: str, words: str) -> None:
    found = problems(tree(tmp_path, {**GOOD, name: text}))
    assert len(found) == 1, found
    assert words in found[0]
    assert name in found[0]
