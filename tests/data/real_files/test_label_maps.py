"""Label maps as people have them: 0 and 255, grey colours, JPEG, turned pictures."""

import numpy as np
import pytest
from PIL import Image

from beit.data import LabelIds, SceneFolder, read_classes
from beit.data.sources import scenes as module
from beit.errors import ConfigError, DataError
from beit.image import IGNORED, BandOptions
from beit.settings.groups import DataSettings
from beit.settings.scenes import open_scenes
from beit.settings.segment import TrainingLabelMapSettings
from beit.tasks.segment.pixel_counts import count_pixels
from tests.image.deep_files import tiff

ORIENTATION = 0x0112
# for each EXIF orientation, what a camera that was held so stores of an upright picture
STORED = {
    1: lambda upright: upright,
    2: np.fliplr,
    3: lambda upright: np.rot90(upright, 2),
    4: np.flipud,
    5: np.transpose,
    6: np.rot90,
    7: lambda upright: np.rot90(upright, 2).T,
    8: lambda upright: np.rot90(upright, -1),
}


def classes_of(values, ids, mode="L"):
    return ids.classes_of(Image.fromarray(np.asarray(values, np.uint8)).convert(mode), "m").tolist()


def test_a_mapping_that_names_255_wins():
    assert classes_of([[0, 255, 7]], LabelIds(2, mapping={0: 0, 255: 1})) == [[0, 1, IGNORED]]
    assert classes_of([[0, 127, 255]], LabelIds(3, mapping={0: 0, 127: 1, 255: 2})) == [[0, 1, 2]]
    assert classes_of([[0, 127, 255]], LabelIds(2, mapping={0: 0, 127: 1})) == [[0, 1, IGNORED]]


def test_grey_colours_of_the_class_file_hold_for_grey_label_maps(tmp_path):
    (tmp_path / "classes.txt").write_text("ground 0 0 0\nwall 128 128 128\nsky 255 255 255\n")
    ids = LabelIds(3, colours=read_classes(str(tmp_path / "classes.txt")).colours)
    assert classes_of([[255, 0, 128]], ids) == classes_of([[255, 0, 128]], ids, "RGB") == [[2, 0, 1]]
    assert ids.classes_of(Image.fromarray(np.array([[True, False]])), "m").tolist() == [[2, 0]]
    with pytest.raises(DataError, match=r"has the colour \(3, 3, 3\)"):
        classes_of([[3, 0]], ids)


def test_the_palette_counts_where_it_has_the_colours_of_the_classes(tmp_path):
    (tmp_path / "classes.txt").write_text("road 128 64 128\nsky 70 130 180\n")
    ids = LabelIds(2, colours=read_classes(str(tmp_path / "classes.txt")).colours)
    picture = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    picture.putpalette([70, 130, 180, 128, 64, 128])
    assert ids.classes_of(picture, "m").tolist() == [[1, 0]]
    picture.putpalette([9, 9, 9, 8, 8, 8])  # of no meaning: the numbers are the classes
    assert ids.classes_of(picture, "m").tolist() == [[0, 1]]


def test_numbers_in_three_equal_channels_are_numbers():
    assert classes_of([[0, 1]], LabelIds(2), "RGB") == classes_of([[0, 1]], LabelIds(2), "LA") == [[0, 1]]


def test_a_jpeg_is_no_label_map(tmp_path):
    Image.fromarray(np.eye(16, dtype=np.uint8)).save(tmp_path / "a.jpg", quality=100)
    with pytest.raises(DataError, match=r"a.jpg is a JPEG, which blends the numbers.*export it again as PNG"):
        LabelIds(2).read(tmp_path / "a.jpg")


def folders(place, pictures=("a", "b"), maps=("a", "b"), values=(0, 1)):
    for folder, names in (("pictures", pictures), ("maps", maps)):
        (place / folder).mkdir(exist_ok=True)
        for name in names:
            pixels = np.full((16, 16), values[0], np.uint8)
            pixels[:8] = values[1]
            Image.fromarray(pixels).save(place / folder / f"{name}.png")
    (place / "classes.txt").write_text("road\nsky\n")
    return SceneFolder(place / "pictures", place / "maps", ["road", "sky"], LabelIds(2))


def test_masks_of_0_and_255_without_a_mapping_say_what_to_set(tmp_path):
    source = folders(tmp_path, values=(0, 255))
    with pytest.raises(DataError, match=r"256 pixels have no class; .* label_maps.mapping, such as \{0: 0, 255: 1\}"):
        count_pixels(source, None)
    settings = TrainingLabelMapSettings(str(tmp_path / "maps"), str(tmp_path / "classes.txt"), mapping={0: 0, 255: 1})
    sources = open_scenes(DataSettings(str(tmp_path / "pictures"), val_share=0.5), settings, 0)
    assert count_pixels(sources.train, None).pixels_K.tolist() == [128, 128]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mapping": {-1: 0}}, r"label_maps.mapping names the number -1; expected 0 to 65535"),
        ({"ignored": (70000,)}, r"label_maps.ignored names the number 70000"),
        ({"mapping": {0: 0, 1: 1}, "reduce": True}, "leave reduce out"),
        ({"mapping": {0: 0, 9: 1}, "ignored": (9,)}, "both name 9"),
    ],
)
def test_settings_that_contradict_each_other(tmp_path, options, message):
    folders(tmp_path)
    settings = TrainingLabelMapSettings(str(tmp_path / "maps"), str(tmp_path / "classes.txt"), **options)
    with pytest.raises(ConfigError, match=message):
        open_scenes(DataSettings(str(tmp_path / "pictures")), settings, 0)


def test_pictures_and_label_maps_without_the_other_are_named(tmp_path, caplog):
    assert len(folders(tmp_path, maps=("a", "b", "c", "d"))) == 2
    assert "2 of 4 label maps in" in caplog.text
    assert "have no picture in" in caplog.text
    assert "are left out: c, d" in caplog.text
    (tmp_path / "maps" / "b.png").unlink()
    with pytest.raises(DataError, match=r"1 of 2 pictures of .* have no label map in .*: b;"):
        folders(tmp_path, (), ())


def test_two_label_maps_of_one_name_are_refused(tmp_path):
    folders(tmp_path)
    Image.new("L", (16, 16)).save(tmp_path / "maps" / "a.tif")
    with pytest.raises(DataError, match="holds 2 label maps called 'a'"):
        folders(tmp_path, (), ())


def turned(place, orientation, kind, shape=(12, 20), map_upright=False):
    """A picture that a camera stored turned, and its label map, drawn on what was stored; both upright are equal."""
    upright = np.zeros(shape, np.uint8)
    upright[2:5, 3:9] = 1
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    for folder in ("pictures", "maps"):
        (place / folder).mkdir(exist_ok=True)
    stored = np.ascontiguousarray(STORED[orientation](upright))
    Image.fromarray(stored * 255).convert("RGB").save(place / f"pictures/a.{kind}", exif=exif, quality=100)
    Image.fromarray(upright if map_upright else stored).save(place / "maps/a.png")
    module._turned.clear()
    return upright


@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
@pytest.mark.parametrize("orientation", sorted(STORED))
@pytest.mark.parametrize("shape", [(12, 20), (16, 16)])
def test_a_label_map_is_turned_with_its_picture(tmp_path, caplog, orientation, kind, shape):
    upright = turned(tmp_path, orientation, kind, shape)
    scene = SceneFolder(tmp_path / "pictures", tmp_path / "maps", ["a", "b"], LabelIds(2)).open(0)
    np.testing.assert_array_equal(scene.label_map(), upright)
    seen = np.asarray(scene.decode().picture.convert("L")) > 127
    assert (seen != upright.astype(bool)).mean() < 0.05
    scene.label_map()
    assert caplog.text.count("turned like their pictures") == (orientation != 1)


def test_upright_label_maps_are_kept(tmp_path):
    upright = turned(tmp_path, 6, "jpg", map_upright=True)
    places = (tmp_path / "pictures", tmp_path / "maps", ["a", "b"], LabelIds(2))
    np.testing.assert_array_equal(SceneFolder(*places).open(0).label_map(), upright)
    upright = turned(tmp_path, 3, "jpg", map_upright=True)
    np.testing.assert_array_equal(SceneFolder(*places, exif="keep").open(0).label_map(), upright)


def test_a_size_that_fits_neither_names_the_turn(tmp_path):
    turned(tmp_path, 6, "jpg")
    Image.new("L", (7, 9)).save(tmp_path / "maps/a.png")
    scene = SceneFolder(tmp_path / "pictures", tmp_path / "maps", ["a", "b"], LabelIds(2)).open(0)
    with pytest.raises(DataError, match="9 x 7 pixels and its picture, turned upright by its EXIF orientation 6, 12 x"):
        scene.label_map()


def test_a_label_map_with_an_orientation_of_its_own_is_turned_by_it(tmp_path):
    upright = turned(tmp_path, 6, "jpg")
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(np.ascontiguousarray(STORED[6](upright))).save(tmp_path / "maps/a.png", exif=exif)
    scene = SceneFolder(tmp_path / "pictures", tmp_path / "maps", ["a", "b"], LabelIds(2)).open(0)
    np.testing.assert_array_equal(scene.label_map(), upright)


@pytest.mark.parametrize("orientation", [1, 3, 5, 6, 7, 8])
@pytest.mark.parametrize("kind", ["rgb", "planes", "bands"])
def test_label_maps_are_turned_with_deep_pictures(tmp_path, orientation, kind):
    values = np.zeros((20, 24, 5 if kind == "bands" else 3), np.uint16)
    values[:, :9] = 60_000
    planes = {"planarconfig": "separate"} if kind == "planes" else {"planarconfig": "contig"}
    stored = np.ascontiguousarray(values.transpose(2, 0, 1)) if kind == "planes" else values
    (tmp_path / "pictures").mkdir()
    (tmp_path / "maps").mkdir()
    content = tiff(
        stored,
        photometric="minisblack" if kind == "bands" else "rgb",
        extratags=[(274, "H", 1, orientation, True)],
        **planes,
    )
    (tmp_path / "pictures" / "1.tif").write_bytes(content)
    Image.fromarray((values[..., 0] > 0).astype(np.uint8)).save(tmp_path / "maps" / "1.png")
    bands = BandOptions(5) if kind == "bands" else None
    places = tmp_path / "pictures", tmp_path / "maps"
    scene = SceneFolder(*places, ["a", "b"], LabelIds(2), bands=bands).open(0)
    assert np.array_equal(scene.decode().picture.unit_array()[0] > 0.5, scene.label_map() == 1)


def test_label_maps_beside_their_pictures_are_found_by_their_suffix(tmp_path, caplog):
    for number in range(3):
        Image.new("RGB", (16, 16), (number, 0, 0)).save(tmp_path / f"{number} (1).png")
        Image.fromarray(np.full((16, 16), number % 2, np.uint8)).save(tmp_path / f"{number} (1)_mask.png")
    source = SceneFolder(tmp_path, tmp_path, ["road", "sky"], LabelIds(2), map_suffix="_mask")
    assert [source.open(index).label_map()[0, 0] for index in range(len(source))] == [0, 1, 0]
    assert len(list(source.contents())) == 3
    assert not caplog.text
    (tmp_path / "classes.txt").write_text("road\nsky\n")
    settings = TrainingLabelMapSettings(str(tmp_path), str(tmp_path / "classes.txt"))
    with pytest.raises(ConfigError, match=r"are both .* their own label maps; name two folders, or what the names"):
        open_scenes(DataSettings(str(tmp_path)), settings, 0)


def test_files_of_other_suffixes_are_no_label_maps(tmp_path, caplog):
    for folder in ("pictures", "maps"):
        (tmp_path / folder).mkdir()
    Image.new("RGB", (16, 16)).save(tmp_path / "pictures" / "a.png")
    for kind in ("labelIds", "instanceIds", "color"):
        Image.new("L", (16, 16)).save(tmp_path / "maps" / f"a_{kind}.png")
    source = SceneFolder(tmp_path / "pictures", tmp_path / "maps", ["a", "b"], LabelIds(2), map_suffix="_labelIds")
    assert source.open(0).map_path.name == "a_labelIds.png"
    assert "2 of 3 label maps" in caplog.text
    assert "left out: a_color, a_instanceIds" in caplog.text


@pytest.mark.parametrize(("nodata", "expected"), [(-9999, [0, 1, IGNORED]), (7, [0, 1, IGNORED]), (1, [0, 1, 1])])
def test_what_stands_for_no_measurement_is_no_class(tmp_path, caplog, nodata, expected):
    path = tmp_path / "1.tif"
    numbers = np.tile(np.array([0, 1, nodata], np.int16), (8, 1))
    path.write_bytes(tiff(numbers, photometric="minisblack", extratags=[(42113, "s", 0, str(nodata), True)]))
    assert LabelIds(2).read(path)[0].tolist() == expected
    assert ("and it is class 1; if it is none, set label_maps.ignored to [1]" in caplog.text) == (nodata == 1)
    if nodata == 1:
        assert LabelIds(2, ignored=frozenset({1})).read(path)[0].tolist() == [0, IGNORED, IGNORED]


def test_where_some_label_maps_lack_a_class_all_are_read(tmp_path):
    """Balanced weights would leave out a class that is in others, and a sample of one class refused the training."""
    names = [f"{number}" for number in range(9)]
    source = folders(tmp_path, names, names, values=(0, 0))
    rare = np.zeros((16, 16), np.uint8)
    rare[0, 0] = 1
    Image.fromarray(rare).save(tmp_path / "maps" / "1.png")
    assert count_pixels(source, 2).label_maps == 9, "one class is not enough"
    three = SceneFolder(tmp_path / "pictures", tmp_path / "maps", ["road", "sky", "tree"], LabelIds(3))
    Image.fromarray(rare * 2).save(tmp_path / "maps" / "0.png")
    few = count_pixels(three, 2)
    assert (few.label_maps, few.pixels_K.tolist()[1]) == (2, 0)
    every = count_pixels(three, 2, every_class=True)
    assert (every.label_maps, every.pixels_K.tolist()) == (9, [9 * 256 - 2, 1, 1])
