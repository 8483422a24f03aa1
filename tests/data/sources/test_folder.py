"""Folders of pictures."""

from beit.data import open_source


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
