"""A model of three channels, started with another number, answers to repeated channels as it did before."""

import pytest
import torch

from beit import BeitModel, preset
from beit.errors import CheckpointError


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    torch.manual_seed(0)
    model = BeitModel(preset("tiny", image_size=32, patch_size=8, num_hidden_layers=1)).eval()
    model.save_pretrained(folder)
    return folder, model


@pytest.mark.parametrize("channels", [4, 6, 12, 13])
def test_repeated_colours_give_the_same(saved, channels):
    folder, model = saved
    pixels = torch.rand(2, 3, 32, 32)
    inflated = BeitModel.from_pretrained(folder, num_channels=channels)
    repeated = pixels[:, torch.arange(channels) % 3]
    same = inflated(repeated).last_hidden_state, model(pixels).last_hidden_state
    torch.testing.assert_close(*same, rtol=1e-4, atol=1e-5)
    assert inflated.load_report.adapted == [
        f"the patch embedding was inflated from 3 to {channels} channels: the weights of colours were repeated, each "
        "copy with its share"
    ]


@pytest.mark.parametrize("channels", [1, 2])
def test_grey_gives_the_same_as_grey_in_three_channels(saved, channels):
    folder, model = saved
    grey = torch.rand(2, 1, 32, 32)
    inflated = BeitModel.from_pretrained(folder, num_channels=channels)
    same = inflated(grey.expand(-1, channels, -1, -1)).last_hidden_state, model(grey.expand(-1, 3, -1, -1))[0]
    torch.testing.assert_close(*same, rtol=1e-4, atol=1e-5)
    assert "summed" in str(inflated.load_report)


def test_other_numbers_are_refused(saved, tmp_path):
    BeitModel.from_pretrained(saved[0], num_channels=4).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="another shape"):
        BeitModel.from_pretrained(tmp_path, num_channels=3)
