"""The line that says what is waited for: on a terminal it is there and goes away, elsewhere there is none."""

import pyte
import pytest

from hubferry.cli.waiting import Waiting
from tests.cli.test_output import on_terminal

CODE = """
from hubferry.cli.output import print_marked
from hubferry.cli.waiting import Waiting
with Waiting() as waiting:
    waiting.show("one [of] two")
    with waiting.paused():
        print_marked("ok", "a result")
    waiting.show("two")
"""


def test_it_is_shown_and_taken_away() -> None:
    shown = on_terminal(CODE)
    assert "waiting for one [of] two" in shown
    assert "waiting for two" in shown
    screen = pyte.Screen(60, 20)
    pyte.Stream(screen).feed(shown)
    assert [line.strip() for line in screen.display if line.strip()] == ["ok       a result"]


def test_elsewhere_there_is_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with Waiting() as waiting, waiting.paused():
        waiting.show("something")
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
