"""deploy/cloudflare and docs/worker.md: what they name exists, and a deployment of them is found by its owner only."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest

from hubferry.core.settings import SECTIONS, UpstreamSettings
from hubferry.worker.settings import MEANT, read_settings
from tests.docs.markdown import DEPLOY, ROOT, code_of, page

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = ROOT / DEPLOY
# a string, a comment, or a comma before a closing bracket: all that JSONC has beside JSON
_JSONC = re.compile(r'("(?:[^"\\]|\\.)*")|//[^\n]*|/\*.*?\*/|,(?=\s*[}\]])', re.DOTALL)
_EXAMPLE = re.compile(r'^(\s*)// ( *["{\]])', re.MULTILINE)
KEY = "A" * 43  # 32 bytes of zero
TABLES = {f"[{name}]": cls for name, cls in SECTIONS.items()} | {'[upstreams."NAME"]': UpstreamSettings}


def read_jsonc(text: str) -> Any:
    without_comments = _JSONC.sub(lambda match: match[1] or (" " if match[0] == "," else ""), text)
    return json.loads(_JSONC.sub(lambda match: match[1] or "", without_comments))


def wrangler(*, with_examples: bool) -> dict[str, Any]:
    text = (FOLDER / "wrangler.jsonc").read_text(encoding="utf-8")
    found: dict[str, Any] = read_jsonc(_EXAMPLE.sub(r"\1\2", text) if with_examples else text)
    return found


def settings_of_the_table(column: int) -> dict[str, set[str]]:
    return {code_of(row[0])[0]: set(code_of(row[column])) for row in page("docs/worker.md").section("Settings").rows}


def examples_of_the_instructions() -> list[dict[str, Any]]:
    blocks = [json.loads(f.body) for f in page(f"{DEPLOY}/README.md").fences if f.info == "json"]
    return [block for block in blocks if "routes" in block]


@pytest.mark.parametrize("with_examples", [False, True])
def test_the_configuration_is_one_for_wrangler(*, with_examples: bool) -> None:
    read = wrangler(with_examples=with_examples)
    assert read["main"] == "bundle/entry.py"
    assert read["compatibility_flags"] == ["python_workers"]
    assert ("routes" in read) == with_examples
    assert all(isinstance(value, str) for value in read["vars"].values()), "variables are text"


def test_the_build_makes_what_is_deployed(tmp_path: Path) -> None:
    read = wrangler(with_examples=False)
    program, script = read["build"]["command"].split()
    assert program == "python"
    subprocess.run([sys.executable, FOLDER / script, "--to", tmp_path / "bundle"], check=True)
    assert (tmp_path / read["main"]).is_file()
    assert (tmp_path / "bundle/hubferry/worker/__init__.py").is_file()


def test_nobody_finds_it_by_chance_and_no_header_is_logged() -> None:
    read = wrangler(with_examples=True)
    assert read["workers_dev"] is False
    assert read["preview_urls"] is False
    assert read["observability"]["logs"]["invocation_logs"] is False
    assert all(route["custom_domain"] for route in read["routes"])


def test_the_variables_are_settings() -> None:
    documents = [wrangler(with_examples=True), *examples_of_the_instructions()]
    assert len(documents) == 3
    for read in documents:
        variables = read.get("vars", {})
        settings = read_settings({**variables, "HUBFERRY_ACCESS__TOKEN_KEY": KEY})
        hosts = {host for upstream in settings.upstreams.values() for host in upstream.hosts}
        assert hosts <= {route["pattern"] for route in read["routes"]}


def test_no_secret_is_a_variable() -> None:
    for read in (wrangler(with_examples=True), *examples_of_the_instructions()):
        assert not [name for name in read.get("vars", {}) if name.endswith(("TOKEN_KEY", "PASSWORD"))]


def test_every_setting_either_holds_in_a_worker_or_is_refused() -> None:
    holds, refused = settings_of_the_table(1), settings_of_the_table(2)
    assert set(holds) == set(TABLES)
    for title, cls in TABLES.items():
        section = "upstreams" if cls is UpstreamSettings else title.strip("[]")
        assert holds[title] == MEANT[section], title
        assert refused[title] == {f.name for f in fields(cls)} - MEANT[section], title


def test_the_python_is_the_one_of_the_runtime() -> None:
    project = tomllib.loads((FOLDER / "pyproject.toml").read_text(encoding="utf-8"))
    read = wrangler(with_examples=False)
    pyodide = json.loads((ROOT / "tests/worker/harness/package.json").read_text(encoding="utf-8"))["dependencies"][
        "pyodide"
    ]
    for name in (read["compatibility_date"], pyodide):
        assert name in (FOLDER / "wrangler.jsonc").read_text(encoding="utf-8")
    assert project["project"]["requires-python"] == "==3.14.*"
    assert f"Pyodide {pyodide} (Python 3.14)" in page("docs/worker.md").text


def test_comments_are_told_from_text() -> None:
    assert read_jsonc('{"a": "http://b,]", /* c */ "d": [1, // e\n ], "f": "\\"//", }') == {
        "a": "http://b,]",
        "d": [1],
        "f": '"//',
    }


def test_what_is_deployed_is_what_was_tested() -> None:
    project = tomllib.loads((FOLDER / "pyproject.toml").read_text(encoding="utf-8"))
    pinned = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    tested = (ROOT / "tests/worker/harness/requirements.txt").read_text(encoding="utf-8")
    for name in ("jinja2", "workers-runtime-sdk"):
        assert [one for one in pinned if one.startswith(name)] == re.findall(rf"^{name}==[\d.]+", tested, re.MULTILINE)
