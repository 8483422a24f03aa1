import os
import subprocess
import sys

import pytest

from beit.cli import process

BLOCK = 64 * 2**20  # bytes, far above what malloc keeps by itself
CODE = f"""
import ctypes, resource, sys
import numpy
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE: else a page may be 2 MiB
from beit.cli.process import prepare

prepare(sys.argv[1])
numpy.ones({BLOCK}, numpy.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
numpy.ones({BLOCK}, numpy.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(command, **environment):
    """Return the page faults of a block as large as one that was freed just before."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", CODE, command], env={**kept, **environment}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(
    not hasattr(os, "confstr") or "glibc" not in (os.confstr("CS_GNU_LIBC_VERSION") or ""), reason="not GNU"
)
def test_a_command_keeps_memory_that_is_freed():
    pages = BLOCK // os.sysconf("SC_PAGE_SIZE")
    assert page_faults("pretrain") < pages / 8
    assert page_faults("serve") >= pages
    assert page_faults("pretrain", MALLOC_TRIM_THRESHOLD_="131072") >= pages


@pytest.mark.parametrize("library", [OSError, TypeError, lambda name: object()])
def test_other_systems_do_as_they_do(monkeypatch, library):
    def loaded(name):
        made = library(name)
        if isinstance(made, Exception):
            raise made
        return made

    monkeypatch.setattr("ctypes.CDLL", loaded)
    assert not process.keep_freed_memory()
