"""Labels in parquet files as people have them: kinds of values, columns, splits."""

import pytest

from beit.data import open_source
from beit.errors import DataError
from tests.shards import picture_bytes


def parquet(place, **columns):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = len(next(iter(columns.values())))
    pictures = [{"bytes": picture_bytes(number), "path": None} for number in range(rows)]
    pq.write_table(pa.table({"photo" if "kind" in columns else "image": pictures, **columns}), place)
    return str(place)


def test_labels_of_parquet_files(tmp_path):
    flags = open_source(parquet(tmp_path / "a.parquet", label=[True, False, True]))
    assert (flags.classes, flags.labels.tolist()) == (["false", "true"], [1, 0, 1])
    whole = open_source(parquet(tmp_path / "b.parquet", label=[10.0, 2.0, 10.0]))
    assert (whole.classes, whole.labels.tolist()) == (["2", "10"], [1, 0, 1])
    with pytest.raises(DataError, match=r"holds numbers such as 0\.5; expected classes"):
        open_source(parquet(tmp_path / "c.parquet", label=[1.0, 0.5]))
    for cells in ([1, None, 2], ["a", None, "b"], [1.0, None, 2.0]):
        path = parquet(tmp_path / "d.parquet", label=cells)
        with pytest.raises(DataError, match=r"'label' is empty in 1 of 3 rows \(first: row 1\)"):
            open_source(path)
        assert (len(open_source(path, columns=("image",))), open_source(path, columns=("image",)).classes) == (3, None)


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ([1.0, float("inf")], "numbers such as inf"),
        ([1.0, 1e300], r"numbers such as 1e\+300"),
        ([1.0, float("nan")], "numbers such as nan"),
        ([b"x", b"y"], "expected one class per row"),
        (["x", "x\0"], "holds a NUL"),
        (["x", ""], "is empty"),
    ],
)
def test_what_is_no_class_in_a_table_is_refused(tmp_path, cells, words, several):
    path = parquet(tmp_path / "a.parquet", label=cells)
    if several:
        parquet(tmp_path / "b.parquet", label=cells)
    with pytest.raises(DataError, match=words):
        open_source(str(tmp_path) if several else path)


def test_whole_numbers_of_a_table_are_what_they_are(tmp_path):
    import pyarrow as pa

    large = open_source(parquet(tmp_path / "a.parquet", label=pa.array([2**63 + 5, 1], pa.uint64())))
    assert (large.classes, large.labels.tolist()) == (["1", str(2**63 + 5)], [1, 0])
    real = open_source(parquet(tmp_path / "b.parquet", label=[16777217.0, 16777216.0]))
    assert real.classes == ["16777216", "16777217"]


@pytest.mark.parametrize("number", [-1, 7])
def test_a_number_beyond_the_named_classes_is_refused(tmp_path, number):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Value("binary"), "label": datasets.ClassLabel(names=["a", "b"])})
    rows = {"image": [picture_bytes(one) for one in range(3)], "label": [0, -1, 1]}
    table = datasets.Dataset.from_dict(rows, features).with_format("arrow")
    if number != -1:  # which `datasets` lets through
        table = table.map(lambda rows: rows.set_column(1, "label", [[0, number, 1]]), batched=True, features=features)
    table.save_to_disk(str(tmp_path / "saved"))
    table.to_parquet(str(tmp_path / "a.parquet"))
    for place in ("saved", "a.parquet"):
        with pytest.raises(DataError, match=rf"holds {number} in row 1, .* 2 named classes, 0 to 1, in 1 of 3 rows"):
            open_source(str(tmp_path / place))


def test_columns_of_parquet_files_are_chosen(tmp_path):
    path = parquet(tmp_path / "a.parquet", kind=["x", "y"])
    with pytest.raises(DataError, match=r"has the columns \['photo', 'kind'\]; .* name the columns with data\.columns"):
        open_source(path)
    assert open_source(path, columns=("photo", "kind")).classes == ["x", "y"]
    with pytest.raises(DataError, match=r"data\.columns names 'sort' for the labels"):
        open_source(path, columns=("photo", "sort"))
    parquet(tmp_path / "b.parquet", kind=["z", "y"])
    both = open_source(str(tmp_path), columns=("photo", "kind"))
    assert (both.classes, both.labels.tolist()) == (["x", "y", "z"], [0, 1, 2, 1])
    assert both.load(3).getpixel((0, 0))[0] == 1


def test_labels_that_differ_in_kind_between_files_are_one_line(tmp_path):
    parquet(tmp_path / "a.parquet", label=[0, 1])
    parquet(tmp_path / "b.parquet", label=["x", "y"])
    with pytest.raises(DataError, match="differ in kind between its files") as error:
        open_source(str(tmp_path))
    assert "\n" not in str(error.value)
