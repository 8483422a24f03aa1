"""Number of the processes that load pictures."""

from __future__ import annotations

from typing import Literal

from beit.image.cpus import cpu_share

MOST_WORKERS = 16  # beyond it memory grows, and hardly the speed


def loading_workers(wanted: int | Literal["auto"], busy: int) -> int:
    """Return the processes that load pictures; "auto": one for each CPU that is left, at least one.

    Args:
        wanted: Their number, or "auto".
        busy: CPUs that this process keeps busy itself.
    """
    return min(max(1, cpu_share() - busy), MOST_WORKERS) if wanted == "auto" else wanted
