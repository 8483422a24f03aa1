"""A disk without room, as every program on it sees one."""

import resource
from contextlib import contextmanager


@contextmanager
def full_disk(room):
    """Let no file grow beyond `room` bytes: writers in Python and in C++ get the system's error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
