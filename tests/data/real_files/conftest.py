"""A folder of few pictures, for what labels them."""

import pytest

from tests.data.real_files.labels import FILES
from tests.data.real_files.pictures import save


@pytest.fixture
def folder(tmp_path):
    for name in FILES:
        save(tmp_path / "pictures" / name)
    return tmp_path / "pictures"
