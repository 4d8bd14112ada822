"""Token scopes: parse what a client asks for, and write the scope that an upstream is asked for, limited to pull.

Pure. Distribution, "Token Scope Documentation": a scope is `type:name:action,action`, and several scopes are joined by
spaces. A name may contain a colon (`host:5000/app`), so the parts are divided at the first and at the last colon.
Invariant: no scope that this module writes allows more than `pull`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

PULL = "pull"
MAX_SCOPES = 16  # docker asks for one or two; a client that asks for more than 16 only causes work


@dataclass(frozen=True, slots=True)
class Scope:
    """One resource scope that a client asks for.

    `kind` is the resource type, such as `repository`; `name` is the repository as the client wrote it.
    """

    kind: str
    name: str
    actions: frozenset[str]

    @property
    def wants_pull(self) -> bool:
        """Whether the scope asks to pull from a repository. The action `*` stands for every action."""
        return self.kind == "repository" and bool(self.actions & {PULL, "*"})


def parse_scope(text: str) -> Scope | None:
    """Parse one scope. Return None when the text is not of the form `type:name:actions`."""
    kind, first, rest = text.partition(":")
    name, last, actions = rest.rpartition(":")
    kind = kind.partition("(")[0]  # `repository(plugin)`: the class does not matter for pulling
    if not (first and last and kind and name):
        return None
    return Scope(kind, name, frozenset(a for a in actions.split(",") if a))


def parse_scopes(values: Iterable[str]) -> list[Scope]:
    """Return the well-formed scopes of all `scope` parameters, at most MAX_SCOPES.

    Each value may contain several scopes, joined by spaces.
    """
    found = [scope for value in values for text in value.split() if (scope := parse_scope(text))]
    return found[:MAX_SCOPES]


def pull_scope(repository: str) -> str:
    """Return the scope for pulling from a repository: `repository:NAME:pull`."""
    return f"repository:{repository}:{PULL}"


def narrow_upstream_scope(asked: str, repository: str) -> str:
    """Return the scope to ask an upstream's token service for, given the scope in the upstream's challenge (`asked`).

    The result allows pulling from `repository` and nothing else, even when the challenge demands push or another
    repository. Words in `asked` that are not resource scopes are kept, because they are the upstream's own
    (public.ecr.aws challenges with `scope="aws"`). `repository` may be empty.
    """
    opaque = [text for text in asked.split() if re.fullmatch(r"[A-Za-z0-9_.-]+", text)]
    own = [pull_scope(repository)] if repository else []
    return " ".join([*own, *opaque])
