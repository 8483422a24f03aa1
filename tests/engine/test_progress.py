"""What a log shows of a run that works."""

import re

import pytest

from beit.engine import metrics
from beit.engine.metrics import RunProgress


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when a test says so."""
    now = [100.0]
    monkeypatch.setattr(metrics.time, "monotonic", lambda: now[0])
    return now


def test_a_log_gets_a_line_after_the_first_step_and_then_from_time_to_time(clock, capsys):
    with RunProgress("training", 0, 100) as shown:
        for step, loss in ((1, None), (2, 0.5), (3, None), (4, None), (100, 0.25)):
            clock[0] += 4.0
            shown.advance(step, 8, loss)
    lines = capsys.readouterr().out.splitlines()
    assert [re.search(r"step (\d+)/100", line)[1] for line in lines] == ["1", "4", "100"]
    assert "loss" not in lines[0]
    assert "loss 0.5000" in lines[1], "the last that is known"
    assert lines[0].endswith("2.0 images/s  7 min left")


def test_only_one_process_shows_it(clock, capsys):
    with RunProgress("training", 0, 2, visible=False) as shown:
        shown.advance(1, 8, 0.5)
    assert capsys.readouterr().out == ""
