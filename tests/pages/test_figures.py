from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from vidcnn.pages.figures import HEIGHT, WIDTH, curves_svg, histogram_svg, reliability_svg, short_number

SVG = "{http://www.w3.org/2000/svg}"


def test_bars_are_as_high_as_their_counts_and_inside() -> None:
    drawn = ET.fromstring(histogram_svg([0, 5, 10, 2500], text='a "histogram" <of> scores'))
    assert drawn.get("aria-label") == 'a "histogram" <of> scores'
    bars = drawn.findall(f"{SVG}rect")
    heights = [float(bar.get("height") or 0) for bar in bars]
    assert heights[0] == 0
    assert heights[3] == pytest.approx(2500 / 10 * heights[2], rel=0.1)
    for bar in bars:
        x, y, width, height = (float(bar.get(name) or 0) for name in ("x", "y", "width", "height"))
        assert 0 <= x <= x + width <= WIDTH
        assert 0 <= y <= y + height <= HEIGHT
        assert y + height == pytest.approx(HEIGHT - 24, abs=0.2)  # they stand on the axis
    titles = [title.text for title in drawn.iter(f"{SVG}title")]
    assert titles[3] == "0.75 to 1.00: 2,500"


def test_a_histogram_of_nothing_is_flat() -> None:
    assert 'height="0.0"' in histogram_svg([0, 0], text="nothing")


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (950, "950"), (1200, "1.2k"), (34000, "34k"), (5.6e6, "5.6M"), (2e9, "2G"), (0.25, "0.25")],
)
def test_numbers_on_an_axis_are_short(number: float, text: str) -> None:
    assert short_number(number) == text


def test_curves_go_from_zero_to_their_largest_values_inside_of_the_axes() -> None:
    drawn = ET.fromstring(curves_svg([[(0, 0), (50, 1), (100, 4)], [(100, 2)], [(50, float("nan"))]], text="curves"))
    lines = [line.get("points") or "" for line in drawn.findall(f"{SVG}polyline")]
    first = [tuple(map(float, point.split(","))) for point in lines[0].split()]
    (left, bottom), (middle, quarter), (right, top) = first
    assert middle == pytest.approx((left + right) / 2)
    assert quarter == pytest.approx(bottom + (top - bottom) / 4, abs=0.1)
    assert 0 < left < right < WIDTH
    assert 0 < top < bottom < HEIGHT
    assert lines[2] == ""
    assert len(drawn.findall(f"{SVG}circle")) == 1


def test_of_long_curves_some_points_are_drawn_and_the_last_one() -> None:
    drawn = ET.fromstring(curves_svg([[(x, 1) for x in range(10_001)]], text="x"))
    points = (drawn.findall(f"{SVG}polyline")[0].get("points") or "").split()
    assert len(points) <= 500
    assert float(points[-1].split(",")[0]) == WIDTH - 8


def test_bins_are_as_high_as_the_share_that_is_right() -> None:
    drawn = ET.fromstring(reliability_svg([None, (0.3, 0.5), (0.9, 1.0)], text="x"))
    heights = [float(bar.get("height") or 0) for bar in drawn.findall(f"{SVG}rect")]
    assert heights == [pytest.approx(heights[1] / 2), pytest.approx(HEIGHT - 32)]
    assert next(title.text for title in drawn.iter(f"{SVG}title")) == "mean score 0.300: 50.0% are right"
