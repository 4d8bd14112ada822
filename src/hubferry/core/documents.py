"""JSON that others wrote, read without being led into the depth.

Pure. A reader that recurses ends at some depth; CPython raises RecursionError there, but under Pyodide the whole
process is lost. Nothing that a registry says is nested more than a few levels deep.
"""

import json
import re
from collections.abc import Callable
from typing import Any

MAX_DEPTH = 100
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def parse_json(text: bytes, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """The document; `pairs` makes something of each object's (name, value) pairs. Raises ValueError, also for depth."""
    if text.count(b"[") + text.count(b"{") > MAX_DEPTH and _is_deep(text):
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    return json.loads(text, object_pairs_hook=pairs)


def _is_deep(text: bytes) -> bool:
    """Whether brackets are nested too deep, or do not match."""
    brackets = _STRING.sub(b"", text).translate(None, _NO_BRACKETS)
    for _ in range(MAX_DEPTH):
        if not brackets:
            return False
        shallower = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if shallower == brackets:
            return True
        brackets = shallower
    return bool(brackets)
