"""Reads the imports of a source tree and says which ones break the house rules.

Nothing is imported or executed: the trees are read with `ast`, so an import inside a function or a type-checking
block counts as well.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# What performs I/O, waits, reads clock or environment, logs or draws lots: not for the core.
IMPURE = frozenset(
    {
        "asyncio", "concurrent", "contextvars", "datetime", "fcntl", "getpass", "glob", "http", "importlib", "io",
        "logging", "mmap", "multiprocessing", "os", "pathlib", "random", "secrets", "select", "selectors",
        "shutil",
        "signal", "socket", "socketserver", "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "time",
        "urllib.request", "uuid", "warnings", "zoneinfo",
    }
)  # fmt: skip
IMPURE_CALLS = frozenset({"open", "print", "input", "exec", "eval", "__import__", "breakpoint", "compile"})

# part -> parts of hubferry it may import
ALLOWED: dict[str, frozenset[str]] = {
    "core": frozenset({"core"}),
    "ports": frozenset({"core", "ports"}),
    "clock": frozenset(),
    "transport": frozenset({"core", "ports", "transport"}),
    "store": frozenset({"core", "ports", "store"}),
    "fill": frozenset({"core", "ports", "fill"}),
    "remote": frozenset({"core", "ports", "remote"}),
    "pull": frozenset({"core", "ports", "remote", "pull"}),
    "gateway": frozenset({"core", "ports", "remote", "pull", "gateway"}),
    "pages": frozenset({"core", "ports", "pull", "gateway", "pages", ""}),
    "worker": frozenset({"core", "ports", "clock", "pull", "remote", "gateway", "pages", "worker", ""}),
    "server": frozenset(
        {"core", "ports", "clock", "transport", "store", "fill", "remote", "pull", "gateway", "pages", "server", ""}
    ),
    # asks upstreams with the server's own code, step by step
    "doctor": frozenset({"core", "ports", "clock", "transport", "remote", "server", "doctor"}),
    "setup": frozenset({"core", "setup"}),
    "cli": frozenset({"core", "ports", "store", "pull", "server", "worker", "doctor", "setup", "cli", ""}),
    "": frozenset(),
}
# part -> packages it may import beside the standard library; the others may import any
PACKAGES: dict[str, frozenset[str]] = {
    "core": frozenset(),
    "ports": frozenset(),
    "remote": frozenset(),
    "pull": frozenset(),
    "gateway": frozenset(),
    "pages": frozenset({"jinja2"}),
    "setup": frozenset({"tomlkit", "ruamel"}),
}
# parts that answer questions for others than HTTP clients: they know no request and no answer of ours
WITHOUT_REQUESTS = frozenset({"remote", "pull", "store", "fill"})


@dataclass(frozen=True)
class Import:
    """`name` is imported, absolute, with the names taken from it as separate imports."""

    path: Path
    line: int
    module: str
    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


def problems(root: Path, package: str = "hubferry") -> list[str]:
    """Everything in the tree of a package that breaks a rule; `root` is the folder of the package."""
    found = []
    for path in sorted(root.rglob("*.py")):
        part = _part(path, root)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if part not in ALLOWED:
            found.append(f"{path}: the part {part!r} has no rule: add it to ALLOWED")
            continue
        for one in _imports(tree, path, root, package):
            found.extend(f"{one}: {problem}" for problem in _judge(one, part, package))
        if part == "core":
            found.extend(_impure_code(tree, path))
    return found


def cycles(root: Path, package: str = "hubferry") -> list[str]:
    """Modules that import each other, in a round, also where that is only for types; empty when there are none."""
    imported: dict[str, set[str]] = {}
    modules = {_module(path, root, package): path for path in root.rglob("*.py")}
    for module, path in modules.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        named = imported.setdefault(module, set())
        for one in _imports(tree, path, root, package):
            named.update({one.module, *(f"{one.module}.{name}" for name in one.names)} & modules.keys())
        named -= {module, package}
    return [" -> ".join(found) for start in sorted(imported) if (found := _round(start, imported))]


def _module(path: Path, root: Path, package: str) -> str:
    parts = [package, *path.relative_to(root).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _round(start: str, imported: dict[str, set[str]]) -> list[str]:
    """A way from a module back to it, told by its first module in the alphabet only."""
    ways, seen = [[start]], {start}
    for way in ways:
        for following in sorted(imported.get(way[-1], ())):
            if following == start:
                return [*way, start] if min(way) == start else []
            if following not in seen:
                seen.add(following)
                ways.append([*way, following])
    return []


def _part(path: Path, root: Path) -> str:
    first, *rest = path.relative_to(root).parts
    if rest:
        return first
    return "" if first in ("__init__.py", "__main__.py") else first.removesuffix(".py")


def _imports(tree: ast.AST, path: Path, root: Path, package: str) -> Iterator[Import]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(path, node.lineno, alias.name, ())
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                own = [package, *path.relative_to(root).parts[:-1]]
                above = own[: len(own) - node.level + 1]
                module = ".".join([*above, module] if module else above)
            yield Import(path, node.lineno, module, tuple(alias.name for alias in node.names))


def _judge(one: Import, part: str, package: str) -> Iterator[str]:
    top = one.module.partition(".")[0]
    if top != package:
        if part in PACKAGES and top not in sys.stdlib_module_names | PACKAGES[part]:
            known = " or ".join(["of the standard library", *PACKAGES[part]])
            yield f"{part} imports {one.module}, which is not {known}"
        if part == "core":
            dotted = {one.module, *(f"{one.module}.{name}" for name in one.names)}
            if top in IMPURE or dotted & IMPURE:
                yield f"core imports {one.module}, which touches the world"
        return
    if part in WITHOUT_REQUESTS and one.module == f"{package}.core.http" and "Request" in one.names:
        yield f"{part} imports the request of a client"
    for target in _targets(one, package):
        if target not in ALLOWED[part]:
            yield f"{part or package} imports {target or package}, which is not below it"


def _targets(one: Import, package: str) -> set[str]:
    """The parts of the package that an import reaches; "" is the package itself (its version)."""
    _, _, inside = one.module.partition(".")
    if inside:
        return {inside.partition(".")[0]}
    return {name if name in ALLOWED else "" for name in one.names} or {""}


def _impure_code(tree: ast.AST, path: Path) -> Iterator[str]:
    for node in ast.walk(tree):
        where = f"{path}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            yield f"{where}: core is not async"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS:
            yield f"{where}: core calls {node.func.id}()"
        elif isinstance(node, ast.Global):
            yield f"{where}: core has no mutable globals"
