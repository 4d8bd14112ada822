"""Charts: the path that is drawn."""

import pytest

from hubferry.pages.chart import chart

CASES = {
    "nothing": ([], None, "", ""),
    "gaps only": ([None, None], 1.0, "", ""),
    "zeros": ([0.0, 0.0], None, "M0 98H2", ""),
    "the highest value is at the top": ([1.0, 2.0], None, "M0 50H1V2H2", "M0 100V50H1V100zM1 100V2H2V100z"),
    "a gap between": ([1.0, None, 1.0], 1.0, "M0 2H1M2 2H3", "M0 100V2H1V100zM2 100V2H3V100z"),
    "more than the top": ([5.0], 1.0, "M0 2H1", "M0 100V2H1V100z"),
}


@pytest.mark.parametrize(("values", "top", "line", "area"), CASES.values(), ids=CASES.keys())
def test_a_chart_is_steps(values: list[float | None], top: float | None, line: str, area: str) -> None:
    drawn = chart(values, top)
    assert (drawn.width, drawn.line, drawn.area) == (len(values), line, area)
