"""What `hubferry warm` shows of layers on their way: bars on a terminal, lines elsewhere."""

import io
import re

import pytest

from hubferry.cli.bars import Bars, Layer, bar
from hubferry.cli.human import human_size, human_time
from hubferry.core.descriptors import Descriptor

MIB = 2**20
ONE, TWO = (Descriptor(f"sha256:{letter * 64}", 100 * MIB) for letter in "ab")


class Watch:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def shown(out: io.StringIO) -> list[str]:
    """What a terminal shows after all of it, as far as the sequences in use go."""
    lines: list[str] = [""]
    at = 0
    for part in re.findall(r"\x1b\[\d*[A-Z]|\r|\n|[^\x1b\r\n]+", out.getvalue()):
        if part.endswith("A") and part[0] == "\x1b":
            at -= int(part[2:-1])
        elif part == "\x1b[J":
            lines[at:] = [""]
        elif part == "\n":
            at += 1
            lines += [""] * (at + 1 - len(lines))
        elif part[0] not in "\x1b\r":
            lines[at] = part
    return [line.rstrip() for line in lines[:-1]]


def test_a_bar_has_bytes_rate_and_time_left() -> None:
    layer = Layer(ONE, 100.0, 0)
    for second in range(6):
        layer.grow(second * 10 * MIB, 100.0 + second)
    said = bar(layer, 105.0, 100)
    assert re.fullmatch(r"sha256:a{12}  \[#+ +\]\s+50\.0MiB/100\.0MiB\s+10\.0MiB/s\s+5s left", said), said
    assert said.count("#") == (said.index("]") - said.index("[") - 1) // 2


@pytest.mark.parametrize("columns", [1, 20, 60, 80, 200])
def test_a_bar_never_wraps(columns: int) -> None:
    layer = Layer(ONE, 100.0, 0)
    layer.grow(MIB, 101.0)
    assert len(bar(layer, 102.0, columns)) < max(columns, 2)


def test_what_was_there_is_no_rate() -> None:
    layer = Layer(ONE, 100.0, 60 * MIB)
    layer.grow(30 * MIB, 100.1)
    assert layer.rate(100.1) == 0
    layer.grow(60 * MIB, 100.2)
    layer.grow(70 * MIB, 101.2)
    assert layer.rate(101.2) == pytest.approx(10 * MIB)


def test_a_stall_is_seen() -> None:
    layer = Layer(ONE, 100.0, 0)
    for tenth in range(20):
        layer.grow(tenth * MIB, 100.0 + tenth / 10)
    for tenth in range(20, 120):
        layer.grow(19 * MIB, 100.0 + tenth / 10)
    assert layer.rate(112.0) == 0
    assert "stalled" in bar(layer, 112.0, 100)


def test_a_size_that_nobody_knows() -> None:
    layer = Layer(Descriptor(ONE.digest), 100.0, 0)
    layer.grow(MIB, 100.0)
    layer.grow(2 * MIB, 101.0)
    assert re.fullmatch(r"sha256:a{12}\s+2\.0MiB\s+1\.0MiB/s", bar(layer, 101.0, 100).rstrip())


def test_on_a_terminal_bars_stand_below_what_is_over() -> None:
    out, watch = io.StringIO(), Watch()
    bars = Bars(out, is_terminal=True, now=watch)
    bars.say("nginx")
    bars.began(ONE, 0)
    bars.began(TWO, 0)
    watch.now_s += 1
    bars.grew(ONE, 10 * MIB)
    assert [line[:21].rstrip() for line in shown(out)] == ["nginx", "sha256:aaaaaaaaaaaa", "sha256:bbbbbbbbbbbb"]
    watch.now_s += 1
    bars.grew(ONE, 100 * MIB)
    bars.ended(ONE, "fetched", "")
    nginx, over, left = shown(out)
    assert (nginx, left[:19]) == ("nginx", "sha256:bbbbbbbbbbbb")
    assert re.fullmatch(r"  sha256:a{12}  fetched   100\.0MiB  50\.0MiB/s", over)
    bars.clear()
    assert shown(out) == [nginx, over]


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
    assert re.fullmatch(r"  sha256:a{12}  \[#+ +\] +60\.\dMiB/100\.0MiB +1\.0MiB/s +\d\ds left", lines[1])


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0B"), (1023, "1023B"), (1536, "1.5KiB"), (20 * MIB, "20.0MiB"), (2**41, "2.0TiB")]
)
def test_sizes(size: int, text: str) -> None:
    assert human_size(size) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "0s"), (59.6, "1m00s"), (75, "1m15s"), (3700, "1h01m")])
def test_times(seconds: float, text: str) -> None:
    assert human_time(seconds) == text
