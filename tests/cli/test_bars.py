"""What `hubferry warm` shows of layers on their way: bars on a terminal, lines elsewhere."""

import io
import re

import pyte
import pytest

from hubferry.cli.bars import TELL_S, Bars, FileBar
from hubferry.core.descriptors import Descriptor
from hubferry.core.human import human_size, human_time

MIB = 2**20
ONE, TWO = (Descriptor(f"sha256:{letter * 64}", 100 * MIB) for letter in "ab")


class Watch:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Terminal:
    """Bars on a terminal of so many columns, and what it shows."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, columns: int = 100) -> None:
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("LINES", "20")
        self._out = io.StringIO()
        self._columns = columns
        self.watch = Watch()
        self.bars = Bars(self._out, is_terminal=True, now=self.watch)

    def pass_s(self, seconds: float, grown: dict[Descriptor, int] | None = None) -> None:
        """Time goes on in tenths of a second, in which layers grow from nothing to so many bytes."""
        for tenth in range(round(seconds * 10)):
            self.watch.now_s += 0.1
            for layer, size_bytes in (grown or {}).items():
                self.bars.grew(layer, size_bytes * (tenth + 1) // round(seconds * 10))
            self.bars.tick()

    @property
    def lines(self) -> list[str]:
        screen = pyte.Screen(self._columns, 20)
        pyte.Stream(screen).feed(self._out.getvalue().replace("\n", "\r\n"))
        return [line.rstrip() for line in screen.display if line.strip()]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    return Terminal(monkeypatch)


def test_a_bar_has_bytes_rate_and_time_left(terminal: Terminal) -> None:
    terminal.bars.began(ONE, 0)
    terminal.pass_s(5, {ONE: 50 * MIB})
    [line] = terminal.lines
    assert re.fullmatch(r"sha256:a{12} ━+[╸╺]?━*\s+50\.0MiB/100\.0MiB\s+10\.\dMiB/s\s+5s left", line), line


@pytest.mark.parametrize("columns", [20, 60, 80, 200])
def test_a_bar_never_wraps(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    terminal = Terminal(monkeypatch, columns)
    terminal.bars.began(ONE, 0)
    terminal.pass_s(1, {ONE: 10 * MIB})
    assert len(terminal.lines) == 1


def test_what_was_there_is_no_rate(terminal: Terminal) -> None:
    terminal.bars.began(ONE, 60 * MIB)
    terminal.pass_s(1, {ONE: 60 * MIB})
    assert re.search(r"60\.0MiB/100\.0MiB\s+0B/s", terminal.lines[0])
    for second in range(1, 4):
        terminal.watch.now_s += 1
        terminal.bars.grew(ONE, (60 + 10 * second) * MIB)
    assert re.search(r"90\.0MiB/100\.0MiB\s+10\.0MiB/s", terminal.lines[0])


def test_a_stall_is_seen(terminal: Terminal) -> None:
    terminal.bars.began(ONE, 0)
    terminal.pass_s(2, {ONE: 20 * MIB})
    assert "left" in terminal.lines[0]
    terminal.pass_s(6)
    assert re.search(r"20\.0MiB/100\.0MiB\s+0B/s\s+stalled", terminal.lines[0])


def test_a_size_that_nobody_knows(terminal: Terminal) -> None:
    unknown = Descriptor(ONE.digest)
    terminal.bars.began(unknown, 0)
    terminal.pass_s(2, {unknown: 2 * MIB})
    assert re.search(r"\s2\.0MiB\s+1\.\dMiB/s$", terminal.lines[0])


def test_on_a_terminal_bars_stand_below_what_is_over(terminal: Terminal) -> None:
    bars, watch = terminal.bars, terminal.watch
    bars.say("nginx")
    bars.began(ONE, 0)
    bars.began(TWO, 0)
    watch.now_s += 1
    bars.grew(ONE, 10 * MIB)
    assert [line[:19].rstrip() for line in terminal.lines] == ["nginx", "sha256:aaaaaaaaaaaa", "sha256:bbbbbbbbbbbb"]
    watch.now_s += 1
    bars.grew(ONE, 100 * MIB)
    bars.ended(ONE, "fetched", "")
    nginx, over, left = terminal.lines
    assert (nginx, left[:19]) == ("nginx", "sha256:bbbbbbbbbbbb")
    assert re.fullmatch(r"  sha256:a{12}  fetched   100\.0MiB  50\.0MiB/s", over)
    bars.clear()
    assert terminal.lines == [nginx, over]


def test_elsewhere_there_are_lines_only() -> None:
    out, watch = io.StringIO(), Watch()
    bars = Bars(out, is_terminal=False, now=watch)
    bars.began(ONE, 40 * MIB)
    watch.now_s += 6
    bars.grew(ONE, 100 * MIB)
    bars.tick()
    assert out.getvalue() == ""
    bars.ended(ONE, "fetched", "")
    bars.ended(TWO, "kept", "")
    bars.clear()
    assert out.getvalue().splitlines() == [
        "  sha256:aaaaaaaaaaaa  fetched   100.0MiB  10.0MiB/s  (40.0MiB were there)",
        "  sha256:bbbbbbbbbbbb  kept      100.0MiB",
    ]


def test_elsewhere_what_takes_long_is_told_now_and_then() -> None:
    out, watch = io.StringIO(), Watch()
    bars = Bars(out, is_terminal=False, now=watch)
    bars.began(ONE, 0)
    for _ in range(700):
        watch.now_s += 0.1
        bars.grew(ONE, int((watch.now_s - 100) * MIB))
        bars.tick()
    lines = out.getvalue().splitlines()
    assert len(lines) == 2
    assert re.fullmatch(r"  sha256:a{12} +60\.\dMiB/100\.0MiB +1\.\dMiB/s +\d\ds left", lines[1])


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0B"), (1023, "1023B"), (1536, "1.5KiB"), (20 * MIB, "20.0MiB"), (2**41, "2.0TiB")]
)
def test_sizes(size: int, text: str) -> None:
    assert human_size(size) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "0s"), (59.6, "1m00s"), (75, "1m15s"), (3700, "1h01m")])
def test_times(seconds: float, text: str) -> None:
    assert human_time(seconds) == text


def test_a_file_has_one_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(monkeypatch)
    out, watch = terminal._out, terminal.watch
    bar = FileBar(out, is_terminal=True, now=watch)
    bar.began("nginx_1.27.tar", 100 * MIB, 20 * MIB)
    for tenth in range(50):
        watch.now_s += 0.1
        bar.grew(20 * MIB + 30 * MIB * (tenth + 1) // 50)
        bar.tick()
    [line] = terminal.lines
    assert re.fullmatch(r"nginx_1\.27\.tar ━+[╸╺]?━*\s+50\.0MiB/100\.0MiB\s+6\.\dMiB/s\s+\d+s left", line), line
    bar.clear()
    assert terminal.lines == []


def test_a_file_is_told_of_in_lines_where_there_is_no_terminal() -> None:
    out, watch = io.StringIO(), Watch()
    bar = FileBar(out, is_terminal=False, now=watch)
    bar.began("nginx_1.27.tar", 100 * MIB, 0)
    for _ in range(3):
        watch.now_s += TELL_S / 2
        bar.grew(50 * MIB)
        bar.tick()
    bar.clear()
    [line] = out.getvalue().splitlines()
    assert line.startswith("nginx_1.27.tar ")
    assert "50.0MiB/100.0MiB" in line
