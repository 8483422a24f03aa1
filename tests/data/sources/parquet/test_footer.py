"""Footers of parquet files: rows, columns and labels without the pictures."""

import io

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beit.data.sources.parquet.footer import ParquetFooter, joined_labels, read_footer
from beit.errors import DataError


def footer(**columns):
    file = io.BytesIO()
    pq.write_table(pa.table({"image": [b"no picture"] * 2, **columns}), file)
    found = read_footer(file, first_picture=True)
    assert isinstance(found, ParquetFooter)
    return found


def test_rows_and_columns():
    found = footer(label=[3, 1])
    assert (found.rows, found.columns, found.labels.num_rows) == (2, ["image", "label"], 2)
    assert footer().labels is None


def test_what_is_no_parquet_file():
    assert "\n" not in read_footer(io.BytesIO(b"PAR1 and nothing more"))


def test_labels_of_several_files_are_one_list():
    found = joined_labels([footer(label=["b", "c"]), footer(label=["a", "c"])], "here")
    assert found.classes == ["a", "b", "c"]
    assert np.array_equal(found.labels, [1, 2, 0, 2])
    assert joined_labels([footer(label=["b", "c"]), footer()], "here") is None
    with pytest.raises(DataError, match="the labels of here differ in kind between its files"):
        joined_labels([footer(label=["b", "c"]), footer(label=[1, 2])], "here")


def named(names, rows, several=False):
    """The footer of a file of `datasets` whose classes have these names."""
    label = datasets.ClassLabel(names=names)
    features = datasets.Features(
        {"image": datasets.Value("binary"), "label": datasets.List(label) if several else label}
    )
    file = io.BytesIO()
    datasets.Dataset.from_dict({"image": [b"no picture"] * len(rows), "label": rows}, features).to_parquet(file)
    return read_footer(file)


def test_classes_that_files_number_in_their_own_way_are_known_by_name():
    files = [named(["cat", "dog"], ["cat", "dog"]), named(["eel", "dog", "cat"], ["dog", "eel", "cat"])]
    found = joined_labels(files, "here")
    assert (found.classes, found.kind) == (["cat", "dog", "eel"], "class")
    assert found.labels.tolist() == [0, 1, 1, 2, 0]
    alike = joined_labels([files[1], files[1]], "here")
    assert (alike.classes, alike.labels.tolist()) == (["eel", "dog", "cat"], [1, 0, 2] * 2)
    lists = [named(["cat", "dog"], [["cat"], []], True), named(["dog", "cat"], [["cat"], ["cat", "dog"]], True)]
    found = joined_labels(lists, "here")
    assert (found.classes, found.kind) == (["cat", "dog"], "labels")
    assert found.labels.tolist() == [[1, 0], [0, 0], [1, 0], [1, 1]]
    with pytest.raises(DataError, match="the labels of here differ in kind between its files"):
        joined_labels([files[0], lists[1]], "here")


def test_numbers_without_names_are_of_the_classes_that_other_files_name():
    plain, other = footer(label=[1, 0]), named(["cat", "dog"], ["dog", "cat"])
    for files in ([plain, other], [other, plain]):
        found = joined_labels(files, "here")
        assert (found.classes, found.labels.tolist()) == (["cat", "dog"], [1, 0, 1, 0])
    with pytest.raises(DataError, match="holds 2 in row 2, and others than its 2 named classes"):
        joined_labels([other, footer(label=[2, 0])], "here")
    with pytest.raises(DataError, match="file 2 holds numbers without names, which may be of any; expected names"):
        joined_labels([other, plain, named(["dog", "cat"], ["cat"])], "here")
    with pytest.raises(DataError, match="the labels of here differ in kind between its files"):
        joined_labels([other, footer(label=["cat", "dog"])], "here")
