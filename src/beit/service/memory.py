"""Memory of a service: what large pictures took is given back to the system, which glibc keeps otherwise."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any


def return_memory() -> None:
    """Give free memory back to the system, where the C library can."""
    if (trim := _trim()) is not None:
        trim(0)


@cache
def _trim() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None
