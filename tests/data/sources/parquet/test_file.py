"""One parquet file of pictures."""

import os

import pytest

from beit.data import open_source
from beit.data.sources.parquet.file import file_line
from beit.errors import DataError, GoneError, StorageError
from tests.shards import number_of, picture_bytes


def test_cifar10_parquet(real_data):
    source = open_source(str(real_data / "cifar10" / "test.parquet"))
    assert len(source.classes) == 10
    assert len(source) == len(source.labels)
    assert source.load(3).size == (32, 32)
    assert source.name(3).endswith("test.parquet, row 3")


def test_parquet_without_labels_and_with_bare_bytes(tmp_path, pictures):
    import pyarrow as pa
    import pyarrow.parquet as pq

    content = (pictures / "cat" / "0.png").read_bytes()
    pq.write_table(pa.table({"img": [content, b"broken", None]}), tmp_path / "x.parquet")
    source = open_source(str(tmp_path / "x.parquet"))
    assert source.labels is None
    assert source.load(0).mode == "RGB"
    with pytest.raises(DataError, match="row 1 is not a picture"):
        source.load(1)
    with pytest.raises(DataError, match="row 2 holds "):
        source.load(2)
    assert len(open_source(str(tmp_path), min_side=1)) == 3, "a folder of parquet files"


@pytest.mark.parametrize(
    ("labels", "classes"),
    [(["b", "a", "b"], ["a", "b"]), ([7, 3, 7], ["3", "7"]), (["b", None, "a"], None), ([b"x", b"y", b"x"], None)],
)
def test_parquet_labels(tmp_path, pictures, labels, classes):
    import pyarrow as pa
    import pyarrow.parquet as pq

    content = (pictures / "cat" / "0.png").read_bytes()
    pq.write_table(pa.table({"image": [content] * 3, "label": labels}), tmp_path / "x.parquet")
    if classes is None:
        with pytest.raises(DataError, match="expected one class per row, none missing"):
            open_source(str(tmp_path / "x.parquet"))
    else:
        source = open_source(str(tmp_path / "x.parquet"))
        assert [source.classes[label] for label in source.labels] == [str(label) for label in labels]


def test_a_parquet_file_without_image_bytes(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"has the columns \['text'\]; expected image bytes"):
        open_source(str(tmp_path / "x.parquet"))


def test_a_file_without_rows_is_named(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"image": pa.array([], pa.binary())}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"x\.parquet cannot be read as parquet: it has no rows; expected pictures"):
        open_source(str(tmp_path / "x.parquet"))


def test_a_file_that_goes_while_it_is_opened_is_named(tmp_path, pictures, monkeypatch):
    import datasets
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"image": [(pictures / "cat" / "0.png").read_bytes()]}), path)
    read = datasets.Dataset.from_parquet

    def gone(place):
        path.unlink()
        return read(place)

    monkeypatch.setattr(datasets.Dataset, "from_parquet", gone)
    with pytest.raises(DataError, match=r"x\.parquet cannot be read as parquet: it has gone since it was opened"):
        open_source(str(path))
    assert file_line(path) == "x.parquet missing"


def test_a_disk_that_datasets_finds_full_is_named(tmp_path, monkeypatch):
    """It looks before it writes, and says so by an error without a number."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"image": [picture_bytes(1)]}), tmp_path / "x.parquet")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.setattr("datasets.builder.has_sufficient_disk_space", lambda *_, **__: False)
    with pytest.raises(
        StorageError, match=r"cannot keep the rows of .*x\.parquet: No space left on device; free space"
    ):
        open_source(str(tmp_path / "x.parquet"))


def test_a_mapped_file_that_is_cut_off_is_an_error_and_no_signal(tmp_path):
    import datasets

    pictures = [{"bytes": picture_bytes(number), "path": None} for number in range(200)]
    features = datasets.Features({"image": datasets.Image()})
    datasets.Dataset.from_dict({"image": pictures}, features=features).save_to_disk(str(tmp_path / "s"), num_shards=2)
    source = open_source(str(tmp_path / "s"))
    first, second = sorted((tmp_path / "s").glob("*.arrow"))
    os.truncate(second, 100)
    assert number_of(source.load(0)) == 0
    with pytest.raises(GoneError, match=r"00001-of-00002\.arrow was written since it was opened \(100 bytes, "):
        source.load(199)
    first.unlink()
    assert number_of(source.load(99)) == 99, "what was removed is mapped still"
