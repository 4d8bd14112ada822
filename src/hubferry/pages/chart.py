"""Small charts as paths of SVG: one value for each interval, drawn as steps. Pure.

The box is HEIGHT high and as many units wide as there are values; the style sheet stretches it. Steps and not slopes,
so that a single interval can be seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass

HEIGHT = 100
INSET = 2  # above the highest and below the lowest value, so that no line is cut in half


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart: its width, the path of the line, that of the area below it, and the highest value (None: none)."""

    width: int
    line: str
    area: str
    top: float | None


def chart(values: Sequence[float | None], top: float | None = None) -> Chart:
    """Draw values of at least 0; None leaves a gap. `top` is the value at the upper edge; None: the highest value."""
    known = [value for value in values if value is not None]
    highest = max(known, default=None)
    scale = top or highest or 1.0
    line, area = [], []
    before: str | None = None
    for at, value in enumerate(values):
        if value is None:
            before = None
            continue
        y = f"{HEIGHT - INSET - (HEIGHT - 2 * INSET) * min(value / scale, 1.0):.0f}"
        if before is None:
            line.append(f"M{at} {y}")
        elif y != before:
            line.append(f"V{y}")
        line.append(f"H{at + 1}")
        if value:
            area.append(f"M{at} {HEIGHT}V{y}H{at + 1}V{HEIGHT}z")
        before = y
    return Chart(len(values), _joined(line), "".join(area), highest)


def _joined(steps: list[str]) -> str:
    """Return a path in which several steps along the same height are one."""
    ends = zip(steps, [*steps[1:], "M"], strict=False)
    return "".join(step for step, following in ends if not step[0] == following[0] == "H")
