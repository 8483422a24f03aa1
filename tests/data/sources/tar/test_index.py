"""Index of a tar shard: grouping, labels, its cache, and every cut noticed."""

import json
import tarfile

import numpy as np
import pytest

from beit.data import open_source
from beit.data.sources.tar.index import read_index, shard_index
from beit.errors import DataError
from tests.shards import number_of, picture_bytes, write_shards, write_tar


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "beit" / "shards"


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
            expected = [json.loads(text)["label"] if part == "json" else text.decode().strip() for part, text in labels]
            assert [source.classes[label] for label in source.labels] == [str(label) for label in expected]


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


def test_the_index_is_kept_and_made_anew_when_the_shard_changes(tmp_path, cache, monkeypatch):
    (path,) = write_shards(tmp_path / "shards", shards=1, pictures=5)
    first = shard_index(path)
    monkeypatch.setattr("beit.data.sources.tar.index.read_index", lambda _: pytest.fail("the headers were read again"))
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


@pytest.mark.parametrize("name", ["places", "passed_over", "labels"])
def test_an_index_of_anything_else_is_made_anew(tmp_path, cache, name):
    (path,) = write_shards(tmp_path / "shards", shards=1, pictures=5)
    first = shard_index(path)
    (kept,) = cache.iterdir()
    with np.load(kept) as stored:
        arrays = {**stored, name: np.array("[1")}
    np.savez(kept, **arrays)
    assert np.array_equal(shard_index(path).offsets, first.offsets)


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    write_shards(tmp_path / "shards")
    assert len(open_source(str(tmp_path / "shards"))) == 40


def test_every_cut_is_noticed(tmp_path):
    path = write_tar(tmp_path / "x.tar", [(f"{number}.png", picture_bytes(number)) for number in range(3)])
    content = path.read_bytes()
    end = int(read_index(path).offsets[-1]) + 512  # where the mark of the end begins
    for length in range(0, end + 512, 64):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match=r"damaged|cut off"):
            read_index(path)


def test_pictures_of_which_numbers_differ_are_samples_of_their_own(tmp_path):
    names = ["a/cat.0.jpg", "a/cat.1.jpg", "a/dog_jpg.rf.3f2.jpg", "a/dog_jpg.rf.4a1.jpg"]
    index = read_index(write_tar(tmp_path / "x.tar", [(name, b"x") for name in names]))
    assert (len(index.sizes), index.passed_over) == (4, {})
    views = [("1.cls", b"3"), ("1.view0.jpg", b"x"), ("1.view1.jpg", b"x"), ("2.left.jpg", b"x"), ("2.right.jpg", b"x")]
    index = read_index(write_tar(tmp_path / "y.tar", views))
    assert len(index.sizes) == 2
    assert index.passed_over[".jpg of samples that have a picture already"] == 2
