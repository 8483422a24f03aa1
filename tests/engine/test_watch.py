"""The overview of a run."""

from beit.engine.watch import sparkline


def test_sparkline():
    assert sparkline([0, 1, 2, 3.5, 7]) == "▁▂▃▅█"
    assert sparkline([0, float("nan"), 7]) == "▁!█"
    assert sparkline([1, 1, 1]) == sparkline([1]) == ""
    assert len(sparkline(range(1000))) == 40
