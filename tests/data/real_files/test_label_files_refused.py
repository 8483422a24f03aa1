"""Label files that cannot be read as one label for each picture, and what is said of them."""

import pytest

from beit.data.sources.parquet.columns import cell_bytes
from beit.errors import DataError
from beit.settings.groups import PictureSettings
from beit.settings.inputs import open_pictures
from tests.data.real_files.labels import labelled, meaning
from tests.shards import picture_bytes


def test_unquoted_commas_are_no_further_columns(folder):
    source = labelled(folder, "file_name,label\ncat/1.png,cat,dog\ndog/1.png,dog\n")
    assert (source.label_kind, source.labels.tolist()) == ("labels", [[1, 1], [0, 1]])


def test_two_signs_between_labels_are_refused(folder):
    with pytest.raises(DataError, match=r"has ; and , in its cells; expected one of them"):
        labelled(folder, 'file_name,labels\ncat/1.png,a;b\ndog/1.png,"a,b"\n')


def test_a_wrong_header_lists_the_columns_and_they_can_be_chosen(folder):
    table = "id,diagnosis,age\ncat/1.png,benign,40\ndog/1.png,malignant,50\n"
    with pytest.raises(DataError, match=r"has the columns \['id', 'diagnosis', 'age'\], and none of .* data.columns"):
        labelled(folder, table)
    with pytest.raises(DataError, match=r"it has \['image', 'diagnosis'\]: name the right ones with data\.columns"):
        labelled(folder, "image,diagnosis\ncat/1.png,a\n")
    assert labelled(folder, table, columns=["id", "diagnosis"]).classes == ["benign", "malignant"]
    with pytest.raises(DataError, match=r"\['kind'\] are not there; expected .* of those of .*: \['id', 'diagnosis'"):
        labelled(folder, table, columns=["id", "kind"])
    settings = PictureSettings(str(folder), str(folder.parent / "labels.csv"), columns=("id", "diagnosis"))
    assert open_pictures(settings).classes == ["benign", "malignant"]


def test_names_that_are_nowhere_are_answered_with_the_nearest(folder):
    with pytest.raises(DataError, match=r"line 2 names 'cat/one.png'; .*: correct it, or remove the row"):
        labelled(folder, "file_name,label\ncat/one.png,a\n")
    with pytest.raises(DataError, match=r"names '2\.jpeg'; .* nearest is 'dog/2\.jpg'; 1 more rows name none"):
        labelled(folder, "file_name,label\n2.jpeg,a\nnothing at all,b\n")
    with pytest.raises(DataError, match="names '1'"):  # two pictures might be meant
        labelled(folder, "file_name,label\n1,a\n")


def test_odd_tables_are_named(folder):
    with pytest.raises(DataError, match="two columns 'label'"):
        labelled(folder, "file_name,label,label\ncat/1.png,a,b\n")
    with pytest.raises(DataError, match="no rows"):
        labelled(folder, "file_name,label\n")
    with pytest.raises(DataError, match="line 3 is no CSV"):
        labelled(folder, 'file_name,label\ncat/1.png,"cat\ndog/2.jpg,dog\n')
    with pytest.raises(DataError, match=r"'c\\x00t' is empty or holds a NUL"):
        labelled(folder, "file_name,label\ncat/1.png,c\0t\ndog/2.jpg,dog\n")
    with pytest.raises(DataError, match="'' is empty or holds a NUL"):
        labelled(folder, '{"file_name": "cat/1.png", "labels": [""]}', "a.jsonl")
    with pytest.raises(DataError, match="has 1001 characters"):
        labelled(folder, f'{{"file_name": "cat/1.png", "labels": ["{"x" * 1001}"]}}', "a.jsonl")
    with pytest.raises(DataError, match="is no JSON"):
        labelled(folder, "[{]", "a.json")
    with pytest.raises(DataError, match="line 1 is no JSON object"):
        labelled(folder, "[3]", "a.json")


def test_other_files_of_labels_are_refused_with_the_way(folder):
    with pytest.raises(DataError, match=r"labels\.xlsx ends in \.xlsx; expected \.csv, .*: export it as CSV"):
        labelled(folder, b"PK\3\4", "labels.xlsx")


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ({"bytes": picture_bytes(7), "path": "a.png"}, None),
        (picture_bytes(7), None),
        (list(picture_bytes(7)), None),
        ([picture_bytes(7)], None),
        ([{"bytes": picture_bytes(7), "path": None}], None),
        ([picture_bytes(7)] * 2, "holds a list of 2; expected the bytes of one image file"),
        ([[[1, 2, 3]] * 9] * 9, "holds a list of 9; expected the bytes of one"),
        ({"bytes": None, "path": "a.png"}, "holds the path 'a.png' alone; .*data.labels"),
        ("a.png", "holds str 'a.png'; expected the bytes of an image file"),
        (None, "holds nothing; expected"),
        (b"", "holds nothing; expected"),
    ],
)
def test_pictures_in_cells_of_a_table(cell, words):
    if words is None:
        assert cell_bytes(cell, "row 3") == picture_bytes(7)
        return
    with pytest.raises(DataError, match=f"row 3 {words}"):
        cell_bytes(cell, "row 3")


def test_brackets_that_are_no_list_are_a_name(folder):
    assert meaning(labelled(folder, "file_name,label\ncat/1.png,[big] cat\ndog/2.jpg,[cat]\n"))["2.jpg"] == "[cat]"


def test_numbers_with_fractions_are_no_classes(folder):
    for cells in (("0.5", "1.25"), ("3", "-1.5e-3"), (".5", "2")):
        with pytest.raises(DataError, match=r"the column 'label' .* holds numbers such as .* call the column value"):
            labelled(folder, "file_name,label\ncat/1.png,{}\ndog/2.jpg,{}\n".format(*cells))
    assert meaning(labelled(folder, "file_name,label\ncat/1.png,1.5T\ndog/2.jpg,3.0\n"))["1.png"] == "1.5T"


@pytest.mark.parametrize("labels", [[1, 0, 0], ["cat", "dog", "cat"]])
def test_a_label_that_stands_twice_is_refused(folder, labels):
    with pytest.raises(DataError, match=r"line 1 has the label .* twice; .* columns of their own"):
        labelled(folder, [{"file_name": "cat/1.png", "labels": labels}], "labels.jsonl")


def test_numbers_of_rows_are_no_label(folder):
    rows = "Unnamed: 0,file_name,cat,dog\n0,cat/1.png,1,0\n1,dog/2.jpg,1,1\n"
    assert meaning(labelled(folder, rows)) == {"1.png": ["cat"], "2.jpg": ["cat", "dog"]}


@pytest.mark.parametrize(
    ("name", "content", "remedy"),
    [
        (
            "a.csv",
            "cat/1.png,cat\ndog/2.jpg,dog\n",
            "its first line seems to name a picture: write the names of columns",
        ),
        ("a.txt", "1 cat/1.PNG\n2 dog/2.jpg\n", "its first line seems to name a picture: write the names of columns"),
        (
            "a.json",
            '{"images": [{"id": 1}], "annotations": [], "categories": []}',
            "objects inside of objects, as COCO",
        ),
        (
            "a.json",
            '[{"id": 1, "data": {"image": "1.png"}, "annotations": []}]',
            "export it as CSV, with a row for each",
        ),
        ("a.csv", "id,diagnosis\n1,cat\n", "rename it, or name the columns with data.columns"),
    ],
)
def test_files_without_a_column_of_pictures(folder, name, content, remedy):
    with pytest.raises(DataError, match=r"and none of .* for the pictures") as error:
        labelled(folder, content, name)
    assert remedy in str(error.value)


def test_lists_of_pictures_without_a_header_are_refused(folder):
    with pytest.raises(DataError, match="its first line seems to name a picture: write the names of columns above it"):
        labelled(folder, "cat/1.png 0\ndog/2.jpg 1\n", "labels.txt")


def test_minus_one_beside_zero_is_no_answer(folder):
    columns = ("Path", "Edema", "No Finding")
    signs = labelled(folder, "Path,No Finding,Edema\ncat/1.png,-1,1\n2.jpg,1,-1\n", columns=columns)
    assert meaning(signs) == {"1.png": "Edema", "2.jpg": "No Finding"}
    with pytest.raises(DataError, match="line 3 has Edema -1, and others have 0; expected 0 or 1 in the column"):
        labelled(folder, "Path,No Finding,Edema\ncat/1.png,0.0,1.0\n2.jpg,1.0,-1.0\n", columns=columns)
    with pytest.raises(DataError, match=r"line 3 has Edema ''; expected 0 or 1 .*: fill it in, or remove the row"):
        labelled(folder, "Path,No Finding,Edema\ncat/1.png,0.0,1.0\n2.jpg,1.0,\n", columns=columns)


def test_a_label_that_no_picture_has_is_named(folder, capsys):
    found = labelled(folder, "file_name,cat,dog,hen\ncat/1.png,1,0,0\ndog/2.jpg,1,1,0\n")
    assert found.classes == ["cat", "dog"]
    assert "hen left out, because no picture has it" in capsys.readouterr().err
