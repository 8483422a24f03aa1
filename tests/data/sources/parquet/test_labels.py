"""Labels in tables: classes, several for every row, and numbers."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beit.data import open_source
from beit.errors import DataError
from tests.shards import picture_bytes


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))


def opened(tmp_path, columns=(), files=1, **table):
    """A collection of these columns, in one file or several alike."""
    count = len(next(iter(table.values())))
    for number in range(files):
        pictures = [picture_bytes(one) for one in range(count)]
        pq.write_table(pa.table({"image": pictures, **table}), tmp_path / f"{number}.parquet")
    return open_source(str(tmp_path / "0.parquet" if files == 1 else tmp_path), columns=columns)


def rows(source):
    return [[source.classes[place] for place in np.flatnonzero(row)] for row in source.labels]


@pytest.mark.parametrize("files", [1, 2])
@pytest.mark.parametrize(
    ("column", "cells"),
    [
        ("labels", [["cat"], ["dog", "cat"], []]),
        ("label", ["cat", "dog;cat", "hen"]),
        ("label", ["cat", "dog|cat", ""]),
        ("label", ["['cat']", "['dog' 'cat']", "[]"]),
        ("label", ["cat", '{"choices": ["dog", "cat"]}', "hen"]),
        ("labels", pa.array([["cat"], ["cat", "dog"], []], pa.large_list(pa.string()))),
    ],
)
def test_several_labels_of_a_row(tmp_path, files, column, cells):
    source = opened(tmp_path, files=files, **{column: cells})
    assert source.label_kind == "labels"
    assert rows(source)[:2] == [["cat"], ["cat", "dog"]]
    assert rows(source)[2] in ([], ["hen"])
    assert len(source) == 3 * files
    assert source.labels.dtype == np.float32


def test_a_name_of_several_words_beside_lists_is_one_label(tmp_path):
    source = opened(tmp_path, label=["['cat', 'barn owl']", "traffic light", "[]"])
    assert (source.label_kind, source.classes) == ("labels", ["barn owl", "cat", "traffic light"])
    assert rows(source) == [["barn owl", "cat"], ["traffic light"], []]


def test_numbers_of_several_labels(tmp_path):
    source = opened(tmp_path, labels=[[3], [10, 3], [7]])
    assert (source.label_kind, source.classes, rows(source)) == (
        "labels",
        ["3", "7", "10"],
        [["3"], ["3", "10"], ["7"]],
    )


@pytest.mark.parametrize("kind", [pa.list_(pa.int64()), pa.list_(pa.float32()), pa.list_(pa.bool_(), 3)])
def test_lists_of_0_and_1_are_classes_if_every_row_has_a_single_1(tmp_path, kind):
    source = opened(tmp_path, label=pa.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]]).cast(kind))
    assert (source.label_kind, source.classes, source.labels.tolist()) == ("class", ["0", "1", "2"], [1, 0, 2])
    source = opened(tmp_path, label=pa.array([[0, 1, 1], [1, 0, 0], [0, 0, 0]]).cast(kind))
    assert (source.label_kind, rows(source)) == ("labels", [["1", "2"], ["0"], []])


def test_several_columns_that_are_chosen_are_a_label_each(tmp_path):
    cells = {"cat": [1, 0, 0], "dog": [0.0, 1.0, 0.0], "hen": [False, False, True]}
    source = opened(tmp_path, ("image", *cells), **cells)
    assert (source.label_kind, source.classes, source.labels.tolist()) == ("class", ["cat", "dog", "hen"], [0, 1, 2])
    source = opened(tmp_path, ("image", "cat", "dog"), **cells)
    assert (source.label_kind, rows(source)) == ("labels", [["cat"], ["dog"], []])
    with pytest.raises(DataError, match="the column 'dog' holds -1 in row 1; expected 0 or 1"):
        opened(tmp_path, ("image", "cat", "dog"), cat=[1, 0], dog=[1, -1])
    with pytest.raises(DataError, match="names 'cow' for the labels; expected some of the columns"):
        opened(tmp_path, ("image", "cat", "cow"), **cells)


def test_a_column_value_is_learnt_as_numbers(tmp_path):
    source = opened(tmp_path, value=[0.5, 2, -3.25])
    assert (source.label_kind, source.labels.tolist()) == ("value", [[0.5], [2.0], [-3.25]])
    assert opened(tmp_path, value=[0.5, 2], label=[1, 0]).classes == ["0", "1"]
    with pytest.raises(DataError, match="holds nan in row 1; expected a number"):
        opened(tmp_path, value=[0.5, float("nan")])


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([["cat", "cat"], ["dog"]], "has the label 'cat' twice in row 0"),
        ([["cat", None], ["dog"]], "holds lists with empty places"),
        ([[], []], "holds empty lists alone"),
        ([["cat"], None], "is empty in 1 of 2 rows"),
        ([[0.5, 0.5], [0.1, 0.9]], "holds numbers such as 0.5"),
        ([[["cat"]], [["dog"]]], "expected classes or lists of labels"),
        (["cat", '{"box": [{"x": 1}]}'], 'holds the object \'{"box"'),
        ([["cat", ""], ["dog"]], "is empty or holds a NUL"),
    ],
)
def test_lists_that_make_no_sense(tmp_path, cells, message):
    with pytest.raises(DataError, match=message):
        opened(tmp_path, label=cells)


@pytest.mark.parametrize("files", [1, 2])
def test_other_columns_that_may_be_the_labels_are_named_once(tmp_path, capsys, files):
    table = {"fine_label": [0, 1, 2], "coarse_label": [0, 0, 1], "text": ["a", "b", "c"]}
    source = opened(tmp_path, files=files, **table)
    assert source.classes == ["0", "1", "2"]
    source.open(len(source) - 1)
    said = capsys.readouterr().err
    assert said.count("the column 'fine_label' is taken for the labels, and not 'coarse_label'; data.columns") == 1
    chosen = opened(tmp_path, ("image", "coarse_label"), files=files, **table)
    assert chosen.classes == ["0", "1"]
    assert "is taken for the labels" not in capsys.readouterr().err
