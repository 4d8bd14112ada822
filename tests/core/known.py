"""Marks for tests that state a rule the code breaks today: they fail the run as soon as the code obeys it."""

import pytest


def bug(reason: str) -> pytest.MarkDecorator:
    """A strict expected failure: remove the mark together with the bug."""
    return pytest.mark.xfail(strict=True, reason=reason)
