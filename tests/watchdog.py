"""Watchdog for tests of hostile files: what takes too long or too much memory fails instead of hanging."""

import resource
import signal
from contextlib import contextmanager


class TooLongError(BaseException):
    """Raised in the middle of whatever runs; no `except Exception` catches it."""


_WAITING = 6  # a busy machine gives a process so much less than one processor


def _ring(*_):
    raise TooLongError("it takes too long")


@contextmanager
def assert_within(seconds, megabytes):
    """Let a block of the main thread take so many seconds, and the process grow by so many megabytes of addresses.

    The seconds are those of processors, which others do not lengthen; a block that waits has six times as many.
    """
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    bounds = resource.getrlimit(resource.RLIMIT_AS)
    before = {number: signal.signal(number, _ring) for number in (signal.SIGPROF, signal.SIGALRM)}
    resource.setrlimit(resource.RLIMIT_AS, (now + megabytes * 2**20, bounds[1]))
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, seconds * _WAITING)
    try:
        yield
    finally:
        for timer in (signal.ITIMER_PROF, signal.ITIMER_REAL):
            signal.setitimer(timer, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
        resource.setrlimit(resource.RLIMIT_AS, bounds)
