"""Channels are refused in words where only three are known, and read as the settings say."""

import logging
from dataclasses import replace

import pytest

from beit.errors import ConfigError
from beit.image import BandOptions, Preprocessing
from beit.settings.channels import (
    band_options,
    check_channels,
    check_range,
    check_rgb,
    colour_jitter,
    distortion,
)
from beit.settings.groups import AugmentSettings, DataSettings, ModelSettings, PictureSettings
from beit.settings.inputs import augmentation, open_sources, preprocessing
from beit.settings.model import check_channels_of, model_config

TWELVE = DataSettings("scenes", channels=12, value_range=(0, 10000))


def test_reading_follows_the_settings():
    assert band_options(DataSettings("scenes")) is None
    assert band_options(DataSettings("scenes", channels=1)) == BandOptions(1, None)
    assert band_options(TWELVE) == BandOptions(12, (0, 10000))
    assert band_options(DataSettings("scenes", value_range=(0, 9))) == BandOptions(3, (0, 9))
    assert band_options(DataSettings("scans", frame=2)) == BandOptions(3, None, 2)


@pytest.mark.parametrize("values", [{"value_range": (2, 1), "channels": 1}, {"channels": 0}])
def test_settings_that_cannot_be_are_refused(values):
    with pytest.raises(ValueError, match=r"value_range|greater than or equal to 1"):
        PictureSettings("scenes", **values)


def test_colours_change_only_where_there_are_colours(caplog):
    settings = AugmentSettings(color_jitter=0.3)
    with caplog.at_level(logging.WARNING):
        assert colour_jitter(settings, 3) == 0.3
        assert not caplog.records
        assert augmentation(settings, 7).color_jitter == colour_jitter(settings, 7) == 0
        assert (distortion(True, 3), distortion(False, 7), distortion(True, 7)) == (True, False, False)
    assert [record.getMessage() for record in caplog.records] == [
        "augment.color_jitter 0.3 is for red, green and blue; it is off for pictures of 7 channels",
        "scene.distort is for red, green and blue; it is off for pictures of 7 channels",
    ]


def test_refusals_name_the_setting(tmp_path):
    with pytest.raises(ConfigError, match=r"data\.channels is 12; RandAugment takes pictures of 3 channels only"):
        check_rgb(TWELVE, "RandAugment")
    with pytest.raises(ConfigError, match=r"set data\.channels to 4"):
        check_channels(TWELVE, 4, "model")
    with pytest.raises(ConfigError, match=r"expected the same, or a model of 3 channels"):
        check_channels_of(model_config(ModelSettings(), num_channels=4), 12, "model")
    Preprocessing((16, 16), 16, (0.5,), (0.5,), value_range=(0, 4095)).save_pretrained(tmp_path)
    check_range(BandOptions(1, (0, 4095)), str(tmp_path))
    with pytest.raises(ConfigError, match=r"is auto, and .* has learnt from \[0, 4095\]; set data\.value_range to"):
        check_range(BandOptions(1), str(tmp_path))
    view = Preprocessing((16, 16), 16)
    view.save_pretrained(tmp_path)
    for bands in (None, BandOptions(3, (0, 9))):  # what has learnt from 8 bits has no range of its own
        check_range(bands, str(tmp_path))
    replace(view, value_range=(0, 9), frame=1).save_pretrained(tmp_path)
    assert Preprocessing.from_pretrained(tmp_path).bands == BandOptions(3, (0, 9), 1)
    with pytest.raises(ConfigError, match=r"data\.value_range is auto, and .* has learnt from \[0, 9\]"):
        check_range(None, str(tmp_path))
    with pytest.raises(ConfigError, match=r"data\.frame is None, and .* has learnt from 1; set data\.frame to 1"):
        check_range(BandOptions(3, (0, 9)), str(tmp_path))


def test_statistics_have_a_number_per_channel():
    bands = BandOptions(2, (0, 9))
    view = preprocessing(ModelSettings(), (16, 16), bands=bands)
    assert (view.mean, view.std, view.bands) == ((0.5, 0.5), (0.5, 0.5), bands)
    with pytest.raises(ConfigError, match=r"of 3 and 3 channels, and data\.channels is 2"):
        preprocessing(ModelSettings(image_mean=(0, 0, 0), image_std=(1, 1, 1)), (16, 16), bands=bands)
    with pytest.raises(ConfigError, match=r"of 1 and 1 channels, and data\.channels is 3"):
        preprocessing(ModelSettings(image_mean=(0,), image_std=(1,)), (16, 16))


def test_digits_are_grey():
    source = open_sources(DataSettings("digits:test", channels=1), 0).train
    assert len(source.open(0).decode().picture) == 1
    assert source.load(0).mode == "RGB"
