"""Origin of a report: when, on what machine and with what versions it was made, and how long that took."""

from __future__ import annotations

import os
import platform
import sys
import time
from datetime import datetime
from importlib.metadata import version

from beit import __version__

_LIBRARIES = ("torch", "numpy", "Pillow")
_MINUTE, _HOUR = 60, 3600
_FEW = 2  # of a unit, below which the smaller one is more exact


def origin(duration: str | None = None) -> str:
    """Return the line that stands at the top of a report, such as "2026-01-31 12:00 UTC; 12 minutes; Linux x86_64".

    Args:
        duration: The time that it took, in words; None leaves it out.
    """
    date = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    versions = [f"beit {__version__}", f"Python {platform.python_version()}"]
    versions += [f"{library} {version(library)}" for library in _LIBRARIES]
    return "; ".join([date, *([duration] if duration else []), _machine(), ", ".join(versions)])


def since(began: float) -> str:
    """Return the time since a value of `time.perf_counter`, in words."""
    seconds = time.perf_counter() - began
    if seconds < _FEW * _MINUTE:
        return f"{seconds:.0f} seconds"
    return f"{seconds / _MINUTE:.0f} minutes" if seconds < _FEW * _HOUR else f"{seconds / _HOUR:.1f} hours"


def _machine() -> str:
    """Return system, processor, and the GPU of a process that has one open."""
    words = f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"
    cuda = getattr(sys.modules.get("torch"), "cuda", None)  # a report alone is no reason to load torch
    return f"{words}, {cuda.get_device_name()}" if cuda is not None and cuda.is_initialized() else words
