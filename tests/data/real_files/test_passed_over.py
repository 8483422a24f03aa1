"""Every file of a folder is read, or counted and named."""

import io
import os
import tarfile

import pytest
from PIL import Image, features

from beit.data import open_source
from beit.errors import DataError
from beit.image import picture_files
from tests.data.real_files.pictures import names, save
from tests.shards import picture_bytes, write_tar


@pytest.mark.parametrize(
    ("ending", "kind"),
    [(".jfif", "JPEG"), (".jpe", "JPEG"), (".JPG", "JPEG"), (".mpo", "MPO"), (".jp2", "JPEG2000"), (".avif", "AVIF"),
     (".dib", "DIB"), (".pbm", "PPM"), (".pnm", "PPM"), (".tif", "TIFF")],
)  # fmt: skip
def test_less_common_endings_are_read(tmp_path, ending, kind):
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    for name in ("cat", "dog"):
        save(tmp_path / "set" / name / "b.png", 200)
        Image.new("1" if ending == ".pbm" else "RGB", (16, 16), 1 if ending == ".pbm" else (200, 200, 200)).save(
            tmp_path / "set" / name / f"a{ending}", kind
        )
    source = open_source(str(tmp_path / "set"))
    assert names(source) == [f"a{ending}", "b.png"] * 2
    assert abs(source.load(0).getpixel((8, 8))[0] - (255 if ending == ".pbm" else 200)) < 4
    assert len(picture_files(tmp_path / "set")) == 4


def test_what_is_not_read_is_counted_and_named(tmp_path, capsys):
    folder = tmp_path / "set"
    for name in ("cat", "dog"):
        save(folder / name / "a.png")
    for name in ("cat/a.psd", "cat/b.PSD", "dog/notes.txt", "dog/0001", "eel/c.psd", "cat/Thumbs.db", "desktop.ini"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    for name in ("@eaDir", "__MACOSX", "cat/lost+found", "Thumbnails"):
        save(folder / name / "small.png")
    save(folder / ".Trash" / "old.png")
    source = open_source(str(folder))
    assert (source.classes, len(source)) == (["cat", "dog"], 2)
    assert capsys.readouterr().err == (
        f"{folder}: 5 files passed over: 3 .psd, 1 without an ending, 1 .txt; folders of systems and programs passed "
        "over: @eaDir, Thumbnails, __MACOSX, cat/lost+found; no class, because nothing is read of it: eel\n"
    )
    picture_files(folder)
    assert "5 files passed over: 3 .psd" in capsys.readouterr().err


def test_a_folder_of_nothing_but_such_files_says_what_is_there(tmp_path):
    (tmp_path / "a.psd").write_bytes(b"x")
    with pytest.raises(DataError, match=r"no pictures in .* \(1 file passed over: 1 \.psd\); expected endings"):
        open_source(str(tmp_path))


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may list everything")
def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path):
    save(tmp_path / "cat" / "a.png")
    (tmp_path / "dog").mkdir(mode=0)
    with pytest.raises(DataError, match="dog cannot be listed: Permission denied"):
        open_source(str(tmp_path))


def test_the_order_is_that_of_whole_paths(tmp_path):
    for name in ("a/1.png", "a-b/1.png", "a.png", "b/c/1.png", "b/c-1.png"):
        save(tmp_path / name)
    source = open_source(str(tmp_path))
    paths = [source.name(index) for index in range(5)]
    assert paths == sorted(paths)


def test_classes_are_numbered_in_the_order_of_their_names(tmp_path):
    for name in ("a", "a-b", "a b", "Z"):
        save(tmp_path / name / "1.png")
    source = open_source(str(tmp_path))
    assert source.classes == sorted(["a", "a-b", "a b", "Z"])
    assert [source.classes[label] for label in source.labels] == [
        source.name(index).split("/")[-2] for index in range(4)
    ]


def test_parts_of_a_tar_that_are_no_pictures_are_counted(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    files = [("1.png", picture_bytes(1)), ("1.json", b"{}"), ("2.psd", b"x"), ("3", b"x"), ("1b.png", picture_bytes(2)),
             ("1b.seg.png", picture_bytes(3))]  # fmt: skip
    path = write_tar(tmp_path / "x.tar", files)
    for _ in range(2):  # read, and from the cache
        assert len(open_source(str(path))) == 2
        line = capsys.readouterr().err
        assert "4 files passed over" in line
        assert "1 .json without a label" in line
        assert all(words in line for words in ("1 .psd", "1 without an ending", "1 .png of samples that have"))


def shard(tmp_path, monkeypatch, capsys, files, name="x.tar"):
    """Open a shard, and return it with what was said."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "set").mkdir()
    source = open_source(str(write_tar(tmp_path / "set" / name, files)))
    return source, capsys.readouterr().err


def test_what_systems_put_into_a_tar_is_no_picture(tmp_path, monkeypatch, capsys):
    files = [("./1.png", picture_bytes(1)), ("./1.cls", b"a"), ("./2.png", picture_bytes(2)), ("./2.cls", b"b"),
             ("__MACOSX/1.png", picture_bytes(3)), ("._1.png", b"x"), ("@eaDir/1.png", picture_bytes(4))]  # fmt: skip
    source, said = shard(tmp_path, monkeypatch, capsys, files)
    assert (len(source), source.classes) == (2, ["a", "b"])
    assert "1 .png in __MACOSX" in said
    assert "1 .png in @eaDir" in said


def test_labels_that_only_some_samples_have_are_named(tmp_path, monkeypatch, capsys):
    files = [("1.png", picture_bytes(1)), ("1.cls", b"a"), ("2.png", picture_bytes(2)), ("3.png", picture_bytes(3))]
    source, said = shard(tmp_path, monkeypatch, capsys, files)
    assert (len(source), source.classes) == (3, None)
    assert "1 labels, because 2 samples have none" in said
    write_tar(tmp_path / "set" / "y.tar", [("1.png", picture_bytes(1)), ("1.cls", b"a")])
    assert open_source(str(tmp_path / "set")).classes is None
    assert "labels are left out, because 1 of 2 shards have none" in capsys.readouterr().err


def test_numbers_of_classes_in_a_tar_are_those_of_a_table(tmp_path, monkeypatch, capsys):
    files = [("1.png", picture_bytes(1)), ("1.cls", b"2.0"), ("2.png", picture_bytes(2)), ("2.json", b'{"label": 2.0}'),
             ("3.png", picture_bytes(3)), ("3.cls", b"10")]  # fmt: skip
    assert shard(tmp_path, monkeypatch, capsys, files)[0].classes == ["2", "10"]


def test_links_in_a_tar_are_counted(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name, kind in (("1.png", tarfile.REGTYPE), ("2.png", tarfile.LNKTYPE), ("3.png", tarfile.SYMTYPE)):
            entry, content = tarfile.TarInfo(name), picture_bytes(1)
            entry.type, entry.linkname = kind, "" if kind == tarfile.REGTYPE else "1.png"
            entry.size = len(content) if kind == tarfile.REGTYPE else 0
            archive.addfile(entry, io.BytesIO(content))
    assert len(open_source(str(tmp_path / "x.tar"))) == 1
    assert "2 .png that are links or devices" in capsys.readouterr().err


def test_several_tar_files_in_a_row_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    one = write_tar(tmp_path / "x.tar", [("1.png", picture_bytes(1))]).read_bytes()
    (tmp_path / "x.tar").write_bytes(one + one)
    with pytest.raises(DataError, match=r"it goes on behind its end at byte .*; expected one tar file"):
        open_source(str(tmp_path / "x.tar"))
    (tmp_path / "x.tar").write_bytes(one + bytes(2**16))
    assert len(open_source(str(tmp_path / "x.tar"))) == 1


def test_what_lies_beside_shards_is_counted(tmp_path, capsys):
    for name in ("a.tar", "train-0.tar"):
        write_tar(tmp_path / name, [("1.png", picture_bytes(1))])
    (tmp_path / "b.tar.gz").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("")
    open_source(str(tmp_path))
    assert "2 files passed over: 1 .tar.gz, 1 .txt" in capsys.readouterr().err
    write_tar((tmp_path / "a.tar").rename(tmp_path / "test-0.tar"), [("1.png", picture_bytes(1))])
    open_source(str(tmp_path), split="train")
    assert "1 .tar.gz, 1 .txt" in capsys.readouterr().err


def test_names_with_backslashes_are_no_folders(tmp_path, capsys):
    for name in ("cat\\1.png", "dog\\1.png"):
        save(tmp_path / name)
    assert open_source(str(tmp_path)).classes is None
    said = capsys.readouterr().err
    assert "names such as cat\\1.png hold backslashes, which are no folders here" in said
    assert "unpack it again" in said


def test_label_maps_beside_pictures_are_named(tmp_path, capsys):
    for name in ("benign", "malignant"):
        for number in range(2):
            save(tmp_path / name / f"{name} ({number}).png")
            save(tmp_path / name / f"{name} ({number})_mask.png")
    assert len(open_source(str(tmp_path))) == 8
    assert "files such as benign/benign (0)_mask.png are called like another picture" in capsys.readouterr().err
    for path in tmp_path.rglob("*).png"):
        path.unlink()
    open_source(str(tmp_path))
    assert not capsys.readouterr().err


def test_classes_of_a_single_picture_may_be_cases(tmp_path, capsys):
    for number in range(12):
        save(tmp_path / f"patient{number:03}" / "study1" / "frontal.png")
    assert len(open_source(str(tmp_path)).classes) == 12
    assert "12 of 12 classes have a single picture; if folders are cases, such as patients" in capsys.readouterr().err


@pytest.mark.parametrize(
    "names",
    [("S2_1_B02.tif", "S2_1_B03.tif", "S2_1_B8A.tif"), ("1/B1.png", "1/B2.png", "1/B3.png", "2/B1.png"),
     ("a_red.png", "a_green.png", "a-nir.png", "a_nir.png"), ("x-band_1.png", "x-band_2.png", "x-band_3.png")],
)  # fmt: skip
def test_files_of_single_bands_are_named(tmp_path, capsys, names):
    for name in names:
        save(tmp_path / name)
    assert len(open_source(str(tmp_path))) == len(names)
    assert "if they are bands of one, stack them into one file" in capsys.readouterr().err


def test_other_names_are_no_bands(tmp_path, capsys):
    for name in ("B1.png", "B2.png", "blueberry_1.png", "blueberry_2.png", "blueberry_3.png", "red_car.png"):
        save(tmp_path / name)
    open_source(str(tmp_path))
    assert "bands" not in capsys.readouterr().err


def test_shards_that_may_be_classes_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place = tmp_path / "shards"
    place.mkdir()
    for name in ("cat", "dog"):
        write_tar(place / f"{name}.tar", [("1.png", picture_bytes(1))])
    assert open_source(str(place)).labels is None
    assert "cat, dog are taken as parts of one collection without labels" in capsys.readouterr().err
    (place / "cat.tar").rename(place / "part-2.tar")
    (place / "dog.tar").rename(place / "part-11.tar")
    open_source(str(place))
    assert "taken as parts" not in capsys.readouterr().err
    (place / "part-2.tar").rename(place / "n01440764.tar")  # as ImageNet's archives are called
    (place / "part-11.tar").rename(place / "n01443537.tar")
    open_source(str(place))
    assert "n01440764, n01443537 are taken as parts of one collection" in capsys.readouterr().err
