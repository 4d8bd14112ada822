"""Token scopes: parse what a client asks for, narrow it to pull, and write what an upstream is asked for.

Pure. Distribution "Token Scope Documentation": `type:name:action,action`, several joined by spaces; a name may
hold a colon (`host:5000/app`), so the first and the last colon divide.
Invariant: what leaves this module grants nothing but `pull`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

PULL = "pull"
MAX_SCOPES = 16  # docker asks for one or two; more is somebody making work


@dataclass(frozen=True, slots=True)
class Scope:
    """One resource scope as asked for: `repository`, its name as the client wrote it, the actions."""

    kind: str
    name: str
    actions: frozenset[str]

    @property
    def wants_pull(self) -> bool:
        """Whether pull is among the actions; `*` stands for every action."""
        return self.kind == "repository" and bool(self.actions & {PULL, "*"})


def parse_scope(text: str) -> Scope | None:
    """One scope, or None when it is not of the form `type:name:actions`."""
    kind, first, rest = text.partition(":")
    name, last, actions = rest.rpartition(":")
    kind = kind.partition("(")[0]  # `repository(plugin)`: the class does not matter for pulling
    if not (first and last and kind and name):
        return None
    return Scope(kind, name, frozenset(a for a in actions.split(",") if a))


def parse_scopes(values: Iterable[str]) -> list[Scope]:
    """Every well-formed scope of repeated and of space-joined parameters, at most MAX_SCOPES of them."""
    found = [scope for value in values for text in value.split() if (scope := parse_scope(text))]
    return found[:MAX_SCOPES]


def pull_scope(repository: str) -> str:
    """`repository:NAME:pull`."""
    return f"repository:{repository}:{PULL}"


def narrow_upstream_scope(asked: str, repository: str) -> str:
    """The scope to ask an upstream's token service for, given the scope of its challenge.

    Only pull on the one repository; a scope of the upstream's own making that is not a resource scope is kept
    (public.ecr.aws challenges with `scope="aws"`). An upstream that demands push or another repository gets
    neither.
    """
    opaque = [text for text in asked.split() if re.fullmatch(r"[A-Za-z0-9_.-]+", text)]
    own = [pull_scope(repository)] if repository else []
    return " ".join([*own, *opaque])
