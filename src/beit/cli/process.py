"""Settings of the process that a command runs in, made before torch is loaded."""

from __future__ import annotations

import os

# Threads of OpenMP that wait for another one spin for milliseconds by default, which on cores that others use as well
# is the time that the other one would need. Both are read when torch is loaded.
WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "10000"}
_OF_MALLOC = ("MALLOC_", "GLIBC_TUNABLES")  # environment variables that set the allocator of the GNU C library
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # options of mallopt, in malloc.h
_LARGEST_KEPT = 2**30  # bytes; a larger block still goes back to the system as soon as it is free
_NEVER = -1  # trimmed
_LASTING = ("serve",)  # the service works at times only, and gives back what it does not need then


def prepare(command: str) -> None:
    """Have waiting threads sleep and freed memory kept, unless the environment of the process asks otherwise."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.update(WAITING)
    if command not in _LASTING and not any(name.startswith(_OF_MALLOC) for name in os.environ):
        keep_freed_memory()


def keep_freed_memory() -> bool:
    """Have the C library keep what is freed for what is asked for next, and return whether it does.

    By default it gives large blocks back at once, and the system clears every page of the next one: some tens of
    thousands of page faults in a step of training. Only the GNU C library has this option.
    """
    import ctypes  # not needed to print a help

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT) and mallopt(_TRIM_THRESHOLD, _NEVER))
