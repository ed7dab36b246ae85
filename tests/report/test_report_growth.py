from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from personalake.report.growth import HEIGHT, WIDTH, curve

COUNTS = st.lists(st.floats(0, 1e10), min_size=2, max_size=12)


@given(COUNTS)
def test_a_curve_runs_from_edge_to_edge_and_its_highest_point_is_at_the_top(counts: list[float]) -> None:
    found = curve(list(enumerate(counts, start=1)))
    points = [tuple(map(float, pair.split())) for pair in re.findall(r"[\d.]+ [\d.]+", found.line)]
    assert [x for x, _ in points] == [round(WIDTH * n / (len(counts) - 1), 2) for n in range(len(counts))]
    assert all(0 <= y <= HEIGHT for _, y in points)
    if max(counts):
        assert points[counts.index(max(counts))][1] == 0


def test_the_area_below_is_closed_at_zero() -> None:
    assert curve([(1, 1.0), (2, 2.0)]).area == "M0 100L0.00 50.00L1000.00 0.00L1000.00 100Z"


def test_no_points_are_no_curve() -> None:
    assert curve([]).line == curve([]).area == ""


def test_a_hub_without_personas_lies_at_zero() -> None:
    assert curve([(1, 0.0), (2, 0.0)]).line == "M0.00 100.00L1000.00 100.00"
