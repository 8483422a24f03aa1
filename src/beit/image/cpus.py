"""CPUs of a process: those it may run on, divided by the processes that a launcher started on this machine."""

from __future__ import annotations

import os


def cpu_share() -> int:
    """Return how many CPUs this process may keep busy, which in a container are fewer than the machine has."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, allowed // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
