"""Tiny models of every task, to export."""

import numpy as np
import torch
from PIL import Image

from beit import BeitForImageClassification, BeitForMaskedImageModeling, BeitForSemanticSegmentation, BeitModel, preset
from beit.image import Preprocessing
from tests.conftest import TINY_MODEL

TARGETS = ("onnx", "openvino", "torch")
SEGMENTER = {**TINY_MODEL, "num_hidden_layers": 4, "pool_scales": [2], "out_indices": [1, 2, 3, 4]}


def model_of(kind):
    torch.manual_seed(0)
    if kind == "classify":
        model = BeitForImageClassification(preset("tiny", **TINY_MODEL, id2label={0: "cat", 1: "dog", 2: "eel"}))
    elif kind == "segment":
        model = BeitForSemanticSegmentation(preset("tiny", **SEGMENTER, num_labels=3, use_auxiliary_head=False))
    elif kind == "embed":
        positions = {"use_shared_relative_position_bias": False, "use_relative_position_bias": False}
        absolute = {**positions, "use_absolute_position_embeddings": True}
        model = BeitModel(preset("tiny", **TINY_MODEL, **absolute, use_mean_pooling=False))
    else:
        model = BeitForMaskedImageModeling(preset("tiny", **TINY_MODEL, use_mask_token=True))
    for name, parameter in model.named_parameters():  # else biases, tables and positions are zero
        if parameter.dim() < 2 or name.endswith(("table", "position", "classifier.weight")):
            torch.nn.init.normal_(parameter, std=0.5)
    return model.eval()


def save_models(root):
    """Save a model of every task, and pictures to check them on."""
    for kind in ("classify", "segment", "embed", "mim"):
        model_of(kind).save_pretrained(root / kind)
        Preprocessing((32, 32), (36, 36)).save_pretrained(root / kind)
    rng = np.random.default_rng(0)
    (root / "pictures").mkdir()
    for number in range(6):
        small = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(small).resize((64, 48)).save(root / "pictures" / f"{number}.png")


def pixels_of(count, height=32, width=32):
    return np.random.default_rng(1).normal(size=(count, 3, height, width)).astype(np.float32)
