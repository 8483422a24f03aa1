"""Paths in few bytes."""

import pickle
import tracemalloc

import pytest

from beit.data.sources.path_list import PathList

NAMES = ["a/1.png", "ä/日本.png", "", "broken\udcff.png", "z"]


def test_it_holds_what_it_was_given():
    paths = PathList(iter(NAMES))
    assert list(paths) == [paths[index] for index in range(len(paths))] == NAMES
    assert paths[-1] == "z"
    assert list(pickle.loads(pickle.dumps(paths))) == NAMES  # noqa: S301  # our own
    with pytest.raises(IndexError):
        paths[5]
    assert list(PathList([])) == []


def test_a_path_takes_its_bytes_and_four_more():
    tracemalloc.start()
    paths = PathList(f"class_{number % 7}/{number:08d}.jpg" for number in range(100_000))
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(paths) == 100_000
    assert used < 100_000 * (len("class_0/00000000.jpg") + 5)
