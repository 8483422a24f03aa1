"""Tar shards of pictures, and those that cannot be read."""

import io
import os
import pickle

import numpy as np
import pytest

from beit.data import ViewDataset, fingerprint, open_source
from beit.data.sources.tar.shards import OpenFiles
from beit.errors import DataError, GoneError
from beit.image import BandOptions
from tests.shards import number_of, picture_bytes, write_shards, write_tar


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "beit" / "shards"


def cut(path, keep):
    path.write_bytes(path.read_bytes()[:keep])


def test_the_fingerprint_follows_the_content(tmp_path):
    paths = write_shards(tmp_path / "a")
    before = fingerprint(open_source(str(tmp_path / "a")))
    (tmp_path / "a").rename(tmp_path / "b")
    assert fingerprint(open_source(str(tmp_path / "b"))) == before
    (tmp_path / "b" / paths[2].name).unlink()
    assert fingerprint(open_source(str(tmp_path / "b"))) != before


DAMAGES = {
    "in a picture": (lambda path: cut(path, 512 * 9 + 100), "unexpected end of data|cut off or damaged"),
    "between two": (lambda path: cut(path, 512 * 4), "cut off or damaged at byte 2048"),
    "in a header": (lambda path: cut(path, 512 * 4 + 70), "cut off or damaged at byte 2048"),
    "empty": (lambda path: path.write_bytes(b""), "no tar file"),
    "no tar": (lambda path: path.write_bytes(b"<html>not found</html>" * 99), "no tar file"),
    "gzip": (lambda path: path.write_bytes(b"\x1f\x8b" + bytes(2000)), "compressed by gzip"),
    "gone": (lambda path: path.unlink(), "No such file"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "it is a folder; expected a regular file"),
    "no pictures": (lambda path: write_tar(path, [("a.txt", b"x")]), "holds no pictures"),
    "overwritten": (lambda path: path.write_bytes(path.read_bytes()[:2048] + b"\x55" * 9000), "damaged at byte 2048"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_unreadable_shard_is_named_and_left_out(tmp_path, damage):
    paths = write_shards(tmp_path / "shards")
    harm, reason = DAMAGES[damage]
    harm(paths[1])
    source = open_source(str(tmp_path / "shards" / "train-{000..003}.tar"))
    assert len(source) == 30
    assert [number_of(source.load(index)) for index in (9, 10)] == [9, 20]
    (broken,) = source.broken_shards
    assert broken.name == str(paths[1])
    with pytest.raises(DataError, match=reason):
        raise DataError(broken.reason)
    assert "\n" not in broken.reason


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_shard_without_permission(tmp_path):
    paths = write_shards(tmp_path / "shards")
    paths[0].chmod(0)
    assert [shard.reason for shard in open_source(str(tmp_path / "shards")).broken_shards] == ["Permission denied"]


def test_pictures_that_break_later_are_named(tmp_path):
    path = write_tar(tmp_path / "x.tar", [("a.png", b"no picture"), ("b.jpg", picture_bytes(2, "JPEG")[:-200])])
    source = open_source(str(path))
    with pytest.raises(DataError, match=r"x\.tar/a\.png is not a picture"):
        source.load(0)
    with pytest.raises(DataError, match=r"x\.tar/b\.jpg is broken"):
        source.load(1)
    cut(path, 600)
    with pytest.raises(GoneError, match=r"x\.tar was written since it was opened \(600 bytes, "):
        source.load(1)


def test_a_shard_that_goes_or_is_written_anew_is_no_broken_picture(tmp_path):
    """Open files are read on as they were; of one that is opened anew the places are those of another."""
    parts = [(f"{number}.png", picture_bytes(number)) for number in range(3)]
    path = write_tar(tmp_path / "x.tar", parts)
    source = open_source(str(path))
    assert number_of(source.load(0)) == 0
    write_tar(tmp_path / "y.tar", parts[::-1]).rename(path)
    assert number_of(source.load(1)) == 1
    for number in range(2):
        reopened = pickle.loads(pickle.dumps(source))  # noqa: S301  # as a worker process that is not forked gets it
        views = ViewDataset(reopened, lambda *_: pytest.fail("it is read"), 0, replace_broken=number == 0)
        with pytest.raises(GoneError, match=r"x\.tar was written since it was opened .* bring the former back"):
            views[0, 1]
    path.unlink()
    reopened = pickle.loads(pickle.dumps(source))  # noqa: S301
    with pytest.raises(GoneError, match=r"x\.tar was there when it was listed and cannot be read any more \(No such"):
        reopened.load(1)


def test_few_files_stay_open(tmp_path, monkeypatch):
    monkeypatch.setattr("beit.data.sources.tar.shards._MOST_OPEN", 2)
    files = OpenFiles()
    for round_ in range(3):
        for name in "abcd":
            (tmp_path / name).write_bytes(b"0123" + name.encode())
            assert files.read(tmp_path / name, 3, 9) == b"3" + name.encode(), round_
    assert len(files._handles) == 2


def test_arrays_are_pictures_where_there_are_other_channels(tmp_path):
    scenes = [np.full((16, 12, 5), shade, np.uint16) for shade in (0, 65535)]
    parts = []
    for number, scene in enumerate(scenes):
        buffer = io.BytesIO()
        np.save(buffer, scene)
        parts += [(f"{number}.npy", buffer.getvalue()), (f"{number}.cls", str(number).encode())]
    write_tar(tmp_path / "x.tar", [*parts, ("2.png", picture_bytes(2)), ("2.cls", b"0")])
    assert len(open_source(str(tmp_path / "x.tar"))) == 1  # of colours
    source = open_source(str(tmp_path / "x.tar"), bands=BandOptions(5))
    assert (len(source), source.labels.tolist()) == (3, [0, 1, 0])
    assert [source.open(index).decode().picture.unit_array().mean() for index in (0, 1)] == [0, 1]
    with pytest.raises(DataError, match="expected 5"):
        source.open(2)
