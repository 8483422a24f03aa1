"""When a run stops."""

import math

import pytest

from beit.training.early_stop import EarlyStop
from beit.training.settings import EarlyStopSettings


def stop(patience=2, **options):
    return EarlyStop(EarlyStopSettings(patience=patience, every=10, **options), "l2", lambda: 0.0)


def test_it_stops_after_some_measurements_without_a_gain():
    watched = stop()
    assert [watched.note(value) for value in (1.0, 0.5, 0.6, 0.49999)] == [True, True, False, False]
    assert watched.reached
    watched = stop()
    assert [watched.note(value) for value in (1.0, 1.1, 0.9, 1.2)] == [True, False, True, False]
    assert not watched.reached


def test_what_is_not_finite_is_no_gain():
    watched = stop()
    assert [watched.note(value) for value in (math.nan, math.inf)] == [False, False]
    assert watched.reached


def test_a_continued_run_recalls_its_measurements():
    lines = [
        {"step": 10, "split": "val", "l2": 1.0},
        {"step": 10, "split": "train", "l2": 0.1},
        {"step": 20, "split": "val", "l2": 1.0},
        {"step": 30, "split": "val", "l2": 1.0},
    ]
    watched = stop()
    watched.recall(lines)
    assert watched.reached
    watched = stop()
    watched.recall(lines[:3])
    assert not watched.reached


@pytest.mark.parametrize(("patience", "due"), [(None, []), (1, [10, 20])])
def test_without_patience_nothing_is_measured(patience, due):
    watched = stop(patience)
    assert [step for step in range(1, 25) if watched.due(step)] == due
    assert not watched.reached


def test_gains_below_the_least_do_not_count():
    watched = stop(min_gain=0.1)
    assert [watched.note(value) for value in (1.0, 0.95, 0.89)] == [True, False, True]
