"""Adaptation of a checkpoint to a model."""

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from beit import BeitModel, preset
from beit.config import BeitConfig
from beit.errors import CheckpointError
from beit.geometry import Grid, num_relative_positions, resize_bias_table, resize_positions
from beit.weights import adapt_tensors, with_root
from beit.weights.adaptation import resized
from beit.weights.rules import entry_of
from beit.weights.storage.lazy_tensor import open_safetensors

TABLE = "relative_position_bias.relative_position_bias_table"

SMALL, LARGE = Grid(2, 3), Grid(4, 5)
TINY = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 2, "patch_size": 8}


@pytest.fixture
def entries(tmp_path):
    """Make entries of arrays, on disk as in a checkpoint."""

    def make(arrays):
        save_file(arrays, tmp_path / "x.safetensors")
        stored = open_safetensors(tmp_path / "x.safetensors")
        return {name: entry_of(stored[name]) for name in arrays}

    return make


@pytest.fixture
def tables(entries):
    """A bias table, positions and a weight, for a grid of 2 x 3."""
    draw = np.random.default_rng(0).normal
    return entries(
        {
            f"beit.encoder.{TABLE}": draw(size=(num_relative_positions(SMALL), 2)).astype(np.float32),
            "beit.embeddings.position_embeddings": draw(size=(1, 7, 8)).astype(np.float32),
            "beit.layernorm.weight": np.ones(8, np.float32),
        }
    )


def values(entries):
    return {name: entry.read() for name, entry in entries.items()}


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("method", ["cubic", "linear", "bilinear"])
def test_tables_and_positions_at_another_grid(tables, method):
    before, (after, names) = values(tables), resized(tables, SMALL, LARGE, method)
    bias, position = f"beit.encoder.{TABLE}", "beit.embeddings.position_embeddings"
    assert sorted(names) == [position, bias]
    expected = before | {
        bias: resize_bias_table(before[bias], SMALL, LARGE, method),
        position: resize_positions(before[position], SMALL, LARGE),
    }
    assert_equal(values(after), expected)
    assert {name: entry.shape for name, entry in after.items()} == {n: array.shape for n, array in expected.items()}


def test_the_same_grid_and_tables_of_other_grids_stay(tables):
    assert resized(tables, SMALL, SMALL, "cubic") == (tables, [])
    assert resized(tables, LARGE, Grid(6, 6), "cubic") == (tables, [])


def test_a_shared_bias_for_a_model_with_one_per_layer(tables):
    before = BeitConfig(**TINY, image_size=(16, 24), use_shared_relative_position_bias=True)
    config = BeitConfig(**TINY, image_size=(32, 40), use_relative_position_bias=True)
    adapted, done, names = adapt_tensors(tables, before, config, "linear", rooted=False)
    copies = [f"encoder.layer.{layer}.attention.attention.{TABLE}" for layer in range(2)]
    assert adapted.keys() == {*copies, "embeddings.position_embeddings", "layernorm.weight"}
    assert {adapted[name].shape for name in copies} == {(num_relative_positions(LARGE), 2)}
    assert names == ["embeddings.position_embeddings", *copies]
    assert done == [
        "the shared relative position bias was copied into every layer",
        "the relative position bias was resized from 2 x 3 to 4 x 5 patches by timm's linear method",
        "the absolute positions were resized from 2 x 3 to 4 x 5 patches by bicubic interpolation",
    ]


def test_a_model_that_shares_its_bias_too(tables):
    config = BeitConfig(**TINY, image_size=(16, 24), use_shared_relative_position_bias=True)
    adapted, done, names = adapt_tensors(tables, config, config, "cubic", rooted=True)
    assert (adapted, done, names) == (tables, [], [])
    both = BeitConfig(
        **TINY, image_size=(16, 24), use_shared_relative_position_bias=True, use_relative_position_bias=True
    )
    assert adapt_tensors(tables, both, both, "cubic", rooted=True)[0] == tables


def test_where_the_encoder_is():
    bare = {
        "embeddings.cls_token": 1,
        "encoder.layer.0.x": 2,
        "pooler.layernorm.weight": 3,
        "layernorm.weight": 4,
        "lm_head": 5,
    }
    rooted = with_root(bare, wanted=True)
    assert rooted == {
        "beit.embeddings.cls_token": 1,
        "beit.encoder.layer.0.x": 2,
        "beit.pooler.layernorm.weight": 3,
        "beit.layernorm.weight": 4,
        "lm_head": 5,
    }
    assert with_root(rooted, wanted=False) == bare | {"head:lm_head": bare.pop("lm_head")}
    # the norm of a pre-training head, and the pyramid that a backbone has without a head
    assert with_root({"beit.embeddings.x": 1, "layernorm.weight": 2, "fpn2.0.weight": 3}, wanted=True) == {
        "beit.embeddings.x": 1,
        "layernorm.weight": 2,
        "fpn2.0.weight": 3,
    }
    assert with_root({"beit.embeddings.x": 1, "layernorm.weight": 2, "fpn2.0.weight": 3}, wanted=False) == {
        "embeddings.x": 1,
        "head:layernorm.weight": 2,
        "fpn2.0.weight": 3,
    }


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
