import numpy as np
import pytest
from PIL import Image

from beit.data import few_per_class, open_source, split
from beit.errors import DataError


def test_class_folders(pictures):
    source = open_source(str(pictures))
    assert source.classes == ["cat", "dog"]
    assert source.labels.tolist() == [0] * 6 + [1] * 6
    assert source.name(7).endswith("dog/1.png")
    assert source.load(7).mode == "RGB"


def test_a_plain_folder_has_no_labels(pictures):
    source = open_source(str(pictures / "cat"))
    assert (len(source), source.classes, source.labels) == (6, None, None)


def test_hidden_files_and_other_files_are_no_pictures(pictures):
    (pictures / "cat" / ".hidden.png").write_bytes(b"x")
    (pictures / "cat" / "notes.txt").write_text("x")
    assert len(open_source(str(pictures))) == 12


def test_a_link_that_leads_back_is_followed_once(pictures):
    (pictures / "cat" / "loop").symlink_to(pictures)
    assert len(open_source(str(pictures))) == 12


def test_digits_come_in_two_parts():
    train, test = open_source("digits:train"), open_source("digits:test")
    assert (len(train), len(test)) == (1297, 500)
    assert train.load(0).size == (8, 8)
    assert np.array_equal(np.unique(test.labels), np.arange(10))


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
    with pytest.raises(DataError, match="row 2 holds no image bytes"):
        source.load(2)
    assert len(open_source(str(tmp_path), min_side=1)) == 3, "a folder of parquet files"


@pytest.mark.parametrize(
    ("labels", "classes"),
    [(["b", "a", "b"], ["a", "b"]), ([7, 3, 7], ["3", "7"]), (["b", None, "a"], None), ([[1], [2], [1, 2]], None)],
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


def test_a_parquet_file_of_other_things(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"has the columns \['text'\]; expected image bytes"):
        open_source(str(tmp_path / "x.parquet"))


def test_split_is_stratified_and_complete(pictures):
    source = open_source(str(pictures))
    train, val = split(source, 0.3, seed=1, stratified=True)
    assert np.bincount(val.labels).tolist() == [2, 2]
    names = [part.name(index) for part in (train, val) for index in range(len(part))]
    assert sorted(names) == sorted(source.name(index) for index in range(12))
    assert [val.name(0)] == [split(source, 0.3, seed=1, stratified=True)[1].name(0)]


def test_a_class_with_one_picture_cannot_be_split(pictures):
    (pictures / "eel").mkdir()
    Image.new("RGB", (9, 9)).save(pictures / "eel" / "only.png")
    with pytest.raises(DataError, match="class 'eel' has 1 picture; expected at least 2"):
        split(open_source(str(pictures)), 0.3, seed=0, stratified=True)


def test_few_per_class():
    source = open_source("digits:train")
    some = few_per_class(source, 10, seed=0)
    assert np.bincount(some.labels).tolist() == [10] * 10
    assert some.name(0) != few_per_class(source, 10, seed=1).name(0) or len(some) == len(source)
    with pytest.raises(DataError, match=r"data\.per_class asks for 200"):
        few_per_class(source, 200, seed=0)


def test_few_per_class_needs_labels(pictures):
    with pytest.raises(DataError, match="needs pictures of one class each"):
        few_per_class(open_source(str(pictures / "cat")), 1, seed=0)
