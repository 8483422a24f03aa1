"""Data paths: files, folders, patterns, and what is refused."""

import pytest

from beit.data import open_source, sample
from beit.errors import DataError
from tests.shards import number_of, write_shards, write_tar


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda place: place / "absent", "does not exist; expected a folder"),
        (lambda place: (place / "empty").mkdir() or place / "empty", "there are no pictures in"),
        (lambda place: (place / "a.txt").write_text("x") and place / "a.txt", "is a .txt file; expected"),
        (lambda place: (place / "a.parquet").write_text("x") and place / "a.parquet", "cannot be read as parquet"),
        (lambda place: "digits:val", "no embedded data 'digits:val'"),
        (lambda place: "digits", "no embedded data 'digits'"),
    ],
)
def test_nothing_to_read(tmp_path, make, message):
    with pytest.raises(DataError, match=message):
        open_source(str(make(tmp_path)))


def test_a_folder_may_be_called_digits(pictures, monkeypatch):
    monkeypatch.chdir(pictures.parent)
    pictures.rename("digits")
    assert open_source("digits").classes == ["cat", "dog"]
    assert len(open_source("digits/cat")) == 6


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
def test_tar_files_that_cannot_be_opened(tmp_path, make, message):
    with pytest.raises(DataError, match=message):
        open_source(str(make(tmp_path)))


def test_a_folder_of_pictures_and_shards_is_ambiguous(tmp_path, pictures):
    write_shards(pictures)
    with pytest.raises(DataError, match=r"holds pictures and tar files; name the tar files as .*/\*\.tar"):
        open_source(str(pictures))
    assert len(open_source(str(pictures / "*.tar"))) == 40


def origins(source):
    return [source.origin(index) for index in range(len(source))]


def test_a_sample_is_random_in_order_and_the_same_for_a_seed():
    digits = open_source("digits:train")
    chosen = origins(sample(digits, 50, seed=1))
    assert len(set(chosen)) == 50
    assert chosen == sorted(chosen) == origins(sample(digits, 50, seed=1)) != origins(sample(digits, 50, seed=2))
    assert max(chosen) > 1000
    assert sample(digits, 5000, seed=1) is digits


def test_a_sample_of_shards_that_are_fetched_begins_with_the_first():
    digits = open_source("digits:train")
    digits.look_ahead = 100
    assert origins(sample(digits, 50, seed=1)) == list(range(50))
