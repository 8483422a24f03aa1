"""Names of classes in composed and decomposed letters, in capitals and with spaces."""

import os
import sys
import unicodedata

import numpy as np
import pytest
from PIL import Image

from beit.data import open_source, with_classes, with_labels
from beit.data.class_names import composed, in_spelling_of
from beit.data.label_names import FileNames
from beit.errors import DataError
from beit.evaluation.classification.classes import class_indices

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


def folder(place, *names):
    for number, name in enumerate(names):
        (place / name).mkdir(parents=True)
        for picture in range(2):
            Image.fromarray(np.full((16, 16, 3), 40 * number, np.uint8)).save(place / name / f"{number}{picture}.png")
    return str(place)


def test_one_name_in_two_spellings_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"has the class 'caf.*' twice, once with composed and once with decomposed"):
        open_source(folder(tmp_path, COMPOSED, DECOMPOSED, "tea"))


def test_in_a_file_of_labels_too(tmp_path):
    place = folder(tmp_path / "pictures", "one")
    file = tmp_path / "labels.csv"
    file.write_text(f"file_name,label\none/00.png,{COMPOSED}\none/01.png,{DECOMPOSED}\n", encoding="utf-8")
    with pytest.raises(DataError, match="twice, once with composed"):
        with_labels(open_source(place), place, str(file))


def test_capitals_and_spaces_are_named(tmp_path, caplog):
    assert open_source(folder(tmp_path, "Cat", "cat", "dog")).classes == ["Cat", "cat", "dog"]
    said = "differ in capitals, spaces and invisible characters alone, and are taken as two"
    assert f"the classes 'Cat' and 'cat' {said}" in caplog.text
    open_source(folder(tmp_path / "marks", "tea", "tea\u200b"))
    assert f"the classes 'tea' and 'tea\\u200b' {said}" in caplog.text


@pytest.mark.parametrize("name", ["-1", "NaN", "NA", "<NA>", "null", "None", "?", "unlabeled"])
def test_a_class_that_reads_like_a_missing_label_is_named(tmp_path, caplog, name):
    assert name in open_source(folder(tmp_path, name, "tea")).classes
    assert f"the class {name!r} reads like a missing label, and is taken as a class" in caplog.text


def test_held_out_classes_are_found_in_the_other_spelling(tmp_path):
    learnt = open_source(folder(tmp_path / "train", COMPOSED, "tea"))
    held_out = open_source(folder(tmp_path / "val", DECOMPOSED, "tea"))
    found = with_classes(held_out, learnt.classes)
    assert found.classes == [COMPOSED, "tea"]
    assert found.labels.tolist() == [0, 0, 1, 1]
    assert class_indices(held_out, [COMPOSED, "tea"])[0].tolist() == [0, 1]
    file = tmp_path / "labels.csv"
    file.write_text(f"file_name,label\n00.png,{COMPOSED}\n10.png,tea\n", encoding="utf-8")
    assert with_labels(held_out, str(tmp_path / "val"), str(file), [DECOMPOSED, "tea"]).labels.tolist() == [0, 1]


def test_files_in_two_spellings_are_two_files():
    names = FileNames([f"{COMPOSED}.png", f"{DECOMPOSED}.png", "tea.png"])
    assert [names.find(f"{name}.png") for name in (COMPOSED, DECOMPOSED, "tea")] == [0, 1, 2]
    assert FileNames([f"{DECOMPOSED}.png"]).find(f"{COMPOSED}.png") == 0


def test_spellings():
    assert composed(DECOMPOSED) == COMPOSED
    assert in_spelling_of([COMPOSED, "new"], [DECOMPOSED, "tea"]) == [DECOMPOSED, "new"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_that_are_no_text_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"has the class '.udcff', whose name is no UTF-8 text"):
        open_source(folder(tmp_path, os.fsdecode(b"\xff"), "tea"))
