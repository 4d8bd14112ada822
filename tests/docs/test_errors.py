"""docs/errors.md has every status and code that hubferry answers, and no other; read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from hubferry.core.errors import RELAYED, Asked, Code, relay_error
from hubferry.ports.upstream import Cause
from hubferry.pull.results import OutcomeName
from tests.docs.markdown import ROOT, code_of, page

SOURCE = ROOT / "src" / "hubferry"
# core/errors.py makes its errors from RELAYED and from what was asked; the other modules say both outright.
COMPUTED = {"core/errors.py"}


def calls(path: Path, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == name:
            yield node


def raised() -> set[tuple[int, str]]:
    pairs = {(ours, code.value) for ours, code, _ in RELAYED.values() if ours != 404}
    pairs |= {(404, code) for code in unknown_codes()}
    pairs.add((502, relay_error(500, (), Asked("docker.io", "a", "b")).code.value))
    for path in SOURCE.rglob("*.py"):
        if path.relative_to(SOURCE).as_posix() in COMPUTED:
            continue
        for call in calls(path, "OciError"):
            status, code = call.args[0], call.args[1]
            assert isinstance(status, ast.Constant), f"{path.name}:{call.lineno}: a status that is no number"
            assert isinstance(status.value, int)
            assert isinstance(code, ast.Attribute), f"{path.name}:{call.lineno}: a code that is no Code.NAME"
            pairs.add((status.value, Code[code.attr].value))
    return pairs


def unknown_codes() -> set[str]:
    """What a 404 of an upstream becomes: the default of Asked, and what its callers say."""
    codes = {Asked("", "", "").unknown.value}
    for path in SOURCE.rglob("*.py"):
        for call in calls(path, "Asked"):
            codes |= {arg.attr for arg in call.args if isinstance(arg, ast.Attribute) and arg.attr in Code.__members__}
        for call in calls(path, "ListQuery"):
            codes |= {word.value.attr for word in call.keywords if isinstance(word.value, ast.Attribute)}
    return codes


def test_every_answer_is_documented_and_no_other() -> None:
    rows = page("docs/errors.md").section("Every answer").rows
    documented = {(int(status), code_of(code)[0]) for status, code, *_ in rows}
    assert documented == raised()


def test_every_code_is_documented() -> None:
    words = set(page("docs/errors.md").code_words)
    assert {code.value for code in Code} <= words


def test_what_becomes_of_an_upstreams_status() -> None:
    rows = page("docs/errors.md").section("What becomes of an upstream's status").rows
    assert [row[0] for row in rows] == [str(status) for status in RELAYED] + ["any other"]
    for upstream, client, codes in rows:
        status = 500 if upstream == "any other" else int(upstream)
        error = relay_error(status, (), Asked("docker.io", "a", "b"))
        assert int(client) == error.status, upstream
        if upstream == "404":
            assert set(code_of(codes)) == unknown_codes()
        elif error.status != 404:
            assert code_of(codes) == [error.code.value], upstream


def test_every_cause_is_documented() -> None:
    rows = page("docs/errors.md").section("Why an upstream cannot be reached").rows
    assert {code_of(row[0])[0] for row in rows} == {cause.name.lower() for cause in Cause}


def test_every_event_and_outcome_of_the_log_is_documented() -> None:
    events, outcomes = set(), {*get_args(OutcomeName), "local"} - {""}
    for path in SOURCE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for name in ("info", "warning", "error", "exception", "log", "_report"):
            for call in calls(path, name):
                if "log" in ast.unparse(call.func) or name == "_report":
                    events |= {
                        a.value for a in call.args[:2] if isinstance(a, ast.Constant) and isinstance(a.value, str)
                    }
        if '"request"' in text:
            events.add("request")
    tables = page("docs/errors.md").section("In the log").tables
    shown_outcomes, shown_events = ({word for row in table[1:] for word in code_of(row[0])} for table in tables)
    assert shown_outcomes == outcomes
    assert shown_events == events - {"request"}
    assert "`request`" in page("docs/errors.md").text
