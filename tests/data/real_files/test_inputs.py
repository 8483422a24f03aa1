"""Pictures that are handed over in other ways, and results that keep apart what is called the same."""

import io
import zipfile

import numpy as np
import pytest
import torch

from beit import BeitConfig, BeitForMaskedImageModeling, BeitModel
from beit.data import open_source
from beit.errors import ConfigError, DataError
from beit.image import BeitImageProcessor
from beit.inference.jobs.frames import named_files
from beit.inference.jobs.inputs import open_inputs
from beit.inference.pictures import to_rgb
from beit.settings.groups import DataSettings
from beit.settings.inputs import open_sources
from beit.tokenizer import DiscreteVAE, DiscreteVAEConfig
from tests.conftest import TINY_MODEL
from tests.data.real_files.pictures import save
from tests.shards import picture_bytes, write_tar


def test_open_files_and_members_of_archives_are_pictures(tmp_path):
    content = picture_bytes(9)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.png", content)
    (tmp_path / "a.png").write_bytes(content)
    with (
        zipfile.ZipFile(tmp_path / "a.zip") as archive,
        archive.open("a.png") as member,
        (tmp_path / "a.png").open("rb") as file,
    ):
        for source in (io.BytesIO(content), file, member, content, tmp_path / "a.png"):
            assert to_rgb(source).getpixel((0, 0)) == (9, 40, 200)
    with (
        (tmp_path / "a.png").open(encoding="latin-1") as file,
        pytest.raises(ConfigError, match="open it in binary mode"),
    ):
        to_rgb(file)


def test_addresses_and_zip_files_are_refused_with_the_way(tmp_path):
    with pytest.raises(DataError, match="is an address, and nothing is fetched; download it"):
        to_rgb("https://example.org/a.jpg")
    with pytest.raises(DataError, match=r"is an address that nothing is fetched from; .* download it"):
        open_source("ftp://example.org/a.tar")
    with zipfile.ZipFile(tmp_path / "a.zip", "w"):
        pass
    with pytest.raises(DataError, match=r"a\.zip is a zip file; .* unpack it"):
        open_source(str(tmp_path / "a.zip"))


def test_names_keep_their_ending_where_they_must(tmp_path):
    for name in ("a.jpg", "a.png", "b.png", "c/a.png"):
        save(tmp_path / name)
    assert [named.stem for named in named_files([str(tmp_path)])] == ["a.jpg", "a.png", "b", "c_a"]
    both = [str(tmp_path / "a.jpg"), str(tmp_path / "a.png"), str(tmp_path / "c/a.png")]
    assert len(open_inputs(both)) == 1
    with pytest.raises(DataError, match=r"two files are called 'a\.png'"):
        open_inputs(both, writes_files=True)
    assert len(open_inputs(both[:2], writes_files=True)) == 1
    save(tmp_path / ("é" * 120 + ".png"))
    long = [named.stem for named in named_files([str(tmp_path / ("é" * 120 + ".png"))])]
    assert [len(stem.encode()) for stem in long] == [199], "whole letters, and a hash of all of them"


def test_class_names_that_occur_twice_get_their_index():
    config = BeitConfig(**TINY_MODEL, id2label={0: "crane", 1: "hen", 2: "crane"})
    assert config.distinct_class_names == ["crane (0)", "hen", "crane (2)"]
    assert config.class_names == ["crane", "hen", "crane"]


def test_validation_folders_may_lack_classes_and_have_no_others(tmp_path):
    for name in ("a", "b", "c"):
        for number in range(3):
            save(tmp_path / "learn" / name / f"{number}.png")
    for name in ("b", "c"):
        save(tmp_path / "look" / name / "1.png")
    (tmp_path / "look" / "a").mkdir()
    sources = open_sources(DataSettings(str(tmp_path / "learn"), val_path=str(tmp_path / "look")), 0, stratified=True)
    assert sources.val.classes == ["a", "b", "c"]
    assert sources.val.labels.tolist() == [1, 2]
    (tmp_path / "look" / "d").mkdir()
    assert len(open_sources(DataSettings(str(tmp_path / "learn"), val_path=str(tmp_path / "look")), 0, True).val) == 2
    save(tmp_path / "look" / "d" / "1.png")
    with pytest.raises(DataError, match=r"differ in \['d'\], of which no picture to train on is"):
        open_sources(DataSettings(str(tmp_path / "learn"), val_path=str(tmp_path / "look")), 0, stratified=True)


def test_a_picture_beside_the_classes_is_named(tmp_path, capsys):
    for name in ("a/1.png", "b/1.png", "b/2.png", "stray.png"):
        save(tmp_path / name)
    assert open_source(str(tmp_path)).classes is None
    said = "folders are no classes, because 1 of the pictures lie in none: stray.png"
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("shape", [(20, 20, 1), (1, 20, 20)])
def test_grey_with_a_channel_is_grey(shape):
    grey = np.random.default_rng(0).integers(0, 256, (20, 20), dtype=np.uint8)
    three = BeitImageProcessor(size=16, crop_size=16)
    plain = three(grey).pixel_values[0]
    assert plain.shape == (3, 16, 16)
    assert np.array_equal(three(grey.reshape(shape)).pixel_values[0], plain)
    one = BeitImageProcessor(size=16, crop_size=16, image_mean=[0.5], image_std=[0.5])
    assert one(grey.reshape(shape)).pixel_values[0].shape == (1, 16, 16)


def test_masks_of_numpy_are_masks():
    config = BeitConfig(**TINY_MODEL, use_mask_token=True)
    mask = np.zeros((2, 16), bool)
    mask[:, 3:9] = True
    pixels = torch.rand(2, 3, 32, 32)
    model, encoder = BeitForMaskedImageModeling(config).eval(), BeitModel(config).eval()
    torch.testing.assert_close(
        model(pixels, bool_masked_pos=mask).logits, model(pixels, bool_masked_pos=torch.from_numpy(mask)).logits
    )
    torch.testing.assert_close(model.masked_logits(pixels, mask), model.masked_logits(pixels, torch.from_numpy(mask)))
    encoder(pixels, bool_masked_pos=mask)
    with pytest.raises(ConfigError, match="one value per patch"):
        encoder(pixels, bool_masked_pos=mask[:, :5])


@pytest.mark.parametrize(("scale", "shift", "remedy"), [(255, 0, "divide by 255"), (2, -1, "undo the normalisation")])
def test_tokenizers_refuse_values_out_of_range(scale, shift, remedy):
    tokenizer = DiscreteVAE(DiscreteVAEConfig(vocab_size=16, hidden_size=8, blocks_per_group=1, groups=2, image_size=8))
    pixels = torch.rand(1, 3, 8, 8)
    tokenizer.encode(pixels)
    tokenizer.encode(pixels * 1.1)  # as sharp resampling leaves it
    for ask in (tokenizer.encode, tokenizer.logits):
        with pytest.raises(ConfigError, match=rf"expected \[0, 1\]: {remedy}"):
            ask(pixels * scale + shift)
    with pytest.raises(ConfigError, match="go from nan"):
        tokenizer.encode(pixels * float("nan"))


def test_a_folder_of_folders_of_shards_is_predicted(tmp_path):
    for name in ("cat", "dog"):
        folder = tmp_path / "set" / "split=train" / f"label={name}"
        folder.mkdir(parents=True)
        write_tar(folder / "0.tar", [(f"{number}.png", picture_bytes(number)) for number in range(2)])
    (collection,) = open_inputs([str(tmp_path / "set")])
    assert [collection.name(index).rpartition("label=")[2] for index in (0, 2)] == [
        "cat/0.tar/0.png",
        "dog/0.tar/0.png",
    ]
    save(tmp_path / "set" / "1.png")
    (collection,) = open_inputs([str(tmp_path / "set")])
    assert len(collection.stems) == 1
