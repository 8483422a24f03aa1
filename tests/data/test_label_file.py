"""Labels of a folder from a file."""

import json
import os

import numpy as np
import pytest

from beit.data import Collate, ViewDataset, Views, evaluation_batches, open_source, split, with_labels
from beit.errors import DataError
from beit.image import Preprocessing


def labelled(pictures, rows, name="labels.csv", classes=None):
    file = pictures.parent / name
    if name.endswith(".csv"):
        file.write_text("\n".join(rows) + "\n")
    else:
        file.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    return with_labels(open_source(str(pictures)), str(pictures), str(file), classes)


def test_several_labels_of_some_pictures(pictures, capsys):
    source = labelled(pictures, ["labels,file_name", "furry; small,dog/1.png", ",cat/0.png", "furry,cat/2.png"])
    assert source.label_kind == "labels"
    assert source.classes == ["furry", "small"]
    assert [source.name(index)[-9:] for index in range(3)] == ["cat/0.png", "cat/2.png", "dog/1.png"]
    assert source.labels.tolist() == [[0, 0], [1, 0], [1, 1]]
    assert "9 of 12 pictures" in capsys.readouterr().out
    train, val = split(source, 0.3, seed=0, stratified=True)
    assert (len(train), len(val)) == (2, 1)
    assert train.label_kind == val.label_kind == "labels"


def test_json_lines_say_the_same_as_csv(pictures):
    rows = [{"file_name": "dog/1.png", "labels": ["small", "furry"]}, {"file_name": "cat/0.png", "labels": []}]
    assert labelled(pictures, rows, "labels.jsonl").labels.tolist() == [[0, 0], [1, 1]]


def test_numbers_and_classes(pictures):
    values = labelled(pictures, ["file_name,value", "dog/1.png,-2.5", "cat/0.png,1e3"])
    assert (values.label_kind, values.classes) == ("value", ["value"])
    assert values.labels.tolist() == [[1000.0], [-2.5]]
    assert values.labels.dtype == np.float32
    classes = labelled(pictures, ["file_name,label", "dog/1.png,b", "cat/0.png,c", "cat/1.png,b"])
    assert (classes.label_kind, classes.classes, classes.labels.tolist()) == ("class", ["b", "c"], [1, 0, 0])


def test_batches_carry_rows_of_labels(pictures):
    source = labelled(pictures, ["file_name,labels", "dog/1.png,a;b", "cat/0.png,b"])
    dataset = ViewDataset(source, Views(Preprocessing((16, 16), 16)), 0, replace_broken=False)
    [batch] = list(evaluation_batches(dataset, Collate(0), 4, 0))
    assert batch.tensors["labels"].tolist() == [[0.0, 1.0], [1.0, 1.0]]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["file_name,labels", "dog/9.png,a"], r"line 2 names 'dog/9.png'; expected the path of a picture in"),
        (["file_name,labels", "dog/1.png,a", "dog/1.png,b"], r"line 3 names 'dog/1.png' a second time"),
        (["file_name,value", "dog/1.png,many"], r"line 2 has value 'many'; expected a number"),
        (["file_name,value", "dog/1.png,nan"], r"line 2 has value 'nan'; expected a number"),
        (["file_name,label", "dog/1.png,"], r"has label ''; expected the name of a class"),
        (["file_name,colour", "dog/1.png,red"], r"has none of the columns \['label', 'labels', 'value'\]"),
        (["file_name,label,value", "dog/1.png,a,1"], r"has \['label', 'value'\] of the columns"),
        (["file_name,labels"], r"has none of the columns"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(pictures, rows, message):
    with pytest.raises(DataError, match=message):
        labelled(pictures, rows)


def test_unknown_labels_of_validation_pictures(pictures):
    with pytest.raises(DataError, match=r"has the labels \['b'\], which no picture to train on has"):
        labelled(pictures, ["file_name,labels", "dog/1.png,a;b"], classes=["a"])


@pytest.mark.parametrize(
    ("header", "both", "one", "none"),
    [("a,b", "1,1", "0,1", "0,0"), ("label", "a;b", "b", ""), ("label", "\"['a', 'b']\"", "b", "[]")],
)
def test_all_splits_of_a_file_have_labels_of_one_kind(pictures, header, both, one, none):
    """Several in one row are several everywhere; a test without answers makes no classes several labels."""
    file = pictures.parent / "splits.csv"
    rows = [f"split,{header},file_name", f"train,{both},cat/0.png", f"val,{one},cat/2.png", f"test,{none},dog/1.png"]

    def of_split(name):
        return with_labels(open_source(str(pictures)), str(pictures), str(file), ["a", "b"], split=name)

    file.write_text("\n".join(rows))
    assert [of_split(name).labels.tolist() for name in ("train", "val")] == [[[1, 1]], [[0, 1]]]
    file.write_text("\n".join([rows[0], *rows[2:], f"train,{one},cat/0.png"]))
    assert [of_split(name).label_kind for name in ("train", "val")] == ["class", "class"]


def test_numbers_that_are_written_in_two_ways_are_in_one_order(pictures):
    """Of a set, whose order is another in every process, as classes have to be one in all of them."""
    files = [os.path.relpath(file, pictures) for file in sorted(pictures.rglob("*.png"))]
    names = [f"{zeros}{number}" for number in range(4) for zeros in ("", "0", "00")]
    found = [labelled(pictures, ["file_name,label", *map(",".join, zip(files, order, strict=True))]).classes
             for order in (names, names[::-1])]  # fmt: skip
    assert found[0] == found[1] == sorted(names, key=lambda name: (int(name), name))


def test_files_that_are_none(pictures):
    with pytest.raises(DataError, match="cannot be read"):
        with_labels(open_source(str(pictures)), str(pictures), str(pictures / "nothing.csv"))
    (pictures.parent / "labels.jsonl").write_text("{\n")
    with pytest.raises(DataError, match="line 1 is no JSON"):
        with_labels(open_source(str(pictures)), str(pictures), str(pictures.parent / "labels.jsonl"))
    with pytest.raises(DataError, match="needs a folder of pictures; digits:train is none"):
        with_labels(open_source("digits:train"), "digits:train", "labels.csv")
