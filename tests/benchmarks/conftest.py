"""Import of the programs of benchmarks/."""

import importlib

import pytest

from tests.benchmarks.places import BENCHMARKS


@pytest.fixture
def program(monkeypatch):
    """Import a file of benchmarks/, as its programs do."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module
