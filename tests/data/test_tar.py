import json
import os
import pickle
import tarfile

import numpy as np
import pytest

from beit.data import fingerprint, open_source
from beit.data.open_files import OpenFiles
from beit.data.tar_index import read_index, shard_index
from beit.errors import DataError
from tests.shards import number_of, picture_bytes, write_shards, write_tar


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "beit" / "shards"


def test_a_folder_a_file_and_a_pattern(tmp_path):
    paths = write_shards(tmp_path / "shards")
    for path, count in (
        (tmp_path / "shards", 40),
        (paths[1], 10),
        (tmp_path / "shards" / "train-{000..002}.tar", 30),
        (tmp_path / "shards" / "train-*[13].tar", 20),
        (tmp_path / "shards" / "train-00{0,3}.tar", 20),
    ):
        source = open_source(str(path))
        assert len(source) == count
        assert source.shard_sizes.tolist() == [10] * (count // 10)
        numbers = [number_of(source.load(index)) for index in range(count)]
        assert numbers == sorted(set(numbers))
    assert source.name(12) == f"{paths[3]}/part/000032.png"
    assert (source.labels, source.classes) == (None, None)


def test_samples_are_grouped_up_to_the_first_dot(tmp_path):
    one, two, three = (picture_bytes(number) for number in (1, 2, 3))
    write_tar(
        tmp_path / "x.tar",
        [
            ("v1.0/a.seg.png", three), ("v1.0/a.png", one), ("v1.0/a.txt", b"a caption"), ("notes.txt", b"no picture"),
            ("b.left.jpg", picture_bytes(4, "JPEG")), ("c.JSON", b"{}"), ("c.PNG", two), (".hidden.png", one),
        ],
    )  # fmt: skip
    source = open_source(str(tmp_path / "x.tar"))
    assert [number_of(source.load(index)) for index in (0, 2)] == [1, 2]
    assert [source.name(index).rpartition(".tar/")[2] for index in range(3)] == ["v1.0/a.png", "b.left.jpg", "c.PNG"]


def samples(labels):
    for number, (part, content) in enumerate(labels):
        yield f"{number}.png", picture_bytes(number)
        if part:
            yield f"{number}.{part}", content


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([("cls", b"10\n"), ("cls", b"9"), ("cls", b"10")], ["9", "10"]),
        ([("cls", b"dog"), ("json", b'{"label": "cat"}'), ("cls", b"dog")], ["cat", "dog"]),
        ([("json", b'{"label": 2}'), ("json", b'{"label": 1, "x": 3}'), ("cls", b"2")], ["1", "2"]),
        ([("cls", b"1"), (None, b""), ("cls", b"2")], None),
        ([("json", b'{"label": 2}'), ("json", b"{broken"), ("json", b'{"caption": 1}')], None),
    ],
)
def test_labels(tmp_path, labels, classes):
    write_tar(tmp_path / "x.tar", samples(labels))
    for _ in range(2):  # read, and from the cache
        source = open_source(str(tmp_path / "x.tar"))
        assert source.classes == classes
        if classes is None:
            assert source.labels is None
        else:
            told = [json.loads(text)["label"] if part == "json" else text.decode().strip() for part, text in labels]
            assert [source.classes[label] for label in source.labels] == [str(label) for label in told]


def test_labels_of_several_shards_are_one_list(tmp_path):
    write_shards(tmp_path, label=lambda number: number // 9 * 3)
    source = open_source(str(tmp_path))
    assert source.classes == ["0", "3", "6", "9", "12"]
    assert source.labels.tolist() == [number // 9 for number in range(40)]


def test_long_names_and_other_layouts(tmp_path):
    name = "deep/" * 40 + "x" * 90 + ".png"
    for layout in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with tarfile.open(tmp_path / "x.tar", "w", format=layout) as tar:
            (tmp_path / "x.png").write_bytes(picture_bytes(7))
            tar.add(tmp_path / "x.png", name)
            tar.add(tmp_path / "x.png", "ü.png")
        source = open_source(str(tmp_path / "x.tar"))
        assert [source.name(index).rpartition(".tar/")[2] for index in (0, 1)] == [name, "ü.png"]
        assert number_of(source.load(1)) == 7


# The index is kept, and is never wrong


def test_the_index_is_kept_and_made_anew_when_the_shard_changes(tmp_path, cache, monkeypatch):
    (path,) = write_shards(tmp_path / "shards", shards=1, pictures=5)
    first = shard_index(path)
    monkeypatch.setattr("beit.data.tar_index.read_index", lambda _: pytest.fail("the headers were read again"))
    kept = shard_index(path)
    assert np.array_equal(kept.offsets, first.offsets)
    assert kept.digest == first.digest
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache.parents[1]))
    write_shards(tmp_path / "shards", shards=1, pictures=6)
    assert len(shard_index(path).sizes) == 6
    assert len(list(cache.iterdir())) == 1, "in place of the old one"


@pytest.mark.parametrize("damage", [b"", b"x", None])
def test_a_damaged_index_is_made_anew(tmp_path, cache, damage):
    (path,) = write_shards(tmp_path / "shards", shards=1, pictures=5)
    first = shard_index(path)
    (kept,) = cache.iterdir()
    content = bytearray(kept.read_bytes())
    content[len(content) // 2] ^= 0xFF
    kept.write_bytes(bytes(content) if damage is None else damage)
    assert np.array_equal(shard_index(path).offsets, first.offsets)
    assert kept.stat().st_size == len(content)


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    write_shards(tmp_path / "shards")
    assert len(open_source(str(tmp_path / "shards"))) == 40


def test_the_fingerprint_follows_the_content(tmp_path):
    paths = write_shards(tmp_path / "a")
    before = fingerprint(open_source(str(tmp_path / "a")))
    (tmp_path / "a").rename(tmp_path / "b")
    assert fingerprint(open_source(str(tmp_path / "b"))) == before
    (tmp_path / "b" / paths[2].name).unlink()
    assert fingerprint(open_source(str(tmp_path / "b"))) != before


# Shards that cannot be read


def cut(path, keep):
    path.write_bytes(path.read_bytes()[:keep])


DAMAGES = {
    "in a picture": (lambda path: cut(path, 512 * 9 + 100), "unexpected end of data|cut off or damaged"),
    "between two": (lambda path: cut(path, 512 * 4), "cut off or damaged at byte 2048"),
    "in a header": (lambda path: cut(path, 512 * 4 + 70), "cut off or damaged at byte 2048"),
    "empty": (lambda path: path.write_bytes(b""), "no tar file"),
    "no tar": (lambda path: path.write_bytes(b"<html>not found</html>" * 99), "no tar file"),
    "gzip": (lambda path: path.write_bytes(b"\x1f\x8b" + bytes(2000)), "compressed by gzip"),
    "gone": (lambda path: path.unlink(), "No such file"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "Is a directory"),
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


def test_every_cut_is_noticed(tmp_path):
    path = write_tar(tmp_path / "x.tar", [(f"{number}.png", picture_bytes(number)) for number in range(3)])
    content = path.read_bytes()
    end = int(read_index(path).offsets[-1]) + 512  # where the mark of the end begins
    for length in range(0, end + 512, 64):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match=r"damaged|cut off"):
            read_index(path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda place: write_tar(place / "a.tar", []), "a.tar cannot be read: it holds no pictures"),
        (lambda place: (place / "a.tar.gz").write_bytes(b"x") and place / "a.tar.gz", "gz is compressed.*unpack"),
        (lambda place: (place / "a.tar.zst").write_bytes(b"x") and place, "zst is compressed.*unpack"),
        (lambda place: place / "x-{000..009}.tar", r"no file matches data path '.*x-\{000\.\.009\}\.tar'"),
        (lambda place: [(place / f"{x}.tar").write_bytes(b"x") for x in "ab"] and place, "none of the 2 tar files"),
    ],
)  # fmt: skip
def test_nothing_to_read(tmp_path, make, message):
    with pytest.raises(DataError, match=message):
        open_source(str(make(tmp_path)))


def test_a_folder_of_pictures_and_shards_is_ambiguous(tmp_path, pictures):
    write_shards(pictures)
    with pytest.raises(DataError, match=r"holds pictures and tar files; name the tar files as .*/\*\.tar"):
        open_source(str(pictures))
    assert len(open_source(str(pictures / "*.tar"))) == 40


def test_pictures_that_break_later_are_told_by_name(tmp_path):
    path = write_tar(tmp_path / "x.tar", [("a.png", b"no picture"), ("b.jpg", picture_bytes(2, "JPEG")[:-200])])
    source = open_source(str(path))
    with pytest.raises(DataError, match=r"x\.tar/a\.png is not a picture"):
        source.load(0)
    with pytest.raises(DataError, match=r"x\.tar/b\.jpg is broken"):
        source.load(1)
    cut(path, 600)
    with pytest.raises(DataError, match=r"x\.tar.* is cut off.*fetch it again"):
        source.load(1)
    path.unlink()
    reopened = pickle.loads(pickle.dumps(source))  # noqa: S301  # as a worker process that is not forked gets it
    with pytest.raises(DataError, match=r"x\.tar.*cannot be read: No such file"):
        reopened.load(1)


def test_few_files_stay_open(tmp_path, monkeypatch):
    monkeypatch.setattr("beit.data.open_files._MOST", 2)
    files = OpenFiles()
    for round_ in range(3):
        for name in "abcd":
            (tmp_path / name).write_bytes(b"0123" + name.encode())
            assert files.read(tmp_path / name, 3, 9) == b"3" + name.encode(), round_
    assert len(files._handles) == 2


# One damaged parquet file of several


def test_a_damaged_parquet_file_of_several_is_left_out(tmp_path, capfd, monkeypatch):
    from tests.shards import write_parquet

    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
    paths = write_parquet(tmp_path / "shards")
    cut(paths[1], 1000)  # no footer
    content = bytearray(paths[2].read_bytes())
    content[4:200] = b"\xff" * 196  # the first page
    paths[2].write_bytes(content)
    source = open_source(str(tmp_path / "shards"))
    assert [shard.name for shard in source.broken_shards] == [str(paths[1]), str(paths[2])]
    assert source.shard_sizes.tolist() == [10, 10]
    assert [number_of(source.load(index)) for index in (9, 10)] == [9, 30]
    assert source.name(10) == f"{paths[3]}, row 0"
    assert capfd.readouterr() == ("", ""), "in no other way"
