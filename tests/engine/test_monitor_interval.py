"""Interval of the quality monitor: within a share of the run's time, and the same when it continues."""

import json
from types import SimpleNamespace

import pytest
from accelerate import Accelerator

from beit.engine.monitor_interval import Interval, chosen_interval, early_steps
from beit.settings.groups import MonitorSettings


@pytest.mark.parametrize(
    ("steps", "step", "measurement", "spent", "every"),
    [
        (1000, 1.0, 2.0, 4.0, 100),  # 30 s, of which 6 go to the first and the last: 12 more of 2 s, 3 of them early
        (1000, 1.0, 4.0, 4.0, 250),  # time for 5: three, since four would bring three early ones
        (100_000, 0.1, 1.0, 2.0, 2084),  # 297 would fit, and 50 are enough
        (100, 0.1, 1.0, 2.0, 100),  # not even the last fits: no other
    ],
)
def test_all_measurements_together_stay_within_the_share(steps, step, measurement, spent, every):
    found = chosen_interval(steps, step, measurement, spent, share=0.03)
    assert found == every
    between = (steps - 1) // found + len(early_steps(steps, found))
    cost = spent + (between + 1) * measurement
    assert cost <= 0.03 * steps * step or between == 0


def interval(path, steps=200, **settings):
    task = SimpleNamespace(accelerator=Accelerator(cpu=True), schedule=SimpleNamespace(steps=steps))
    return Interval(task, path, MonitorSettings(**settings), pictures=300)


def taken(made, first, last):
    """The steps after which a run measures."""
    due = []
    for step in range(first, last + 1):
        made.after_step(step)
        due += [step] if made.due(step) else []
    return due


def test_a_given_interval_needs_no_time(tmp_path):
    made = interval(tmp_path / "monitor.json", every=40)
    made.begin(0)
    made.record(1.0, 2.0)
    assert taken(made, 1, 200) == [40, 80, 120, 160, 200]


def test_a_continued_run_measures_at_the_same_steps(tmp_path):
    path = tmp_path / "monitor.json"
    first = interval(path)
    first.begin(0)
    first.record(1e-9, 1e-9)
    whole = taken(first, 1, 200)
    recorded = json.loads(path.read_text())
    assert recorded["every"] == first.every == 5  # 50 measurements are enough
    assert recorded.keys() == {"every", "step_seconds", "measurement_seconds", "spent_seconds", "pictures"}
    assert recorded["pictures"] == 300
    assert whole[0] >= 12
    again = interval(path)
    again.begin(100)
    assert taken(again, 101, 200) == [step for step in whole if step > 100]
    assert json.loads(path.read_text()) == recorded


def test_the_first_interval_of_many_has_more(tmp_path):
    path = tmp_path / "monitor.json"
    path.write_text('{"every": 240}')
    long, short = (interval(path, steps) for steps in (2400, 600))
    for made in (long, short):
        made.begin(1)
    assert taken(long, 2, 600) == [30, 60, 120, 240, 480]
    assert taken(short, 2, 600) == [240, 480]
    assert taken(interval(path, 2400, every=240), 2, 600) == [240, 480]


def test_a_run_that_starts_again_decides_again(tmp_path):
    path = tmp_path / "monitor.json"
    path.write_text('{"every": 7, "measurement_seconds": 1, "spent_seconds": 1}')
    made = interval(path)
    made.begin(0)
    assert not path.exists()
    assert taken(made, 1, 11) == []


def test_a_run_that_was_stopped_before_it_was_decided(tmp_path):
    path = tmp_path / "monitor.json"
    first = interval(path)
    first.begin(0)
    first.record(1e-9, 1e-9)
    assert taken(first, 1, 5) == []
    again = interval(path)
    again.begin(5)
    assert taken(again, 6, 200)[0] == 20
    assert again.every == 5


def test_without_a_first_measurement_only_the_last_step_is_measured(tmp_path):
    made = interval(tmp_path / "monitor.json")
    made.begin(50)  # a run of a version without a monitor
    assert taken(made, 51, 200) == [200]


def test_an_impossible_interval_is_refused():
    with pytest.raises(ValueError, match="every is -1; expected auto, 0 for never, or a number of steps"):
        MonitorSettings(every=-1)
