"""Files of labels as people have them."""

import json
import unicodedata

import numpy as np
import pytest

from beit.errors import DataError
from beit.settings.groups import DataSettings
from beit.settings.inputs import open_sources, open_to_train
from tests.data.real_files.labels import FILES, labelled, meaning
from tests.data.real_files.pictures import save

TWO = {"1.png": "cat", "2.jpg": "dog"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "file_name,label\ncat/1.png,cat\ndog/2.jpg,dog\n"),
        ("a.CSV", "file_name, label\ncat/1.png ,  cat\ndog/2.jpg, dog \n"),
        ("a.csv", "\ufefffile_name;label\ncat/1.png;cat\ndog/2.jpg;dog\n"),
        ("a.tsv", "file_name\tlabel\ncat/1.png\tcat\ndog/2.jpg\tdog\n"),
        ("a.csv", " File_Name , LABEL \n\n\ncat/1.png,cat\n,\n   \ndog/2.jpg,dog\n\n"),
        ("a.csv", "file_name,label\r\ncat\\1.png,cat\r\n.\\dog\\2.jpg,dog\r\n"),
        ("a.csv", "filename,class\n./cat/1.png,cat\n/dog/2.jpg,dog\n"),
        ("a.csv", "image,label\npictures/cat/1.png,cat\nC:\\data\\pictures\\dog\\2.jpg,dog\n"),
        ("a.csv", "path,label\ncat/1,cat\n2,dog\n"),
        ("a.csv", 'file_name,"label"\n"cat/1.png","cat"\n"2.jpg","dog"\n'),
        ("a.csv", "file_name,label\ncat/1.png,cat\ndog/2.jpg,dog\n".encode("utf-16")),
        ("a.csv", "sep=;\r\nfile_name;label\r\ncat/1.png;cat\r\ndog/2.jpg;dog\r\n"),
        ("a.csv", "SEP=|\nfile_name|label\ncat/1.png|cat\ndog/2.jpg|dog\n"),
        ("a.csv", "file_name,label,,\ncat/1.png,cat,,\ndog/2.jpg,dog,,\n"),
        ("a.csv", "file_name,label\ncat/1.png,cat,,\ndog/2.jpg,dog,\n"),
        ("a.csv", ",file_name,,label\n0,cat/1.png,x,cat\n1,dog/2.jpg,y,dog\n"),
        ("a.jsonl", '{"file_name": "cat/1.png", "label": "cat"}\n\n{"file_name": "dog/2.jpg", "label": "dog"}'),
        ("a.json", '[{"file_name": "cat/1.png", "label": "cat"}, {"file_name": "dog/2.jpg", "label": " dog "}]'),
    ],
)
def test_the_same_labels_in_many_forms(folder, name, content):
    source = labelled(folder, content, name)
    assert (source.label_kind, meaning(source)) == ("class", TWO)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("stored", ["NFC", "NFD"])
def test_composed_and_decomposed_letters_are_the_same(tmp_path, form, stored):
    save(tmp_path / "pictures" / unicodedata.normalize(stored, "été.png"))
    source = labelled(tmp_path / "pictures", f"file_name,label\n{unicodedata.normalize(form, 'été.png')},a\n")
    assert source.labels.tolist() == [0]


@pytest.mark.parametrize(
    ("cells", "kind", "expected"),
    [
        (["cat,dog", "cat", "dog"], "labels", [["cat", "dog"], ["cat"], ["dog"]]),
        (["cat;dog", "bird", "cat; bird"], "labels", [["cat", "dog"], ["bird"], ["bird", "cat"]]),
        (["cat|dog", "cat", "bird"], "labels", [["cat", "dog"], ["cat"], ["bird"]]),
        (["cat dog", "cat", "dog"], "labels", [["cat", "dog"], ["cat"], ["dog"]]),
        (["cat,dog", "bird,fish", "ant"], "labels", [["cat", "dog"], ["bird", "fish"], ["ant"]]),
        (["cat, dog", "cat", "dog"], "labels", [["cat", "dog"], ["cat"], ["dog"]]),
        (["tench, Tinca tinca", "goldfish, Carassius auratus", "hen"], "class", None),
        (["sea lion", "sea horse", "polar bear"], "class", None),
        (["3", "10", "3"], "class", None),
    ],
)
def test_labels_are_divided_by_what_the_column_holds(folder, capsys, cells, kind, expected):
    rows = "".join(f'{name},"{cell}"\n' for name, cell in zip(FILES, cells, strict=False))
    source = labelled(folder, f"file_name,label\n{rows}")
    assert source.label_kind == kind
    if kind == "class":
        assert [source.classes[label] for label in source.labels] == cells
    else:
        assert [[source.classes[at] for at in np.flatnonzero(row)] for row in source.labels] == expected
        assert "holds several labels, separated by" in capsys.readouterr().err


def test_labels_that_are_said_to_be_several_are_divided_by_spaces_too(folder):
    rows = "cat/1.png,clear water\ndog/1.png,clear road\ndog/2.jpg,road water\ndog/été 3.png,clear road water\n"
    source = labelled(folder, f"image,labels\n{rows}")
    assert source.classes == ["clear", "road", "water"]
    assert labelled(folder, "image,labels\ncat/1.png,sea lion\ndog/1.png,dog\n").classes == ["dog", "sea lion"]


@pytest.mark.parametrize("cell", ["outdoor sunny", "outdoor/sunny", "outdoor + sunny"])
def test_labels_that_may_be_several_are_named(folder, capsys, cell):
    found = labelled(folder, f"file_name,labels\ncat/1.png,{cell}\ndog/2.jpg,sunny\n")
    assert sorted(found.classes) == sorted(["sunny", cell])
    assert f"the column 'labels' has no ; between labels, and {cell!r} is taken as one label" in capsys.readouterr().err


def test_names_with_spaces_are_ordinary(folder, capsys):
    found = labelled(folder, "file_name,labels\ncat/1.png,golden retriever\ndog/2.jpg,sea lion\ndog/1.png,cat\n")
    assert found.classes == ["cat", "golden retriever", "sea lion"]
    assert "is taken as one label" not in capsys.readouterr().err


def test_numbers_are_classes_in_their_order(folder):
    numbers = [10, 2, 2.0, True]
    rows = [{"file_name": name, "label": number} for name, number in zip(FILES, numbers, strict=True)]
    source = labelled(folder, rows[:3], "a.jsonl")
    assert (source.classes, source.labels.tolist()) == (["2", "10"], [1, 0, 0])
    several = labelled(folder, [{"file_name": "cat/1.png", "labels": [1, 10]}], "a.jsonl")
    assert (several.label_kind, several.classes) == ("labels", ["1", "10"])
    assert labelled(folder, rows[3:], "a.jsonl").classes == ["true"]
    assert labelled(folder, "file_name,label\ncat/1.png,1.0\ndog/1.png,10.0\n").classes == ["1", "10"]
    with pytest.raises(DataError, match=r"has label 0\.5, a number; .*: call the column value"):
        labelled(folder, [{"file_name": "cat/1.png", "label": 0.5}], "a.jsonl")
    with pytest.raises(DataError, match="has label None; expected the name of a class"):
        labelled(folder, [{"file_name": "cat/1.png", "label": None}], "a.jsonl")


def test_a_column_for_each_label(folder):
    classes = labelled(folder, "image,cat,dog\ncat/1.png,1.0,0.0\ndog/1.png,0.0,1.0\n")
    assert (classes.label_kind, classes.classes, classes.labels.tolist()) == ("class", ["cat", "dog"], [0, 1])
    several = labelled(folder, "image,wet,small\ncat/1.png,1,1\ndog/1.png,-1,1\n")
    assert (several.label_kind, meaning(several)) == ("labels", {"1.png": ["small"]})
    assert several.labels.tolist() == [[1, 1], [1, 0]]
    chosen = labelled(folder, "image,x,wet,small\ncat/1.png,7,1,0\n", columns=["image", "wet", "small"])
    assert chosen.classes == ["wet"]
    with pytest.raises(DataError, match="line 2 has wet '7'; expected 0 or 1"):
        labelled(folder, "image,wet,small\ncat/1.png,7,1\n", columns=["image", "wet", "small"])


def test_spaces_separate_where_nothing_else_does(folder):
    plain = "file_name   label\ncat/1.png  0\ndog/2.jpg 1\n\n"
    assert meaning(labelled(folder, plain, "labels.txt")) == {"1.png": "0", "2.jpg": "1"}
    with pytest.raises(DataError, match="has the columns"):  # a name with a space in it
        labelled(folder, "file_name label\ndog/été 3.png 0\n", "labels.txt")


def test_headers_are_spelled_in_many_ways(folder):
    for header in ("File Name,Label", "file-name , CLASS", "FILENAME,label "):
        assert meaning(labelled(folder, f"{header}\ncat/1.png,cat\ndog/2.jpg,dog\n")) == TWO


def test_one_object_of_labels_by_pictures(folder):
    assert meaning(labelled(folder, json.dumps({"cat/1.png": "cat", "dog/2.jpg": "dog"}), "labels.json")) == TWO
    row = {"file_name": "cat/1.png", "label": "cat"}
    assert len(labelled(folder, json.dumps(row), "labels.json")) == 1


@pytest.mark.parametrize(
    "cells", [("\"['cat', 'dog']\"", "['dog']"), ('"[""cat"", ""dog""]"', '"[""dog""]"'), ("['cat' 'dog']", "['dog']")]
)
@pytest.mark.parametrize("column", ["label", "labels"])
def test_lists_in_cells_are_lists(folder, column, cells):
    found = labelled(folder, f"file_name,{column}\ncat/1.png,{cells[0]}\ndog/2.jpg,{cells[1]}\n")
    assert meaning(found) == {"1.png": ["cat", "dog"], "2.jpg": ["dog"]}


def test_choices_of_label_studio(folder):
    cells = '"{""choices"": [""cat"", ""dog""]}"'
    found = labelled(folder, f"image,choice\n/data/upload/cat/1.png,cat\n2.jpg,{cells}\n", columns=("image", "choice"))
    assert (found.label_kind, meaning(found)) == ("labels", {"1.png": ["cat"], "2.jpg": ["cat", "dog"]})
    boxes = '"{""x"": 1, ""y"": 2}"'
    with pytest.raises(DataError, match="holds the object"):
        labelled(folder, f"image,choice\ncat/1.png,cat\n2.jpg,{boxes}\n", columns=("image", "choice"))


def test_several_labels_by_the_name_of_a_picture(folder):
    found = labelled(folder, '{"cat/1.png": ["cat"], "2.jpg": ["dog", "cat"]}', "a.json")
    assert (found.label_kind, meaning(found)) == ("labels", {"1.png": ["cat"], "2.jpg": ["cat", "dog"]})


@pytest.mark.parametrize(
    ("column", "cells", "split"),
    [
        ("split", ("train", "test"), "test"),
        ("set", ("Training", "val"), "val"),
        ("subset", ("train", "Validation"), "val"),
        ("is_valid", ("False", "True"), "validation"),
        ("is_train", ("1", "0"), "test"),
        ("is_training_image", ("1", "0"), "test"),
        ("in_test_set", ("no", "yes"), "test"),
    ],
)
def test_a_column_of_splits_divides_the_rows(folder, column, cells, split):
    rows = f"file_name,label,{column}\ncat/1.png,cat,{cells[0]}\ndog/2.jpg,dog,{cells[1]}\n"
    assert meaning(labelled(folder, rows, split="train")) == {"1.png": "cat"}
    assert meaning(labelled(folder, rows, split=split)) == {"2.jpg": "dog"}
    assert meaning(labelled(folder, rows, split="all")) == TWO
    with pytest.raises(DataError, match=r"labels\.csv holds the splits .*; name one with data\.split"):
        labelled(folder, rows)


def test_pictures_of_another_split_are_not_said_to_have_no_row(folder, capsys):
    rows = "file_name,label,split\ncat/1.png,cat,train\ndog/2.jpg,dog,test\n"
    labelled(folder, rows, split="test")
    assert f"have no row of the split 'test' in {folder.parent / 'labels.csv'}" in capsys.readouterr().out
    labelled(folder, rows, split="all")
    assert f"have no row in {folder.parent / 'labels.csv'}" in capsys.readouterr().out


@pytest.mark.parametrize(("column", "cells"), [("split", ("train", "train")), ("kind", ("train", "bus"))])
def test_columns_that_divide_nothing(folder, capsys, column, cells):
    rows = f"file_name,label,{column}\ncat/1.png,cat,{cells[0]}\ndog/2.jpg,dog,{cells[1]}\n"
    assert meaning(labelled(folder, rows)) == TWO
    assert not capsys.readouterr().err


def test_columns_of_0_and_1_that_divide_the_rows_are_no_labels(folder):
    rows = "file_name,cat,dog,is_training\ncat/1.png,1,0,1\ndog/2.jpg,0,1,0\n"
    assert meaning(labelled(folder, rows, split="train")) == {"1.png": "cat"}
    with pytest.raises(DataError, match="the column 'partition' holds 0, 1, and does not say which splits these are"):
        labelled(folder, "file_name,label,partition\ncat/1.png,cat,0\ndog/2.jpg,dog,1\n")


def test_a_training_takes_the_rows_of_its_split_and_validates_on_those_of_the_other(folder, caplog):
    table = folder.parent / "labels.csv"
    table.write_text("file_name,label,split\ncat/1.png,cat,train\ndog/1.png,dog,train\ndog/2.jpg,dog,val\n3,,test\n")
    settings = DataSettings(str(folder), labels=str(table))
    sources = open_sources(settings, 0, stratified=True)
    assert meaning(sources.train) == {"1.png": "dog"} | {"1.png": "dog"}
    assert (len(sources.train), meaning(sources.val)) == (2, {"2.jpg": "dog"})
    assert f"{table} holds splits: training on train, validating on val; left out: test" in caplog.text
    held_out = DataSettings(str(folder), labels=str(table), split="val", val_path=str(folder), val_labels=str(table))
    assert [meaning(one) for one in (open_sources(held_out, 0).train, open_to_train(held_out))] == [
        {"2.jpg": "dog"}
    ] * 2
