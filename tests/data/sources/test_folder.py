"""Folders of pictures."""

from beit.data import open_source
from beit.data.sources.folder import FolderSource
from tests.data.real_files.pictures import save


def test_class_folders(pictures):
    source = open_source(str(pictures))
    assert source.classes == ["cat", "dog"]
    assert source.labels.tolist() == [0] * 6 + [1] * 6
    assert source.name(7).endswith("dog/1.png")
    assert source.load(7).mode == "RGB"


def test_a_plain_folder_has_no_labels(pictures):
    source = open_source(str(pictures / "cat"))
    assert (len(source), source.classes, source.labels) == (6, None, None)


def test_hidden_files_and_other_files_are_no_pictures(pictures):
    (pictures / "cat" / ".hidden.png").write_bytes(b"x")
    (pictures / "cat" / "notes.txt").write_text("x")
    assert len(open_source(str(pictures))) == 12


def test_a_link_that_leads_back_is_followed_once(pictures):
    (pictures / "cat" / "loop").symlink_to(pictures)
    assert len(open_source(str(pictures))) == 12


def test_a_picture_that_has_gone_since_it_was_listed_is_missing(tmp_path):
    for name in ("a.png", "b.png"):
        save(tmp_path / name)
    source = FolderSource(tmp_path)
    size = (tmp_path / "a.png").stat().st_size
    (tmp_path / "b.png").unlink()
    assert list(source.contents()) == [f"a.png {size}", "b.png missing"]
