"""Admission of requests: limits on those under way and on their memory.

What large pictures took is given back to the system, which glibc keeps otherwise.
"""

from __future__ import annotations

import ctypes
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from typing import Any

from beit.service.errors import too_busy
from beit.settings.serve import ServiceSettings

_UPLOADS = 16  # uploads of the largest size that may lie in memory together


class Admission:
    """Counts the requests under way, those in the queue, and the bytes of uploads in memory.

    Only the thread of the event loop uses it.

    Args:
        settings: The limits.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self._queue = settings.queue
        self._most_bytes = _UPLOADS * settings.max_upload_bytes
        self._bytes = 0
        self.requests = 0
        self.computing = 0
        self.stopping = False

    @contextmanager
    def request(self) -> Generator[None]:
        """Count a request until it is answered: a service that stops waits for it."""
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1

    @contextmanager
    def computation(self) -> Generator[None]:
        """Count a request that has arrived whole, until its result is there.

        Raises:
            ServiceError: If the queue is full.
        """
        self.check_queue()
        self.computing += 1
        try:
            yield
        finally:
            self.computing -= 1

    def check_queue(self) -> None:
        """Refuse a request before its upload is read, if the queue is full already.

        Raises:
            ServiceError: If so.
        """
        if self.computing >= self._queue:
            raise too_busy(f"{self.computing} requests wait already; try again in a second")

    def hold(self, size: int) -> None:
        """Count bytes of an upload that are now in memory; below 0: no longer.

        Raises:
            ServiceError: If there would be too many.
        """
        if size > 0 and self._bytes + size > self._most_bytes:
            raise too_busy(f"uploads of {self._bytes} bytes are being read already; try again in a second")
        self._bytes += size


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
