"""Make targets, commands and dependencies: what there is is documented, and what is documented is there."""

from __future__ import annotations

import re
import subprocess
import tomllib

import click
import pytest

from hubferry.cli import main
from tests.docs.markdown import ROOT, all_pages, code_of, page


def targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))


def commands(group: click.Group, path: str = "hubferry") -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found |= commands(command, f"{path} {name}")
        else:
            found[f"{path} {name}"] = command
    return found


def test_every_make_target_is_documented() -> None:
    rows = page("CONTRIBUTING.md").section("The workshop").rows
    assert {code_of(row[0])[0] for row in rows} == {f"make {target}" for target in targets()}


def test_no_document_names_a_make_target_that_is_gone() -> None:
    for document in all_pages():
        written = " ".join([*document.code_words, *(fence.body for fence in document.fences)])
        named = set(re.findall(r"\bmake ([a-z][a-z-]*)", written))
        assert named <= targets(), document.path.name


def test_every_command_is_documented_with_its_options() -> None:
    rows = {code_of(row[0])[0]: row[1] for row in page("docs/configuration.md").section("Command line").rows}
    known = commands(main)
    assert {re.sub(r"( \[?[A-Z]+\]?(\.\.\.)?)+$", "", name) for name in rows} == set(known)
    for name, command in known.items():
        shown = next(f"{key} {text}" for key, text in rows.items() if key.startswith(name))
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                for option in (*parameter.opts, *parameter.secondary_opts):
                    assert re.search(rf"{re.escape(option)}\b", shown), f"{name} {option}"
            else:
                assert parameter.make_metavar(click.Context(command)) in shown, f"{name} {parameter.name}"


def test_no_document_names_a_command_that_is_gone() -> None:
    known = set(commands(main)) | {f"hubferry {group}" for group in ("config", "cache", "access", "user", "token")}
    for document in all_pages():
        written = "\n".join([*document.code_words, *(f.body for f in document.fences if f.info.startswith("sh"))])
        named = set(
            re.findall(
                r"(?:^|\s|bin/)(hubferry (?:(?:config|cache|access|user|token) \w+|[a-z]+))", written, re.MULTILINE
            )
        )
        assert named <= known, document.path.name


def pins(name: str) -> dict[str, str]:
    """What a list pins: package -> version and hashes, whatever the Python that it is for."""
    text = (ROOT / name).read_text(encoding="utf-8")
    entries = re.findall(r"^([a-z0-9][a-z0-9._-]*)==(\S+).*((?:\n    --hash.*)*)", text, re.MULTILINE)
    return {package: version + hashes for package, version, hashes in entries}


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9._-]", requirement)[0] for requirement in requirements}


def test_the_list_to_run_with_has_all_of_that_and_nothing_of_the_developers() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    run, dev = pins("requirements.lock"), pins("requirements-dev.lock")
    assert names(project["project"]["dependencies"]) <= set(run)
    assert names(project["dependency-groups"]["dev"]) <= set(dev)
    assert not {"pytest", "mypy", "ruff", "hypothesis", "psutil"} & set(run)
    assert all("--hash=sha256:" in pinned for pinned in dev.values())
    assert run == {package: dev.get(package) for package in run}, "the same versions: neither undoes the other"


def test_a_mirror_of_the_package_index_is_named_by_pips_own_variable() -> None:
    """The READMEs name PIP_INDEX_URL: what `make run` runs may name no other index, and hide no variables from pip."""
    for name in ("scripts/install", "requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert not re.search(r"--(extra-)?index-url|--isolated|PIP_\w*INDEX_URL|pip install.* -i ", text), name
    assert "--require-hashes" in (ROOT / "scripts/install").read_text(encoding="utf-8")
    for readme in ("README.md", "README.zh-CN.md"):
        assert any("PIP_INDEX_URL=" in fence.body for fence in page(readme).fences)


@pytest.mark.parametrize("target", sorted(targets() - {"clients", "install-debian", "clean"}))
def test_to_run_nothing_of_the_developers_is_installed(target: str) -> None:
    planned = subprocess.run(
        ["make", "--always-make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    installs = re.findall(r"^scripts/install (\w+)$", planned, re.MULTILINE)
    assert installs == (["run"] if target in ("run", "install-run", "lock") else ["run", "dev"])


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = {
        "At run time": project["project"]["dependencies"],
        "For development": project["dependency-groups"]["dev"],
    }
    for title, requirements in groups.items():
        rows = page("docs/dependencies.md").section(title).rows
        assert {code_of(row[0])[0] for row in rows} == names(requirements), title
        assert all(row[1] for row in rows), title


def test_the_changelog_has_the_version_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert f"## [{project['project']['version']}]" in page("CHANGELOG.md").text
