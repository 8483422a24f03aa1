"""A large folder is listed once, until something in it changes."""

import os
import pickle
import time
import tracemalloc
from array import array
from pathlib import Path

import numpy as np
import pytest

from beit.data.sources import folder_index
from beit.data.sources.folder_index import PathList, listed
from beit.image import EXTENSIONS, PassedOver

OLD = 60 * 10**9  # ns
NAMES = ["a/1.png", "ä/日本.png", "", "broken\udcff.png", "z"]


@pytest.fixture
def large(tmp_path, monkeypatch):
    """A folder of four pictures that counts as large, and an empty place for indices."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(folder_index, "LARGE", 3)
    for name in ("a/1.png", "a/2.jpg", "b\udcff/ä.png", "b\udcff/3.png", "a/notes.txt", "@eaDir/4.png"):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    settle(tmp_path / "pictures")
    return tmp_path / "pictures"


def settle(folder):
    """Let the last change of every folder be a minute ago."""
    then = time.time_ns() - OLD
    for place in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        os.utime(place, ns=(then, then))


def look(folder, endings=EXTENSIONS):
    """Return the paths, what was passed over, and how often the folder was walked."""
    walks, walk = [], folder_index.walk_pictures
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(folder_index, "walk_pictures", lambda *given: walks.append(given) or walk(*given))
        passed_over = PassedOver()
        paths = list(listed(folder, endings, passed_over))
    return paths, str(passed_over), len(walks)


def test_the_second_look_finds_the_same_without_a_walk(large):
    first, second = look(large), look(large)
    assert first[0] == ["a/1.png", "a/2.jpg", "b\udcff/3.png", "b\udcff/ä.png"]
    assert "1 .txt" in first[1]
    assert "@eaDir" in first[1]
    assert (*first[:2], 0) == second
    linked = large.with_name("link")
    linked.symlink_to(large)
    assert look(linked) == second, "the same folder by another name"
    assert look(large, endings=frozenset({".jpg"}))[0] == ["a/2.jpg"]


@pytest.mark.parametrize("change", ["added", "removed", "renamed", "replaced", "emptied"])
def test_any_change_of_names_is_seen(large, change):
    before = look(large)[0]
    if change == "added":
        (large / "a/0.png").touch()
    elif change == "removed":
        (large / "a/1.png").unlink()
    elif change == "renamed":
        (large / "a/1.png").rename(large / "a/5.png")
    else:  # another folder of the same name and time
        old = (large / "a").stat().st_mtime_ns
        (large / "a").rename(large.parent / "elsewhere")
        (large / "a").mkdir()
        for name in ("1.png", "9.png") if change == "replaced" else ():
            (large / "a" / name).touch()
        os.utime(large / "a", ns=(old, old))
    paths, _, walks = look(large)
    assert (walks, paths == before) == (1, False)
    assert paths == sorted(str(path.relative_to(large)) for path in large.rglob("*") if counts(path))


def counts(path: Path):
    return path.suffix in EXTENSIONS and "@eaDir" not in path.parts


def test_what_changed_just_now_or_is_small_is_not_kept(large, monkeypatch):
    (large / "a/0.png").touch()
    assert [look(large)[2] for _ in range(2)] == [1, 1]
    settle(large)
    monkeypatch.setattr(folder_index, "LARGE", 6)
    assert [look(large)[2] for _ in range(2)] == [1, 1]
    monkeypatch.setattr(folder_index, "LARGE", 5)
    assert [look(large)[2] for _ in range(2)] == [1, 0]


def test_a_damaged_index_is_made_again(large):
    look(large)
    (index,) = (large.parent / "cache").rglob("*.npz")
    index.write_bytes(index.read_bytes()[:100])
    assert [look(large)[2] for _ in range(2)] == [1, 0]


@pytest.mark.parametrize("content", ["", "{}", '{"folders": 3}', '{"folders": [], "passed_over": [1]}'])
def test_an_index_of_anything_else_is_made_again(large, content):
    before = look(large)[0]
    (index,) = (large.parent / "cache").rglob("*.npz")
    with np.load(index) as stored:
        arrays = {**stored, "described": np.array(content)}
    np.savez(index, **arrays)
    assert look(large)[::2] == (before, 1)


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


def test_paths_of_more_bytes_than_small_numbers_count(monkeypatch):
    """Of 4 GiB of paths the ends take eight bytes each; here of 64 KiB."""
    small = {"I": "H", "Q": "Q"}
    monkeypatch.setattr(folder_index, "array", lambda kind, *given: array(small[kind], *given))
    names = [f"class_{number % 7}/picture_{number:05}.jpeg" for number in range(4000)]
    paths = PathList(names)
    assert list(paths) == names
    assert (paths[0], paths[3999], paths[-2]) == (names[0], names[3999], names[-2])
    assert paths.arrays()[1].dtype == np.uint64
