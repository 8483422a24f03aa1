"""Broken pictures, counted and listed."""

import pytest

from beit.data import BrokenPicture, BrokenPictures
from beit.errors import DataError


def test_broken_pictures_are_counted_once_and_listed(tmp_path):
    broken = BrokenPictures(tmp_path / "broken.txt", pictures=100, max_share=0.02)
    for name in ("a", "b", "a"):
        broken.add([BrokenPicture(name, f"{name} is broken")])
    assert (tmp_path / "broken.txt").read_text() == "a is broken\nb is broken\n"
    assert "2 broken pictures were skipped" in broken.summary()
    with pytest.raises(
        DataError, match=r"3 of 100 pictures are broken, more than data.max_broken allows \(2%\); first: a"
    ):
        broken.add([BrokenPicture("c", "c is broken")])
