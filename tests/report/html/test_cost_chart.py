"""Where the names of points stand."""

from __future__ import annotations

from wsss_bench.report.html.cost_chart import _spots


def test_names_stand_towards_the_middle_and_not_on_each_other():
    points = [(1.0, 50.0), (1.02, 48.0), (10.0, 90.0), (9.8, 89.0), (5.5, 40.0)]
    assert _spots(points, logarithmic=False) == [
        "top right", "bottom right", "top left", "bottom left", "top left"
    ]  # fmt: skip
    assert _spots([(1.0, 50.0), (5.0, 51.0), (1000.0, 52.0)], logarithmic=True) == [
        "top right", "top right", "top left"
    ]  # fmt: skip
    assert _spots([(3.0, 50.0)], logarithmic=False) == ["top left"]
    assert _spots([], logarithmic=True) == []
