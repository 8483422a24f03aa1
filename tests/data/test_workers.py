import pytest

from beit.data import loading_workers


@pytest.mark.parametrize(
    ("share", "busy", "workers"), [(8, 1, 7), (8, 4, 4), (8, 8, 1), (1, 1, 1), (64, 1, 16), (4, 0, 4)]
)
def test_what_computing_leaves_loads_pictures(monkeypatch, share, busy, workers):
    monkeypatch.setattr("beit.data.workers.cpu_share", lambda: share)
    assert loading_workers("auto", busy) == workers
    assert loading_workers(3, busy) == 3
