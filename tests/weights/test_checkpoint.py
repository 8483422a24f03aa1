"""Checkpoints of training scripts: wrapped state dicts, and options that are left open without a config."""

import numpy as np
import pytest
import torch

from beit import BeitConfig
from beit.errors import CheckpointError
from beit.weights.checkpoint import open_checkpoint
from tests.conftest import GOLDEN

RELEASED = GOLDEN / "unilm/finetune/checkpoint.pth"


@pytest.fixture
def weights():
    return torch.load(RELEASED, weights_only=False)["model"]


def opened(tmp_path, content, **options):
    path = tmp_path / "checkpoint.pth"
    torch.save(content, path)
    return open_checkpoint(path, **options)


@pytest.mark.parametrize("key", ["model", "module", "state_dict", "params"])
@pytest.mark.parametrize("wrapper", ["", "module.", "params.", "student.", "encoder.model.", "model.ema.module.net."])
def test_wrappers_of_training_scripts_are_taken_off(tmp_path, weights, key, wrapper):
    expected = open_checkpoint(RELEASED)
    found = opened(tmp_path, {key: {f"{wrapper}{name}": tensor for name, tensor in weights.items()}, "epoch": 3})
    assert found.layout is expected.layout
    assert found.options == expected.options
    assert set(found.tensors) == set(expected.tensors)
    for name, entry in expected.tensors.items():
        np.testing.assert_array_equal(found.tensors[name].read(), entry.read())


def test_two_models_in_one_file_are_refused(tmp_path, weights):
    both = {f"{who}.{name}": tensor for name, tensor in weights.items() for who in ("student", "teacher")}
    with pytest.raises(CheckpointError, match=r"holds \d+ tensors such as \['student\."):
        opened(tmp_path, {"model": both})


def test_what_is_no_tensor_is_named_with_its_kind_and_place(tmp_path, weights):
    with pytest.raises(CheckpointError, match=r"holds a str at blocks\.note; expected a tensor"):
        opened(tmp_path, {"model": {**weights, "blocks": {"note": "of somebody"}}})


def test_a_grid_that_is_not_square_needs_the_size_that_was_asked_for(tmp_path, weights):
    """Tables of 4 x 6 patches: 7 x 11 offsets and three more."""
    for name in [name for name in weights if name.endswith("relative_position_bias_table")]:
        weights[name] = torch.zeros(7 * 11 + 3, weights[name].shape[1])
    weights = {name: tensor for name, tensor in weights.items() if not name.endswith("relative_position_index")}
    patch = weights["patch_embed.proj.weight"].shape[-1]
    with pytest.raises(CheckpointError):
        opened(tmp_path, {"model": weights})
    size = [4 * patch, 6 * patch]
    asked = opened(tmp_path, {"model": weights}, overrides={"image_size": size})
    assert list(asked.options["image_size"]) == size
    config = BeitConfig(image_size=size, patch_size=patch, num_attention_heads=asked.options["num_attention_heads"])
    assert list(opened(tmp_path, {"model": weights}, config=config).options["image_size"]) == size
