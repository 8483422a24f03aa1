import os
import socket

import pytest

from beit.errors import ConfigError, StorageError
from beit.files import atomic_file, atomic_folder, check_apart, check_output, write_text


def nodes(folder):
    """Make what is neither a file nor a folder, and links to it."""
    os.mkfifo(folder / "pipe")
    (folder / "null").symlink_to("/dev/null")  # a device of one's own needs a superuser
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "socket"))
    return {"pipe": "a named pipe", "null": "a device", "socket": "a socket"}


@pytest.mark.parametrize("write", [atomic_file, atomic_folder])
def test_what_is_no_file_is_not_replaced(tmp_path, write):
    for name, kind in nodes(tmp_path).items():
        before = os.lstat(tmp_path / name)
        with pytest.raises(StorageError, match=f"cannot write .*{name}: it is {kind}, and a "), write(tmp_path / name):
            pytest.fail("it began")
        after = os.lstat(tmp_path / name)
        assert (before.st_mode, before.st_ino) == (after.st_mode, after.st_ino)
    assert len(os.listdir(tmp_path)) == 3


def test_files_and_folders_do_not_replace_each_other(tmp_path):
    write_text(tmp_path / "file", "kept")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="it is a file, and a folder would"), atomic_folder(tmp_path / "file"):
        pytest.fail("it began")
    with pytest.raises(StorageError, match="it is a folder, and a file would"):
        write_text(tmp_path / "folder", "new")
    assert (tmp_path / "file").read_text() == "kept"


def test_the_systems_own_links_are_not_replaced(tmp_path):
    """Standard output that goes into a file is one, and its name is a link that all programs use."""
    with (tmp_path / "out").open("w") as out:
        place = f"/proc/self/fd/{out.fileno()}"
        with pytest.raises(StorageError, match="it is of the system, and a file would"):
            write_text(place, "new")


def test_a_link_to_a_folder_stays_one(tmp_path):
    """Its folder, as on a larger disk, is replaced; a link to a file is replaced itself, and leaves the file."""
    (tmp_path / "large").mkdir()
    (tmp_path / "link").symlink_to("large")
    (tmp_path / "old").write_text("old")
    (tmp_path / "name").symlink_to("old")
    for content in ("one", "two"):
        with atomic_folder(tmp_path / "link") as temporary:
            (temporary / "file").write_text(content)
        write_text(tmp_path / "name", content)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "large/file").read_text() == "two"
    assert (tmp_path / "name").read_text() == "two"
    assert (tmp_path / "old").read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["large", "link", "name", "old"]


def test_an_output_is_refused_before_the_work(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    check_output(tmp_path / "file")
    check_output(tmp_path / "new/deep/file")
    with pytest.raises(StorageError, match=r"cannot write .*report: .*file is no folder"):
        check_output(tmp_path / "file/deep/report")
    with pytest.raises(StorageError, match="it is a folder, and a file would"):
        check_output(tmp_path / "folder")
    monkeypatch.setattr(os, "access", lambda folder, mode: folder != tmp_path / "folder")  # a superuser may write it
    with pytest.raises(StorageError, match=r"folder may not be written; change its permissions"):
        check_output(tmp_path / "folder/report")


def test_a_folder_inside_one_that_is_read(tmp_path):
    """By whatever path; one beside it whose name begins alike is no matter."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (tmp_path / "link").symlink_to("pictures")
    for output in (pictures, pictures / "run", tmp_path / "link/run", tmp_path / "beside/../pictures/run"):
        with pytest.raises(ConfigError, match=r"run\.output .* lies inside .*pictures, all of which is read"):
            check_apart(output, "run.output", [None, "digits:train", str(pictures)])
    check_apart(tmp_path / "pictures_run", "run.output", [str(pictures), str(tmp_path / "gone")])
