import errno
import os

import pytest

from beit.errors import StorageError
from beit.files import (
    atomic_file,
    atomic_folder,
    discard_leftovers,
    discard_leftovers_of,
    locked_output,
    write_text,
)


def test_a_file_appears_whole(tmp_path):
    with atomic_file(tmp_path / "deep" / "a.txt") as temporary:
        temporary.write_text("new")
        assert not (tmp_path / "deep" / "a.txt").exists()
    assert (tmp_path / "deep" / "a.txt").read_text() == "new"
    assert os.listdir(tmp_path / "deep") == ["a.txt"]


def run_out_of_space(writer, place):
    with writer(place) as temporary:
        (temporary / "x" if temporary.is_dir() else temporary).write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_full_disk_leaves_what_was_there(tmp_path, kind):
    place = tmp_path / "file"
    with (atomic_file if kind == "file" else atomic_folder)(place) as temporary:
        (temporary if kind == "file" else temporary / "x").write_text("old")
    with pytest.raises(StorageError, match=r"cannot write .*file: No space left on device; free space"):
        run_out_of_space(atomic_file if kind == "file" else atomic_folder, place)
    assert (place if kind == "file" else place / "x").read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_other_errors_pass_through_and_leave_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "x"):
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == []


def test_a_folder_is_replaced(tmp_path):
    for content in ("one", "two"):
        with atomic_folder(tmp_path / "x") as temporary:
            (temporary / "file").write_text(content)
    assert (tmp_path / "x" / "file").read_text() == "two"
    assert os.listdir(tmp_path) == ["x"]


def move_meanwhile(place, elsewhere):
    with atomic_folder(place) as temporary:
        (temporary / "weights").write_text("whole")
        place.parent.rename(elsewhere)
        write_text(temporary / "sums", "of nothing")


def test_a_folder_that_is_moved_while_it_is_written_is_none(tmp_path):
    """What is written afterwards makes another folder of the name, which holds the rest alone."""
    place = tmp_path / "run" / "x"
    with pytest.raises(StorageError, match=r"cannot write .*x: No such file or directory; its folder has gone"):
        move_meanwhile(place, tmp_path / "moved")
    assert not list((tmp_path / "run").iterdir())


def test_leftovers_of_a_killed_process(tmp_path):
    (tmp_path / ".step.12.tmp").mkdir()
    (tmp_path / ".file.12.tmp").write_text("half")
    (tmp_path / ".model.12.old").mkdir()  # killed between the two renames of a replacement
    (tmp_path / "kept").mkdir()
    (tmp_path / ".kept.12.old").mkdir()
    discard_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["kept", "model"]


def test_leftovers_of_one_output(tmp_path):
    """Only those of its own name, which may look like a pattern."""
    output = tmp_path / "model[1]"
    for name in (".model[1].12.tmp", ".model[1].13.old", ".model[1].x.tmp", ".model1.12.tmp", ".model[1].b.12.tmp"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_text(name)
    with locked_output(output):
        assert (output / "weights").read_text() == ".model[1].13.old"  # a half-done replacement is taken back
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"model[1]", ".model[1].x.tmp", ".model1.12.tmp", ".model[1].b.12.tmp"}
    (output / ".weights.14.tmp").touch()  # of a file of the folder
    (output / ".weights.tmp").touch()  # anyone's
    (tmp_path / ".model[1].14.tmp").touch()
    (tmp_path / ".model[1].15.old").mkdir()
    discard_leftovers_of(output)
    assert {path.name for path in tmp_path.iterdir()} == left
    assert {path.name for path in output.iterdir()} == {"weights", ".weights.tmp"}


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "free space or choose another folder"),
        (errno.ENOENT, "its folder has gone: give it back its name"),
        (errno.EISDIR, "something else lies there: remove or rename it"),
        (errno.EACCES, "change its permissions"),
        (errno.EROFS, "it cannot be written at all: choose another folder"),
        (errno.ENAMETOOLONG, "choose a shorter name"),
    ],
)
def test_the_remedy_follows_the_error(tmp_path, number, remedy):
    with pytest.raises(StorageError, match=f"cannot write .*file: {os.strerror(number)}; {remedy}"):  # noqa: SIM117
        with atomic_file(tmp_path / "file"):
            raise OSError(number, os.strerror(number))
