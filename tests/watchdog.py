"""Watchdog for tests of hostile files: what takes too long or too much memory fails instead of hanging."""

import resource
import signal
from contextlib import contextmanager


class TooLongError(BaseException):
    """Raised in the middle of whatever runs; no `except Exception` catches it."""


def _ring(*_):
    raise TooLongError("it takes too long")


@contextmanager
def assert_within(seconds, megabytes):
    """Let a block of the main thread take so many seconds, and the process grow by so many megabytes of addresses."""
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    bounds = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, _ring)
    resource.setrlimit(resource.RLIMIT_AS, (now + megabytes * 2**20, bounds[1]))
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, bounds)
