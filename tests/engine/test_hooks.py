"""Hooks of the engine: early stopping."""

import math

import pytest

from beit.engine.hooks import Gains
from beit.settings.groups import EarlyStopSettings


def stop(patience=2, **options):
    return Gains(EarlyStopSettings(patience=patience, every=10, **options), "l2")


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


@pytest.mark.parametrize(
    ("patience", "after", "due"), [(None, 0, []), (1, 0, [10, 20, 24]), (1, 10, [20, 24]), (1, 50, [24])]
)
def test_when_it_measures(patience, after, due):
    watched = stop(patience, after=after)
    assert [step for step in range(1, 25) if watched.due(step, last=step == 24)] == due
    assert not watched.reached


def test_gains_below_the_least_do_not_count():
    watched = stop(min_gain=0.1)
    assert gains(watched, 1.0, 0.95, 0.89) == [True, False, True]
