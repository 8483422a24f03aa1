"""Hooks of the engine: early stopping."""

import math
from types import SimpleNamespace

import pytest

from beit.engine.hooks import Patience, Validation, check_early_stop, validation_count, validation_interval
from beit.engine.schedule import Schedule
from beit.errors import ConfigError
from beit.settings.groups import EarlyStopSettings, OptimSettings, TrainSettings, ValidationSettings


def stop(patience=2, **options):
    return Patience(EarlyStopSettings(patience=patience, **options), "l2")


def gains(watched, *values):
    return [watched.note(10 * (number + 1), value) for number, value in enumerate(values)]


def test_it_stops_after_some_measurements_without_a_gain():
    watched = stop()
    assert gains(watched, 1.0, 0.5, 0.6, 0.49999) == [True, True, False, False]
    assert watched.reached
    assert watched.best_step == 20
    watched = stop()
    assert gains(watched, 1.0, 1.1, 0.9, 1.2) == [True, False, True, False]
    assert not watched.reached


def test_what_is_not_finite_is_no_gain():
    watched = stop()
    assert gains(watched, math.nan, math.inf) == [False, False]
    assert watched.reached
    assert watched.best_step is None


def test_a_continued_run_recalls_its_measurements_and_nothing_else():
    lines = [
        {"step": 10, "split": "val", "l2": 1.0},
        {"step": 10, "split": "train", "l2": 0.1},
        {"step": 20, "split": "val", "l2": 1.0},
        {"step": 20, "split": "val", "l2": 0.5, "pictures": 9},  # the conclusion of a run, on all pictures
        {"step": 30, "split": "val", "l2": 1.0},
    ]
    watched = stop()
    watched.recall(lines)
    assert watched.reached
    assert watched.best_step == 10
    watched = stop()
    watched.recall(lines[:4])
    assert not watched.reached


def schedule(pictures, batch_size, **length):
    return Schedule(OptimSettings(), TrainSettings(batch_size=batch_size, **length), pictures)


@pytest.mark.parametrize(
    ("every", "length", "interval"),
    [
        ("auto", schedule(640, 64, epochs=20), 10),
        ("auto", schedule(640, 64, epochs=1000), 200),
        ("auto", schedule(8, 64, max_steps=20), 1),
        (7, schedule(640, 64, epochs=20), 7),
        (0, schedule(640, 64, epochs=20), 0),
    ],
)
def test_auto_measures_every_epoch_and_at_most_fifty_times(every, length, interval):
    assert validation_interval(ValidationSettings(every=every), length) == interval


@pytest.mark.parametrize(
    ("every", "after", "due"), [(0, 0, []), (10, 0, [10, 20, 24]), (10, 10, [20, 24]), (10, 50, [24])]
)
def test_when_it_measures(tmp_path, every, after, due):
    settings = SimpleNamespace(
        validation=ValidationSettings(every=every, after=after), early_stop=EarlyStopSettings(patience=1)
    )
    accelerator = SimpleNamespace(is_main_process=True)
    task = SimpleNamespace(
        settings=settings, accelerator=accelerator, schedule=schedule(64, 8, max_steps=24), watched="l2"
    )
    hook = Validation(task, SimpleNamespace())
    assert [step for step in range(1, 25) if hook.due(step, last=step == 24)] == due
    assert validation_count(settings.validation, task.schedule) == len(due)
    assert not hook.stops


def test_patience_without_measurements_is_refused():
    settings = SimpleNamespace(validation=ValidationSettings(every=0), early_stop=EarlyStopSettings(patience=3))
    with pytest.raises(ConfigError, match=r"early_stop\.patience is 3 and validation\.every is 0"):
        check_early_stop(settings)


def test_gains_below_the_least_do_not_count():
    watched = stop(min_gain=0.1)
    assert gains(watched, 1.0, 0.95, 0.89) == [True, False, True]
