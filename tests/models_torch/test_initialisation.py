import math

import pytest
import torch
from scipy import stats

from beit import BeitForImageClassification, BeitForMaskedImageModeling, preset
from beit.models_torch.initialisation import initialise


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return BeitForMaskedImageModeling(preset("tiny", num_hidden_layers=3, use_absolute_position_embeddings=True))


STD_AT_ONE_SIGMA = 0.02 * 0.5396  # of a normal cut at one standard deviation


@pytest.mark.parametrize(
    ("name", "divisor"),
    [
        ("beit.embeddings.cls_token", 1),
        ("beit.embeddings.mask_token", 1),
        ("beit.embeddings.position_embeddings", 1),
        ("beit.embeddings.patch_embeddings.projection.weight", 1),
        ("beit.encoder.layer.1.attention.attention.key.weight", 1),
        ("beit.encoder.layer.0.attention.output.dense.weight", math.sqrt(2)),
        ("beit.encoder.layer.2.attention.output.dense.weight", math.sqrt(6)),
        ("beit.encoder.layer.2.output.dense.weight", math.sqrt(6)),
        ("beit.encoder.layer.2.intermediate.dense.weight", 1),
        ("lm_head.weight", 1),
    ],
)
def test_weights_are_truncated_normal_and_outputs_rescaled(model, name, divisor):
    values = model.get_parameter(name)
    assert values.abs().max() <= 0.02 / divisor + 1e-7
    tolerance = 0.25 if values.numel() < 1000 else 0.03
    assert values.std().item() == pytest.approx(STD_AT_ONE_SIGMA / divisor, rel=tolerance)


def test_the_distribution_is_a_normal_one_cut_at_one_standard_deviation():
    torch.manual_seed(0)
    layer = torch.nn.Linear(400, 500)
    initialise(layer, 0.02)
    cut = stats.truncnorm(-1, 1, scale=0.02).cdf
    assert stats.kstest(layer.weight.detach().flatten().numpy(), cut).pvalue > 0.01
    half = torch.nn.Linear(400, 500).to(torch.bfloat16)
    initialise(half, 0.02)
    assert half.weight.dtype == torch.bfloat16
    assert half.weight.float().std().item() == pytest.approx(layer.weight.std().item(), rel=0.02)


def test_biases_tables_and_layer_scale(model):
    for name, parameter in model.named_parameters():
        if name.endswith(("bias", "table")):
            assert not parameter.any(), name
        if name.endswith(("lambda_1", "lambda_2")):
            assert torch.all(parameter == 0.1), name


def test_classifier_starts_near_zero():
    torch.manual_seed(0)
    model = BeitForImageClassification(preset("tiny", num_hidden_layers=1, num_labels=10))
    assert model.classifier.weight.std().item() == pytest.approx(STD_AT_ONE_SIGMA * 0.001, rel=0.05)


def test_the_base_model_has_its_published_size():
    with torch.device("meta"):
        model = BeitForMaskedImageModeling(preset("base"))
    # 91,965,776 is the published count; ours has a norm's bias and weight elsewhere but the same number of numbers
    assert sum(parameter.numel() for parameter in model.parameters()) == 91_965_776


@pytest.mark.parametrize("kind", [BeitForImageClassification, BeitForMaskedImageModeling])
def test_memory_without_values_gets_those_of_a_new_model(kind):
    """Built without memory, given some, and initialised: no parameter keeps what stood there."""
    config = preset("tiny", num_hidden_layers=2, use_absolute_position_embeddings=True, layer_scale_init_value=0.3)
    with torch.device("meta"):
        model = kind(config)
    model.to_empty(device="cpu")
    for values in (*model.parameters(), *model.buffers()):
        values.detach().fill_(7)
    torch.manual_seed(0)
    model.init_weights()
    assert max(values.abs().max() for values in model.parameters()) <= 1
    layer = model.beit.encoder.layer[1]
    assert torch.all(layer.lambda_1 == 0.3)
    assert torch.all(layer.lambda_2 == 0.3)
