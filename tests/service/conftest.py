"""Tiny models, as for the predictor, and a service of two."""

import pytest
import torch

from beit import BeitForImageClassification, BeitForSemanticSegmentation, Predictor, preset
from beit.image import Preprocessing
from beit.service import create_app
from tests.conftest import TINY_MODEL
from tests.inference.conftest import classifier, pretrained
from tests.service.asking import NAMES

__all__ = ["classifier", "pretrained"]


def saved(model, folder, height=32):
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    Preprocessing((height, 32), (height, 32)).save_pretrained(folder)
    return Predictor.from_pretrained(folder)


@pytest.fixture(scope="module")
def predictors(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    options = {"pool_scales": (1, 2), "out_indices": [1, 2, 3, 4], "num_hidden_layers": 4, "use_auxiliary_head": False}
    scenes = preset("tiny", **{**TINY_MODEL, **options}, id2label=NAMES)
    return {
        "pets": saved(BeitForImageClassification(preset("tiny", **TINY_MODEL, id2label=NAMES)), folder / "pets"),
        "streets": saved(BeitForSemanticSegmentation(scenes), folder / "streets"),
    }


@pytest.fixture(scope="module")
def app(predictors):
    return create_app(predictors)
