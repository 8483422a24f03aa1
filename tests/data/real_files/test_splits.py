"""Folders and files called train, val and test are splits, and no classes."""

import io

import numpy as np
import pytest
from PIL import Image

from beit.data import open_source, splits_of
from beit.errors import DataError
from beit.settings.groups import DataSettings, PictureSettings
from beit.settings.inputs import open_sources, open_to_train
from beit.settings.scenes import open_scenes, scene_folders
from beit.settings.segment import TrainingLabelMapSettings
from tests.data.real_files.pictures import names, save
from tests.shards import picture_bytes, write_parquet, write_tar


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def folder_of(place, *splits, classes=("cat", "dog"), count=3):
    for split in splits:
        for name in classes:
            for number in range(count):
                save(place / split / name / f"{split}{number}.png")
    return str(place)


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [("train", "val", "test"), ("Training", "Validation", "Testing"), ("train2017", "val2017", "test2017"),
     ("train_images", "valid_images", "test_images"), ("seg_train", "dev", "seg_test")],
)  # fmt: skip
def test_a_training_takes_the_split_to_train_on_and_validates_on_the_other(tmp_path, caplog, train, val, test):
    path = folder_of(tmp_path / "set", train, val, test)
    sources = open_sources(DataSettings(path), 0, stratified=True)
    assert (sources.train.classes, len(sources.train), len(sources.val)) == (["cat", "dog"], 6, 6)
    assert names(sources.train)[0] == f"{train}0.png"
    assert names(sources.val)[0] == f"{val}0.png"
    assert f"training on {train}, validating on {val}; left out: {test}" in caplog.text


def test_pictures_beside_splits_are_counted(tmp_path, caplog):
    path = folder_of(tmp_path / "set", "train", "val")
    save(tmp_path / "set" / "stray.png", 7)
    open_sources(DataSettings(path), 0, stratified=True)
    assert "left out: 1 picture beside them" in caplog.text


def test_no_training_validates_on_the_test_pictures(tmp_path, caplog):
    sources = open_sources(DataSettings(folder_of(tmp_path / "set", "train", "test")), 0, stratified=True)
    assert {name[:-5] for source in (sources.train, sources.val) for name in names(source)} == {"train"}
    assert "validating on a share of it; left out: test" in caplog.text


def test_a_folder_around_splits_or_classes_is_looked_through(tmp_path, capsys):
    path = folder_of(tmp_path / "set" / "images", "train", "val")
    assert len(open_sources(DataSettings(str(tmp_path / "set")), 0).train) == 6
    around = folder_of(tmp_path / "other" / "photos", "all")
    assert open_source(str(tmp_path / "other")).classes == ["cat", "dog"]
    assert "it holds one folder, photos/all, whose folders are taken as the classes" in capsys.readouterr().err
    assert open_source(f"{around}/all").classes == open_source(f"{path}/train").classes == ["cat", "dog"]


def test_a_single_class_is_no_folder_around_others(tmp_path):
    save(tmp_path / "set" / "cat" / "2020" / "a.png")
    save(tmp_path / "set" / "cat" / "b.png")
    assert open_source(str(tmp_path / "set")).classes == ["cat"]
    save(tmp_path / "val" / "cat" / "2020" / "a.png")
    save(tmp_path / "val" / "cat" / "2021" / "a.png")
    assert open_source(str(tmp_path / "val"), known=["cat", "dog"]).classes == ["cat"]


def test_other_jobs_ask_for_the_split_and_all_mixes_them(tmp_path):
    path = folder_of(tmp_path / "set", "train", "val")
    with pytest.raises(DataError, match=r"holds the splits train, val; name one with data.split"):
        open_source(path)
    assert names(open_source(path, split="val"))[0] == "val0.png"
    assert names(open_source(path, split="validation"))[0] == "val0.png"
    assert open_source(path, split="all").classes == ["train", "val"]
    with pytest.raises(DataError, match="and not one of 'test'"):
        open_source(path, split="test")
    with pytest.raises(DataError, match="holds no splits, and 'val' is asked for"):
        open_source(f"{path}/train", split="val")
    assert len(open_to_train(DataSettings(path))) == 6


def test_splits_that_are_not_clear_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"no split of the kind 'train' among them; name one with data\.split"):
        open_sources(DataSettings(folder_of(tmp_path / "a", "val", "test")), 0)
    with pytest.raises(DataError, match="several splits of the kind 'validation'"):
        open_sources(DataSettings(folder_of(tmp_path / "b", "train", "val", "dev")), 0)
    inside = folder_of(tmp_path / "c", "cat/train", "cat/test", "dog/train", classes=("",))
    with pytest.raises(DataError, match=r"splits inside of its classes \(cat/test, cat/train\)"):
        open_sources(DataSettings(inside), 0)
    assert open_source(inside, split="all").classes == ["cat", "dog"]


def test_folders_of_which_one_has_the_name_of_a_split_are_classes(tmp_path):
    path = folder_of(tmp_path / "set", "train", "car", "bus", classes=("",))
    assert splits_of(path) is None
    assert open_source(path).classes == ["bus", "car", "train"]


def test_splits_of_parquet_and_tar_files(tmp_path):
    paths = write_parquet(tmp_path / "set" / "data", shards=2)
    for path in paths:
        path.with_name(path.name.replace("train", "validation")).write_bytes(path.read_bytes())
    sources = open_sources(DataSettings(str(tmp_path / "set")), 0)
    assert (len(sources.train), len(sources.val)) == (40, 40)
    assert "validation-" in sources.val.name(0)
    with pytest.raises(DataError, match="holds the splits train, validation"):
        open_source(str(tmp_path / "set"))
    for name in ("train-000.tar", "train-001.tar", "test-000.tar"):
        (tmp_path / "tars").mkdir(exist_ok=True)
        write_tar(tmp_path / "tars" / name, [(f"{number}.png", picture_bytes(number)) for number in range(4)])
    assert len(open_to_train(DataSettings(str(tmp_path / "tars")))) == 8


def test_a_tar_of_class_folders_has_these_classes(tmp_path):
    files = [(f"./set/{name}/{number}.png", picture_bytes(number)) for name in ("dog", "cat") for number in (1, 2)]
    source = open_source(str(write_tar(tmp_path / "x.tar", files)))
    assert (source.classes, source.labels.tolist()) == (["cat", "dog"], [1, 1, 0, 0])
    one = write_tar(tmp_path / "a.tar", [("a/1.png", picture_bytes(1)), ("a/2.png", picture_bytes(2))])
    two = write_tar(tmp_path / "b.tar", [("b/1.png", picture_bytes(1)), ("b/2.png", picture_bytes(2))])
    assert open_source(str(one.with_name("[ab].tar"))).classes is None  # folders that are called like their shards
    assert two.exists()


def test_a_tar_that_a_program_on_windows_wrote(tmp_path):
    names = [f"set\\{name}\\{number}.png" for name in ("dog", "cat") for number in (1, 2)]
    files = [*((name, picture_bytes(1)) for name in names), ("__MACOSX\\set\\._1.png", b"x"), ("set\\", b"")]
    source = open_source(str(write_tar(tmp_path / "x.tar", files)))
    assert (source.classes, source.labels.tolist()) == (["cat", "dog"], [1, 1, 0, 0])
    assert source.name(0).endswith("x.tar/set\\dog\\1.png")
    splits = write_tar(tmp_path / "y.tar", [(f"{split}\\cat\\1.png", picture_bytes(1)) for split in ("train", "val")])
    with pytest.raises(DataError, match="a tar file holds the splits train, val"):
        open_source(str(splits))


def test_a_tar_of_splits_is_refused(tmp_path):
    path = write_tar(tmp_path / "x.tar", [(f"{split}/cat/1.png", picture_bytes(1)) for split in ("train", "val")])
    with pytest.raises(DataError, match="a tar file holds the splits train, val"):
        open_source(str(path))
    assert open_source(str(path), split="all").classes == ["train", "val"]


def test_what_save_to_disk_wrote(tmp_path):
    datasets = pytest.importorskip("datasets")

    def table(value):
        file = io.BytesIO()
        Image.new("RGB", (16, 16), (value, 0, 0)).save(file, "PNG")
        features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
        cells = {"image": [{"bytes": file.getvalue(), "path": None}] * 4, "label": [0, 1, 0, 1]}
        return datasets.Dataset.from_dict(cells, features)

    table(7).save_to_disk(str(tmp_path / "one"))
    source = open_source(str(tmp_path / "one"))
    assert (source.classes, source.labels.tolist()) == (["cat", "dog"], [0, 1, 0, 1])
    assert source.load(1).getpixel((0, 0)) == (7, 0, 0)
    datasets.DatasetDict({"train": table(1), "test": table(2)}).save_to_disk(str(tmp_path / "two"))
    assert open_to_train(DataSettings(str(tmp_path / "two"))).load(0).getpixel((0, 0)) == (1, 0, 0)
    assert open_source(str(tmp_path / "two"), split="test").load(0).getpixel((0, 0)) == (2, 0, 0)
    (tmp_path / "one" / "dataset_info.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read as a data set of save_to_disk"):
        open_source(str(tmp_path / "one"))


def test_pictures_and_label_maps_in_splits(tmp_path):
    for split in ("train", "val"):
        for number in range(2):
            save(tmp_path / "images" / split / f"{split}{number}.png")
            Image.new("L", (16, 16), number).save(save(tmp_path / "masks" / split / f"{split}{number}.png"))
    (tmp_path / "classes.txt").write_text("road\nsky\n")
    settings = TrainingLabelMapSettings(str(tmp_path / "masks"), str(tmp_path / "classes.txt"))
    sources = open_scenes(DataSettings(str(tmp_path / "images")), settings, 0)
    assert names(sources.train) == ["train0.png", "train1.png"]
    assert names(sources.val) == ["val0.png", "val1.png"]
    (tmp_path / "masks" / "val").rename(tmp_path / "masks" / "later")
    with pytest.raises(DataError, match="has none called 'train'; name folders of one split"):
        open_scenes(DataSettings(str(tmp_path / "images")), settings, 0)


def scenes_of(place):
    """Write pictures and label maps, which are not read here, of two splits; return their folders."""
    for kind in ("images", "masks"):
        for split in ("train", "val"):
            for number in range(2):
                save(place / kind / split / f"{split}{number}.png")
    (place / "classes.txt").write_text("a\nb\n")
    return str(place / "images"), str(place / "masks")


def test_scenes_of_one_split_alone_are_measured(tmp_path):
    images, masks = scenes_of(tmp_path)
    for asked in ("val", "validation"):
        assert scene_folders(PictureSettings(images, split=asked), masks) == (f"{images}/val", f"{masks}/val")
    assert scene_folders(PictureSettings(images, split="all"), masks) == (images, masks)
    assert scene_folders(PictureSettings(f"{images}/val"), f"{masks}/val") == (f"{images}/val", f"{masks}/val")
    with pytest.raises(DataError, match=r"holds the splits train, val; name one with data\.split"):
        scene_folders(PictureSettings(images), masks)
    settings = TrainingLabelMapSettings(f"{masks}/train", str(tmp_path / "classes.txt"))
    for function in (scene_folders, lambda data, _: open_scenes(data, settings, 0)):
        with pytest.raises(DataError, match="holds no splits, and 'val' is asked for"):
            function(DataSettings(f"{images}/train", split="val"), f"{masks}/train")


def test_scenes_to_validate_on_are_of_their_own_split(tmp_path):
    images, masks = scenes_of(tmp_path)
    settings = TrainingLabelMapSettings(masks, str(tmp_path / "classes.txt"), val_path=masks)
    sources = open_scenes(DataSettings(images, val_path=images), settings, 0)
    assert names(sources.train) == ["train0.png", "train1.png"]
    assert names(sources.val) == ["val0.png", "val1.png"], "none that is trained on"


def test_splits_of_arrays_are_splits(tmp_path):
    for split in ("train", "holdout"):
        for name in ("cat", "dog"):
            (tmp_path / "set" / split / name).mkdir(parents=True)
            for number in range(3):
                np.save(tmp_path / "set" / split / name / f"{number}.npy", np.zeros((12, 12, 5), np.uint8))
    sources = open_sources(DataSettings(str(tmp_path / "set"), channels=5), 0, stratified=True)
    assert (sources.train.classes, len(sources.train), len(sources.val)) == (["cat", "dog"], 6, 6)


def test_classes_that_hold_the_same_folders_are_named(tmp_path, capsys):
    path = folder_of(tmp_path / "set", "fold1", "fold2")
    assert open_source(path).classes == ["fold1", "fold2"]
    said = "fold1, fold2 are taken as the classes, and each holds the folders cat, dog; if these are the classes, name"
    assert said in capsys.readouterr().err
    save(tmp_path / "set" / "fold2" / "hen" / "1.png")
    open_source(path)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "names",
    [("images", "masks"), ("JPEGImages", "SegmentationClass"), ("img", "ground truth"), ("train", "train_masks")],
)
def test_pictures_and_their_label_maps_are_no_classes(tmp_path, names):
    folder = folder_of(tmp_path / "set", "", classes=names)
    for open_it in (open_source, lambda path: open_to_train(DataSettings(path))):
        with pytest.raises(DataError, match=r"holds pictures and their label maps .* no classes; name the folder of"):
            open_it(folder)
    assert open_source(folder, split="all").classes == sorted(names)
    folder_of(tmp_path / "set", "", classes=("cat",))
    assert len(open_source(folder).classes) == 3


@pytest.mark.parametrize("names", [("xtrain", "xtest"), ("tr", "te"), ("bounding_box_train", "bounding_box_test")])
def test_classes_that_may_be_splits_are_named(tmp_path, capsys, names):
    path = folder_of(tmp_path / "set", "", classes=names)
    assert open_source(path).classes == sorted(names)
    assert "are taken as the classes; if they are splits, name one with data.path" in capsys.readouterr().err


def table_of(path, **columns):
    pq = pytest.importorskip("pyarrow.parquet")
    import pyarrow as pa

    path.parent.mkdir(parents=True, exist_ok=True)
    count = len(next(iter(columns.values()), range(4)))
    pq.write_table(pa.table({"image": [picture_bytes(number) for number in range(count)], **columns}), path)
    return str(path)


@pytest.mark.parametrize("files", [1, 2])
@pytest.mark.parametrize(
    ("column", "cells"),
    [("split", ["train", "val", "train", "test"]), ("Subset", ["Training", "dev", "Training", "Test"]),
     ("is_valid", [False, True, False, False]), ("is_validation_image", [0, 1, 0, 0])],
)  # fmt: skip
def test_a_column_of_parquet_files_divides_their_rows(tmp_path, caplog, files, column, cells):
    for number in range(files):
        path = table_of(tmp_path / "set" / f"{number}.parquet", label=["cat", "dog", "dog", "cat"], **{column: cells})
    path = path if files == 1 else str(tmp_path / "set")
    sources = open_sources(DataSettings(path), 0)
    assert [sources.train.load(row).getpixel((0, 0))[0] for row in (0, 1)] == [0, 2]
    assert sources.val.load(0).getpixel((0, 0))[0] == 1
    assert sources.val.labels.tolist() == [1] * files
    assert f"{path} holds splits: training on" in caplog.text
    assert len(open_to_train(DataSettings(path))) == len(sources.train)
    assert len(open_source(path, split="all")) == 4 * files
    with pytest.raises(DataError, match=r"holds the splits .*; name one with data\.split"):
        open_source(path)
    with pytest.raises(DataError, match="and not one of 'extra'"):
        open_source(path, split="extra")


def test_numbers_that_do_not_say_which_split_they_mean_are_refused(tmp_path):
    path = table_of(tmp_path / "1.parquet", label=["cat", "dog", "dog", "cat"], split=[0, 1, 2, 0])
    for open_it in (lambda: open_source(path), lambda: open_sources(DataSettings(path), 0)):
        with pytest.raises(DataError, match="the column 'split' holds 0, 1, 2, and does not say which splits"):
            open_it()
    assert len(open_source(path, split="all")) == 4


@pytest.mark.parametrize("inside", [False, True])
def test_a_column_divides_what_save_to_disk_wrote(tmp_path, inside):
    datasets = pytest.importorskip("datasets")
    cells = {"image": [{"bytes": picture_bytes(number), "path": None} for number in range(4)], "label": [0, 1, 1, 0],
             "split": ["train", "val", "train", "test"]}  # fmt: skip
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"]),
                "split": datasets.Value("string")}  # fmt: skip
    table = datasets.Dataset.from_dict(cells, datasets.Features(features))
    saved = tmp_path / "saved"
    (datasets.DatasetDict({"train": table}) if inside else table).save_to_disk(str(saved))
    path = str(saved / "train" if inside else saved)
    sources = open_sources(DataSettings(path), 0)
    assert [sources.train.load(row).getpixel((0, 0))[0] for row in (0, 1)] == [0, 2]
    assert (len(sources.val), sources.val.labels.tolist()) == (1, [1])
    assert len(open_source(path, split="all")) == 4
    with pytest.raises(DataError, match=r"holds the splits train, val, test; name one with data\.split"):
        open_source(path)


def test_rows_of_damaged_files_are_of_no_split(tmp_path):
    for number in range(3):
        table_of(tmp_path / f"{number}.parquet", label=[0, 1], split=["train", "test"])
    (tmp_path / "1.parquet").write_bytes(b"PAR1 and no more")
    source = open_source(str(tmp_path), split="test")
    assert (len(source), source.labels.tolist()) == (2, [1, 1])
    assert "2.parquet, row 1" in source.name(1)


@pytest.mark.parametrize("path", ["digits:test", "x.parquet", "x.tar"])
def test_a_split_of_what_has_none_is_refused(tmp_path, path):
    if path == "x.parquet":
        path = table_of(tmp_path / path, label=[0, 1])
    elif path == "x.tar":
        path = str(write_tar(tmp_path / path, [("1.png", picture_bytes(1))]))
    with pytest.raises(DataError, match="holds no splits, and 'val' is asked for"):
        open_source(path, split="val")


def test_folders_of_keys_and_values(tmp_path):
    for split in ("train", "val"):
        for name in ("cat", "big%20dog"):
            folder = tmp_path / "pictures" / f"split={split}" / f"label={name}"
            save(folder / "1.png")
            table_of(tmp_path / "tables" / folder.relative_to(tmp_path / "pictures") / "part-0.parquet")
            tar = tmp_path / "tars" / folder.relative_to(tmp_path / "pictures") / "0.tar"
            tar.parent.mkdir(parents=True)
            write_tar(tar, [(f"{number}.png", picture_bytes(number)) for number in range(3)])
    for kind, count in (("pictures", 2), ("tables", 8), ("tars", 6)):
        sources = open_sources(DataSettings(str(tmp_path / kind)), 0, stratified=True)
        assert sources.train.classes == ["big dog", "cat"], kind
        assert (len(sources.train), len(sources.val)) == (count, count), kind
        assert sources.train.labels.tolist() == [0] * (count // 2) + [1] * (count // 2), kind
    for year in (2020, 2021):
        save(tmp_path / "years" / f"year={year}" / "class=cat" / f"{year}.png")
        save(tmp_path / "years" / f"year={year}" / "class=hen" / f"{year}.png")
    source = open_source(str(tmp_path / "years"))
    assert (source.classes, source.labels.tolist()) == (["cat", "hen"], [0, 1, 0, 1])
    save(tmp_path / "years" / "stray.png")
    assert open_source(str(tmp_path / "years")).classes is None
