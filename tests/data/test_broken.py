"""Broken pictures, counted and listed."""

import pytest

from beit.data import BrokenPicture, BrokenPictures, list_shards, open_source
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


def test_what_was_repaired_before_a_resume_does_not_count(tmp_path):
    """A disk that was away stops a run; the pictures are back when it continues."""
    away = [BrokenPicture(f"{number}", f"{number} does not exist") for number in range(8)]
    with pytest.raises(DataError, match="8 of 100 pictures are broken"):
        BrokenPictures(tmp_path / "broken.txt", pictures=100, max_share=0.02).add(away)
    continued = BrokenPictures(tmp_path / "broken.txt", pictures=100, max_share=0.02)
    continued.add([BrokenPicture("a", "a is broken"), BrokenPicture("b", "b is broken")])
    assert (tmp_path / "broken.txt").read_text().splitlines()[-2:] == ["a is broken", "b is broken"]
    with pytest.raises(DataError, match=r"3 of 100 pictures are broken, .* first: a is broken"):
        continued.add(away[:1])


def test_of_a_list_that_has_become_empty_nothing_is_counted(tmp_path):
    """As of shards that were repaired before the run continued."""
    (tmp_path / "broken.txt").write_text("shard a.tar: it is cut off\n")
    list_shards(tmp_path / "broken.txt", open_source("digits:train"))
    assert (tmp_path / "broken.txt").read_text() == ""
    broken = BrokenPictures(tmp_path / "broken.txt", pictures=100, max_share=0.02)
    assert (len(broken), broken.summary()) == (0, None)
