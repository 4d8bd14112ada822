"""Every public method says what it does, unless a Protocol or a base class says so already.

Ruff's D102 knows no exception for implementations of a Protocol. It would breed docstrings such as "See Index", which
say nothing.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import hubferry

SOURCE = Path(hubferry.__file__).parent


def undocumented(sources: dict[str, str]) -> list[str]:
    """Return the public methods, as "file: Class.method", whose docstrings are missing."""
    trees = {name: ast.parse(source) for name, source in sources.items()}
    promised = {
        method.name
        for tree in trees.values()
        for one in _classes(tree)
        if any(ast.unparse(base).startswith("Protocol") for base in one.bases)
        for method in _methods(one)
    }
    return [
        f"{name}: {one.name}.{method.name}"
        for name, tree in trees.items()
        for one in _classes(tree)
        for method in _methods(one)
        if not ast.get_docstring(method) and not _is_said_elsewhere(one, method.name, promised)
    ]


def _is_said_elsewhere(one: ast.ClassDef, method: str, promised: set[str]) -> bool:
    bases = {ast.unparse(base).partition("[")[0] for base in one.bases}
    if bases & {"Protocol", "NamedTuple", "Enum", "StrEnum"}:
        return False
    return method in promised or bool(bases)


def _classes(tree: ast.AST) -> Iterator[ast.ClassDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and not node.name.startswith("_"))


def _methods(one: ast.ClassDef) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in one.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield node


def test_every_public_method_says_what_it_does() -> None:
    assert undocumented({str(file.relative_to(SOURCE)): file.read_text() for file in SOURCE.rglob("*.py")}) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("class A:\n    def f(self): ...", ["a.py: A.f"]),
        ("class A:\n    async def f(self): ...", ["a.py: A.f"]),
        ("class A:\n    def f(self):\n        'Says it.'", []),
        ("class A:\n    def _f(self): ...\nclass _B:\n    def f(self): ...", []),
        ("class A(Protocol):\n    def f(self): ...", ["a.py: A.f"]),
        ("class A(Protocol):\n    def f(self):\n        'Says it.'\nclass B:\n    def f(self): ...", []),
        ("class A(Protocol[T]):\n    def f(self):\n        'Says it.'\nclass B:\n    def g(self): ...", ["a.py: B.g"]),
        ("class A(Base):\n    def f(self): ...", []),
        ("class A(StrEnum):\n    def f(self): ...", ["a.py: A.f"]),
    ],
)
def test_what_counts_as_said(source: str, found: list[str]) -> None:
    assert undocumented({"a.py": source}) == found
