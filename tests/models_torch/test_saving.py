"""Saving of models: arguments, layouts and heads."""

import pytest
import torch

from beit import (
    BeitConfig,
    BeitForImageClassification,
    BeitForMaskedImageModeling,
    BeitForSemanticSegmentation,
)
from beit.errors import ConfigError
from beit.models_torch.conversion import convert
from tests.conftest import GOLDEN, TINY_MODEL
from tests.models_torch.same import same_weights

CLASSIFIER = GOLDEN / "hf_v4/classify_single"


@pytest.fixture
def reference():
    return BeitForImageClassification.from_pretrained(CLASSIFIER)


def test_saving_by_the_published_arguments(reference, tmp_path):
    reference.save_pretrained(tmp_path / "other", is_main_process=False)
    assert not (tmp_path / "other").exists()
    with pytest.raises(ConfigError, match=r"save_pretrained does not know \['colour'\]"):
        reference.save_pretrained(tmp_path, colour=1)
    gathered = {name: tensor * 2 for name, tensor in reference.state_dict().items()}
    reference.save_pretrained(tmp_path, state_dict=gathered, safe_serialization=True, max_shard_size="5GB")
    saved = BeitForImageClassification.from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(saved[name], gathered[name]) for name in gathered)


def test_many_classes_through_the_original_layout(tmp_path):
    config = BeitConfig(**TINY_MODEL, num_labels=50_000)
    BeitForImageClassification(config).save_pretrained(tmp_path / "hf")
    convert(tmp_path / "hf", tmp_path / "model.pth", "unilm")
    assert BeitForImageClassification.from_pretrained(tmp_path / "model.pth").config.num_labels == 50_000


@pytest.mark.parametrize("to", ["timm", "unilm"])
def test_what_a_layout_cannot_say_is_said(to, tmp_path):
    report = convert(CLASSIFIER, tmp_path / "out", to)
    assert any("layer_norm_eps is 1e-12; the code that reads this layout uses 1e-06" in line for line in report.adapted)
    config = BeitConfig(**TINY_MODEL, hidden_act="relu")
    BeitForImageClassification(config).save_pretrained(tmp_path / "relu")
    with pytest.raises(ConfigError, match=r"hidden_act is 'relu'; .* has gelu only, use another layout"):
        convert(tmp_path / "relu", tmp_path / "no", to)
    assert not (tmp_path / "no" / "config.json").exists()


HEADS = [
    (BeitForImageClassification, "classifier", "num_labels"),
    (BeitForSemanticSegmentation, "decode_head.classifier", "num_labels"),
    (BeitForMaskedImageModeling, "lm_head", "vocab_size"),
]


@pytest.mark.parametrize(("kind", "head", "option"), HEADS, ids=lambda one: getattr(one, "__name__", None))
def test_a_head_for_other_classes_than_the_config_says_is_not_saved(tmp_path, kind, head, option):
    model = kind(BeitConfig(**{**TINY_MODEL, "num_hidden_layers": 4}, out_indices=[1, 2, 3, 4]))
    setattr(model.config, option, 7)
    with pytest.raises(ConfigError, match=rf"{head} is for \d+ classes and config.{option} is 7; expected the same"):
        model.save_pretrained(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_head_that_was_replaced_is_saved_with_its_number_of_classes(tmp_path):
    model = BeitForImageClassification(BeitConfig(**TINY_MODEL))
    model.classifier = torch.nn.Linear(model.config.hidden_size, 5)
    with pytest.raises(ConfigError, match=r"classifier is for 5 classes .* set config.num_labels = 5"):
        model.save_pretrained(tmp_path)
    model.config.num_labels = 5
    model.save_pretrained(tmp_path)
    assert same_weights(BeitForImageClassification.from_pretrained(tmp_path), model)
