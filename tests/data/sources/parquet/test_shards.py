"""Several parquet files on a disk: known by their footers, opened when the order comes to them."""

import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beit.data import (
    Augmentation,
    BatchOrder,
    Collate,
    ViewDataset,
    Views,
    fingerprint,
    open_source,
    split,
    training_batches,
)
from beit.errors import DataError, GoneError
from beit.image import Preprocessing
from tests.shards import number_of, picture_bytes, write_parquet


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Where `datasets` keeps its own form."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
    return lambda: len(list((tmp_path / "datasets").rglob("*.arrow")))


def write(path, numbers, **columns):
    pq.write_table(pa.table({"image": [picture_bytes(number) for number in numbers], **columns}), path)


def test_a_file_is_kept_when_a_picture_of_it_is_wanted(tmp_path, kept):
    paths = write_parquet(tmp_path / "shards")
    source = open_source(str(tmp_path / "shards"))
    assert len(source) == 40
    assert source.shard_sizes.tolist() == [10] * 4
    assert source.classes == ["0", "1", "2"]
    assert source.labels.tolist() == [number % 3 for number in range(40)]
    assert source.name(25) == f"{paths[2]}, row 5"
    split(source, 0.1, seed=0)
    assert kept() == 0
    assert number_of(source.load(25)) == 25
    assert number_of(source.load(21)) == 21
    assert kept() == 1
    again = pickle.loads(pickle.dumps(source))  # noqa: S301  # our own
    assert [number_of(again.load(index)) for index in range(40)] == list(range(40))
    assert kept() == 4
    assert fingerprint(again) == fingerprint(open_source(f"{tmp_path}/shards/train-*.parquet"))


def test_files_are_opened_in_the_order_of_the_run(tmp_path, kept):
    write_parquet(tmp_path / "shards")
    source = open_source(str(tmp_path / "shards"))
    views = Views(Preprocessing((16, 16), (18, 18)), Augmentation())
    dataset = ViewDataset(source, views, 5, replace_broken=True)
    order = BatchOrder(40, 8, 5, 5, window=10, shard_sizes=dataset.shard_sizes)
    batches = iter(training_batches(dataset, order, Collate(5), 0))
    next(batches)
    source._thread.submit(lambda: None).result()  # what was begun is done
    assert kept() < 4, "those in use, and the next ten pictures"
    assert sum(len(batch.indices) for batch in batches) == 32
    assert kept() == 4


def test_classes_are_those_of_all_files(tmp_path, kept):
    write(tmp_path / "a.parquet", [1, 2], label=["b", "c"])
    write(tmp_path / "b.parquet", [3, 4], label=["a", "c"])
    source = open_source(str(tmp_path))
    assert source.classes == ["a", "b", "c"]
    assert source.labels.tolist() == [1, 2, 0, 2]


def test_files_that_do_not_fit_together(tmp_path, kept):
    write(tmp_path / "a.parquet", [1, 2], label=[1, 2])
    write(tmp_path / "b.parquet", [3, 4])
    with pytest.raises(DataError, match=r"b\.parquet has the columns \['image'\], a\.parquet has"):
        open_source(str(tmp_path))
    write(tmp_path / "b.parquet", [3, 4], label=["x", "y"])
    with pytest.raises(DataError, match=r"the labels of .* differ in kind between its files"):
        open_source(str(tmp_path))
    for name in "ab":
        pq.write_table(pa.table({"text": ["a"]}), tmp_path / f"{name}.parquet")
    with pytest.raises(DataError, match=r"has the columns \['text'\]; expected image bytes"):
        open_source(str(tmp_path))
    for name in "ab":
        write(tmp_path / f"{name}.parquet", [])
    with pytest.raises(DataError, match="has no rows; expected pictures"):
        open_source(str(tmp_path))
    for name in "ab":
        (tmp_path / f"{name}.parquet").write_text("x")
    with pytest.raises(DataError, match="cannot be read as parquet"):
        open_source(str(tmp_path))


def test_a_missing_file_of_a_pattern_is_named(tmp_path, kept):
    for number in (0, 2):
        write(tmp_path / f"{number}.parquet", [number])
    source = open_source(f"{tmp_path}/{{0..2}}.parquet")
    (broken,) = source.broken_shards
    assert (broken.name, broken.reason) == (f"{tmp_path}/1.parquet", "No such file or directory")
    assert [number_of(source.load(index)) for index in range(2)] == [0, 2]


def test_damage_behind_the_first_picture_is_reported_by_its_pictures_and_read_once(tmp_path, kept, monkeypatch):
    paths = write_parquet(tmp_path / "shards", 80, 2)
    table = pq.read_table(paths[1])
    pq.write_table(table, paths[1], row_group_size=10)
    content = bytearray(paths[1].read_bytes())
    start = pq.ParquetFile(paths[1]).metadata.row_group(3).column(0).dictionary_page_offset
    content[start : start + 200] = b"\xff" * 200
    paths[1].write_bytes(content)
    source = open_source(str(tmp_path / "shards"))
    assert not source.broken_shards
    assert number_of(source.load(39)) == 39
    for _ in range(2):
        with pytest.raises(DataError, match=r"train-00001-of-00002\.parquet cannot be read as parquet"):
            source.load(40)
        monkeypatch.setattr("beit.data.sources.parquet.shards.ParquetSource", lambda *_: pytest.fail("read again"))


def test_a_file_that_goes_or_is_written_anew_is_no_broken_one(tmp_path, kept):
    """What is open stays as it was; the numbers and labels of others are those that were read at the beginning."""
    paths = write_parquet(tmp_path / "shards")
    source = open_source(str(tmp_path / "shards"))
    assert number_of(source.load(3)) == 3
    write(paths[1], range(20, 30), label=[0] * 10)
    for read in (source.load, lambda index: source.fetch([index], [])):
        with pytest.raises(GoneError, match=r"train-00001-of-00004\.parquet was written since it was opened"):
            read(15)
    paths[1].unlink()
    paths[0].unlink()
    with pytest.raises(GoneError, match=r"00001-of-00004\.parquet was there when it was listed and cannot be read any"):
        source.load(15)
    assert number_of(source.load(4)) == 4


def test_a_sample_looks_at_no_other_files(tmp_path, kept, monkeypatch):
    write_parquet(tmp_path / "shards")
    source = open_source(str(tmp_path / "shards"))
    lines = list(source.contents())
    monkeypatch.setattr("beit.data.sources.parquet.shards.file_line", str)
    assert [lines[at].partition(" ")[0] in path for at, path in zip((0, 3), source.sampled(2), strict=True)] == [
        True
    ] * 2


def test_waiting_for_many_files_is_said(tmp_path, kept, capsys):
    write_parquet(tmp_path / "shards", 36, 12)
    source = open_source(str(tmp_path / "shards"))
    source.fetch(np.arange(36), ())
    assert "parquet files for the next pictures, which `datasets` keeps once more" in capsys.readouterr().err
    source.fetch(np.arange(36), ())
    assert capsys.readouterr().err == "", "once"


def cut(path, keep):
    path.write_bytes(path.read_bytes()[:keep])


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
