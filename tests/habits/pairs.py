"""One call on our class and on that of transformers, from the same config and with the same weights."""

import numpy as np
import pytest
import torch

import beit
from tests.conftest import TINY_MODEL

transformers = pytest.importorskip("transformers")
SEGMENT = {"num_hidden_layers": 4, "out_indices": [1, 2, 3, 4], "num_labels": 3}
OPTIONS = {
    "BeitModel": {},
    "BeitForMaskedImageModeling": {"use_mask_token": True},
    "BeitForImageClassification": {"num_labels": 3},
    "BeitForSemanticSegmentation": SEGMENT,
    "BeitBackbone": SEGMENT,
}
both = pytest.mark.parametrize("library", [beit, transformers], ids=["ours", "theirs"])


def made(library, name="BeitForImageClassification", **options):
    """A small model of one of the libraries, in evaluation."""
    torch.manual_seed(0)
    defaults = {"use_relative_position_bias": True, "layer_norm_eps": 1e-6, "drop_path_rate": 0.0}
    config = library.BeitConfig(**TINY_MODEL | defaults | OPTIONS[name] | options)
    return getattr(library, name)(config).eval()


def pair(tmp_path, name="BeitForImageClassification", **options):
    """Our model, and theirs loaded from the folder that it saved."""
    ours = made(beit, name, **options)
    for parameter in ours.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    ours.save_pretrained(tmp_path / "pair")
    return ours, getattr(transformers, name).from_pretrained(tmp_path / "pair").eval()


def pixels(batch=2, side=32):
    return torch.from_numpy(np.random.default_rng(0).normal(size=(batch, 3, side, side)).astype(np.float32))


def assert_close(one, other, tolerance=1e-5):
    torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)
