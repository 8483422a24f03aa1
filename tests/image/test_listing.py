import pytest

from beit.errors import DataError
from beit.image import EXTENSIONS, picture_files


@pytest.fixture
def folder(tmp_path):
    for name in ("b.JPG", "a/2.png", "a/1.webp", "notes.txt", "._b.jpg", ".cache/c.png", "film.mp4"):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "pictures" / "named.png").mkdir()  # a folder, whatever its name
    return tmp_path / "pictures"


def test_pictures_in_the_order_of_their_paths_and_nothing_hidden(folder):
    assert picture_files(folder) == [folder / name for name in ("a/1.webp", "a/2.png", "b.JPG")]
    assert picture_files(str(folder)) == picture_files(folder)


def test_other_endings_count_when_they_are_named(folder):
    assert picture_files(folder, EXTENSIONS | {".mp4"})[-1] == folder / "film.mp4"


def test_links_are_followed_but_not_in_circles(folder, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "d.png").touch()
    (folder / "linked").symlink_to(tmp_path / "other")
    (folder / "linked" / "back").symlink_to(folder)
    assert folder / "linked" / "d.png" in picture_files(folder)
    assert len(picture_files(folder)) == 4


def test_a_folder_without_pictures_is_refused_naming_what_was_looked_for(tmp_path):
    with pytest.raises(DataError, match=r"there are no pictures in .*; expected endings such as \.mp4"):
        picture_files(tmp_path, frozenset({".mp4"}))
