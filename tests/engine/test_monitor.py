"""How many pictures the quality monitor looks at; what it measures of them is seen in runs (e2e/test_monitor.py)."""

from types import SimpleNamespace

import pytest

from beit.engine.monitor import _as_before, _pictures
from beit.engine.run_folder import RunFolder
from beit.settings.groups import MonitorSettings


def run_of(steps, batch_size=64, classes=10):
    """A task with a run of so many steps; classes: None without labels."""
    names = None if classes is None else [str(number) for number in range(classes)]
    return SimpleNamespace(
        schedule=SimpleNamespace(steps=steps),
        settings=SimpleNamespace(train=SimpleNamespace(batch_size=batch_size)),
        sources=SimpleNamespace(train=SimpleNamespace(classes=names)),
    )


def taken(steps, batch_size=64, classes=10, asked=None):
    """The training pictures that the monitor of a run takes."""
    return _pictures(run_of(steps, batch_size, classes), MonitorSettings(pictures=asked))


@pytest.mark.parametrize(
    ("steps", "pictures"),
    [
        (10, 256),  # 3 % of the 640 that the run sees would be 19
        (133, 256),  # of 8,512 it would be 255
        (200, 384),  # 3 % of 12,800
        (312, 599),  # 3 % of 19,968
        (1000, 600),  # 3 % of 64,000 would be 1,920, and 0.5 % are only 320
        (4700, 1504),  # 0.5 % of 300,800
        (100_000, 2048),
    ],
)
def test_a_longer_run_looks_at_more(steps, pictures):
    assert taken(steps) == taken(steps, classes=None) == pictures


def test_pictures_count_rather_than_steps():
    assert taken(200, batch_size=64) == taken(400, batch_size=32) == taken(100, batch_size=128)


@pytest.mark.parametrize(("classes", "pictures"), [(204, 2048), (205, 2050), (1000, 10_000), (21_841, 10_000)])
def test_many_classes_have_ten_pictures_each_in_a_long_run(classes, pictures):
    assert taken(100_000, classes=classes, batch_size=2048) == pictures


def test_many_classes_do_not_make_a_short_run_wait():
    assert taken(1000, classes=1000) == 600


@pytest.mark.parametrize("asked", [2, 200, 50_000])
def test_a_number_that_is_given_is_taken(asked):
    assert taken(10, asked=asked) == taken(100_000, classes=1000, asked=asked) == asked


@pytest.mark.parametrize(("recorded", "pictures"), [('{"every": 7, "pictures": 384}', 384), ('{"every": 7}', 1504)])
def test_a_run_that_is_trained_on_looks_at_the_pictures_of_before(tmp_path, recorded, pictures):
    """More of them would be compared with what raw pixels and random weights reach by fewer."""
    (tmp_path / "monitor.json").write_text(recorded)
    for asked, expected in ((None, pictures), (50, 50)):
        monitored = SimpleNamespace(settings=MonitorSettings(pictures=asked))
        assert _as_before(run_of(4700), RunFolder(tmp_path), monitored) == expected
