"""A difference is shown, and no secret with it."""

import pytest

from hubferry.core.client_files.shown import format_diff, mask_line

SECRET = "hubferry_" + "0123456789" * 4


def test_a_difference() -> None:
    assert format_diff("/x", "a\nb\n", "a\nc\n")[2:] == ["@@ -1,2 +1,2 @@", " a", "-b", "+c"]
    assert format_diff("/x", None, "a\n")[:2] == ["--- /dev/null", "+++ /x"]
    assert format_diff("/x", "a\n", None)[:2] == ["--- /x", "+++ /dev/null"]
    assert format_diff("/x", "a\n", "a\n") == []


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (f'+"registry-mirrors": ["https://hub/{SECRET}"]', '+"registry-mirrors": ["https://hub/hubferry_********"]'),
        ("       password: word", "       password: ********"),
        ('  "identitytoken": "word",', '  "identitytoken": ********'),
        ("  auth:", "  auth:"),
        ("  auth = {", "  auth = {"),
        ('"http-proxy": "http://me:word@proxy:3128"', '"http-proxy": "http://********@proxy:3128"'),
        ('location = "hub/docker.io"', 'location = "hub/docker.io"'),
    ],
)
def test_secrets_are_masked(line: str, shown: str) -> None:
    assert mask_line(line) == shown
