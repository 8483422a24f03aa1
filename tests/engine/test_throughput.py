from torch import nn

from beit.engine.throughput import WaitWatch, state_bytes


def said(*waits, seconds=2.0):
    watch = WaitWatch()
    return [bool(watch.advice(wait, seconds, workers=2)) for wait in waits]


def test_waiting_for_pictures_is_said_once_when_it_lasts():
    assert said(0.9, 0.5, 0.5, 0.5, 0.5) == [False, False, False, True, False]
    assert not any(said(0.9, 0.5, 0.5, 0.1, 0.5, 0.5, 0.2))
    assert not any(said(0.9, 0.5, 0.5, 0.5, 0.5, seconds=0.1))
    watch = WaitWatch()
    lines = [watch.advice(0.5, 2.0, workers=2) for _ in range(4)]
    assert lines[-1].startswith(
        "50% of the time is spent waiting for pictures, which 2 processes load: raise data.workers"
    )


def test_what_is_frozen_has_weights_and_nothing_else():
    module = nn.Sequential(nn.Linear(10, 10, bias=False), nn.Linear(10, 1, bias=False))
    assert state_bytes(module) == 110 * 16
    module[0].requires_grad_(requires_grad=False)
    assert state_bytes(module) == 100 * 4 + 10 * 16
