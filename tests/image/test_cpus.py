import os

import pytest

from beit.image.cpus import cpu_share


@pytest.mark.parametrize(("allowed", "processes", "share"), [(16, None, 16), (16, "4", 4), (2, "4", 1)])
def test_processes_on_a_machine_share_what_they_may_use(monkeypatch, allowed, processes, share):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(allowed)), raising=False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if processes is not None:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    assert cpu_share() == share
