"""Tiny models of every kind, saved with their preprocessing."""

import pytest
import torch

from beit import (
    BeitForImageClassification,
    BeitForMaskedImageModeling,
    BeitForSemanticSegmentation,
    DiscreteVAE,
    DiscreteVAEConfig,
    preset,
)
from beit.image import Preprocessing
from tests.conftest import TINY_MODEL

NAMES = {0: "cat", 1: "dog", 2: "eel"}


def saved(model, folder):
    torch.nn.init.normal_(model.beit.embeddings.cls_token)
    model.save_pretrained(folder)
    Preprocessing((32, 32), (36, 36)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def classifier(tmp_path_factory):
    torch.manual_seed(0)
    model = BeitForImageClassification(preset("tiny", **TINY_MODEL, id2label=NAMES))
    torch.nn.init.normal_(model.classifier.weight)
    return saved(model, tmp_path_factory.mktemp("models") / "classifier")


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory):
    torch.manual_seed(1)
    model = BeitForMaskedImageModeling(preset("tiny", **TINY_MODEL))
    torch.nn.init.normal_(model.lm_head.weight)
    return saved(model, tmp_path_factory.mktemp("models") / "pretrained")


@pytest.fixture(scope="session")
def segmenter(tmp_path_factory):
    torch.manual_seed(2)
    options = {**TINY_MODEL, "num_hidden_layers": 4, "out_indices": [1, 2, 3, 4]}
    model = BeitForSemanticSegmentation(preset("tiny", **options, id2label=NAMES))
    return saved(model, tmp_path_factory.mktemp("models") / "segmenter")


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory):
    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("models") / "tokenizer"
    config = DiscreteVAEConfig(vocab_size=64, hidden_size=8, groups=2, blocks_per_group=1, decoder_input_size=8)
    DiscreteVAE(config).save_pretrained(folder)
    return folder
