"""Parameter groups of the optimiser."""

import pytest
import torch

from beit import BeitForImageClassification, preset
from beit.engine.optimiser import (
    FILE_NAME,
    build_optimiser,
    optimiser_tensors,
    parameter_groups,
    restore_optimiser,
    set_learning_rate,
)
from beit.models_torch.loading import write_safetensors
from beit.settings.groups import OptimSettings
from tests.conftest import TINY_MODEL


@pytest.fixture
def classifier():
    options = {"use_shared_relative_position_bias": True, "use_absolute_position_embeddings": True}
    return BeitForImageClassification(preset("tiny", **{**TINY_MODEL, **options}))


def test_every_parameter_is_in_one_group_with_the_right_decay(classifier):
    groups = parameter_groups(classifier, weight_decay=0.05, layer_decay=0.5, layers=2)
    by_parameter = {id(p): group for group in groups for p in group["params"]}
    assert len(by_parameter) == sum(len(group["params"]) for group in groups) == len(list(classifier.parameters()))

    def group(name):
        chosen = by_parameter[id(classifier.get_parameter(name))]
        return chosen["weight_decay"], chosen["lr_scale"]

    assert group("classifier.weight") == (0.05, 1.0)
    assert group("classifier.bias") == (0.0, 1.0)
    assert group("beit.pooler.layernorm.weight") == (0.0, 1.0)
    assert group("beit.encoder.layer.1.intermediate.dense.weight") == (0.05, 0.5)
    assert group("beit.encoder.layer.0.lambda_1") == (0.0, 0.25)
    assert group("beit.encoder.relative_position_bias.relative_position_bias_table") == (0.0, 1.0)
    assert group("beit.embeddings.patch_embeddings.projection.weight") == (0.05, 0.125)
    assert group("beit.embeddings.cls_token") == (0.0, 0.125)
    assert group("beit.embeddings.position_embeddings") == (0.0, 0.125)


def test_groups_share_the_learning_rate(classifier):
    optimiser = torch.optim.AdamW(parameter_groups(classifier, 0.05, 0.5, 2))
    set_learning_rate(optimiser, 0.8)
    assert sorted({group["lr"] for group in optimiser.param_groups}) == pytest.approx([0.1, 0.2, 0.4, 0.8])


def test_convolutions_channels_last_go_on_with_the_same_bits(tmp_path):
    torch.manual_seed(0)
    picture = torch.randn(1, 3, 8, 8)

    def new():
        layer = torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
        group = {"params": list(layer.parameters()), "lr_scale": 1.0, "decays": True, "weight_decay": 0.05}
        return layer, build_optimiser([group], OptimSettings(lr=0.1))

    def step(layer, optimiser):
        optimiser.zero_grad()
        layer(picture).square().sum().backward()
        optimiser.step()

    first, optimiser = new()
    step(first, optimiser)
    write_safetensors(tmp_path / FILE_NAME, optimiser_tensors(first, optimiser))
    again, restored = new()
    again.load_state_dict(first.state_dict())
    restore_optimiser(tmp_path, again, restored)
    step(first, optimiser)
    step(again, restored)
    assert torch.equal(again.weight, first.weight)
