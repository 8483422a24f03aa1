"""Files of labels as people have them."""

import json
import unicodedata

import numpy as np
import pytest

from beit.data import open_source, with_labels
from beit.data.sources.parquet.columns import cell_bytes
from beit.errors import DataError
from beit.settings.groups import DataSettings, PictureSettings
from beit.settings.inputs import open_pictures, open_sources, open_to_train
from tests.data.real_files.pictures import save
from tests.shards import picture_bytes

FILES = ("cat/1.png", "dog/1.png", "dog/2.jpg", "dog/été 3.png")


@pytest.fixture
def folder(tmp_path):
    for name in FILES:
        save(tmp_path / "pictures" / name)
    return tmp_path / "pictures"


def labelled(folder, content, name="labels.csv", **options):
    file = folder.parent / name
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif isinstance(content, list):
        file.write_text("\n".join(map(json.dumps, content)))
    else:
        file.write_text(content, encoding="utf-8")
    return with_labels(open_source(str(folder)), str(folder), str(file), **options)


def meaning(source):
    """The labels of every picture by the last part of its path."""
    found = {}
    for index in range(len(source)):
        row = source.labels[index]
        if source.label_kind == "class":
            found[source.name(index).rpartition("/")[2]] = source.classes[row]
        else:
            found[source.name(index).rpartition("/")[2]] = [source.classes[place] for place in np.flatnonzero(row)]
    return found


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


def test_unquoted_commas_are_no_further_columns(folder):
    source = labelled(folder, "file_name,label\ncat/1.png,cat,dog\ndog/1.png,dog\n")
    assert (source.label_kind, source.labels.tolist()) == ("labels", [[1, 1], [0, 1]])


def test_two_signs_between_labels_are_refused(folder):
    with pytest.raises(DataError, match=r"has ; and , in its cells; expected one of them"):
        labelled(folder, 'file_name,labels\ncat/1.png,a;b\ndog/1.png,"a,b"\n')


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


@pytest.mark.parametrize(
    "cells", [("\"['cat', 'dog']\"", "['dog']"), ('"[""cat"", ""dog""]"', '"[""dog""]"'), ("['cat' 'dog']", "['dog']")]
)
@pytest.mark.parametrize("column", ["label", "labels"])
def test_lists_in_cells_are_lists(folder, column, cells):
    found = labelled(folder, f"file_name,{column}\ncat/1.png,{cells[0]}\ndog/2.jpg,{cells[1]}\n")
    assert meaning(found) == {"1.png": ["cat", "dog"], "2.jpg": ["dog"]}


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


def test_choices_of_label_studio(folder):
    cells = '"{""choices"": [""cat"", ""dog""]}"'
    found = labelled(folder, f"image,choice\n/data/upload/cat/1.png,cat\n2.jpg,{cells}\n", columns=("image", "choice"))
    assert (found.label_kind, meaning(found)) == ("labels", {"1.png": ["cat"], "2.jpg": ["cat", "dog"]})
    boxes = '"{""x"": 1, ""y"": 2}"'
    with pytest.raises(DataError, match="holds the object"):
        labelled(folder, f"image,choice\ncat/1.png,cat\n2.jpg,{boxes}\n", columns=("image", "choice"))


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


def test_several_labels_by_the_name_of_a_picture(folder):
    found = labelled(folder, '{"cat/1.png": ["cat"], "2.jpg": ["dog", "cat"]}', "a.json")
    assert (found.label_kind, meaning(found)) == ("labels", {"1.png": ["cat"], "2.jpg": ["cat", "dog"]})


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


def test_labels_that_differ_in_kind_between_files_are_one_line(tmp_path):
    parquet(tmp_path / "a.parquet", label=[0, 1])
    parquet(tmp_path / "b.parquet", label=["x", "y"])
    with pytest.raises(DataError, match="differ in kind between its files") as error:
        open_source(str(tmp_path))
    assert "\n" not in str(error.value)
