"""The line at the top of a report."""

import time

import torch

import beit
from beit.reports.origin import origin, since


def test_it_has_date_duration_machine_and_versions():
    date, duration, machine, versions = origin("12 minutes").split("; ")
    assert date.startswith(time.strftime("%Y-%m-"))
    assert duration == "12 minutes"
    assert machine.endswith("CPUs") or torch.cuda.is_initialized()
    assert f"beit {beit.__version__}, Python 3." in versions
    assert f"torch {torch.__version__.partition('+')[0]}" in versions
    assert len(origin().split("; ")) == 3


def test_a_duration_is_in_the_unit_that_suits_it():
    now = time.perf_counter()
    assert [since(now - seconds) for seconds in (0, 100, 600, 9000)] == [
        "0 seconds", "100 seconds", "10 minutes", "2.5 hours",
    ]  # fmt: skip
