import pytest

from tests.e2e.nursery import Nursery


@pytest.fixture(scope="session")
def nursery():
    with Nursery() as nursery:
        yield nursery
