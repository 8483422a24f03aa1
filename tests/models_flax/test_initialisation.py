import math

import numpy as np
import pytest

from beit import FlaxBeitForImageClassification, FlaxBeitForMaskedImageModeling, FlaxBeitForSemanticSegmentation, preset
from beit.models_flax.tree import joined
from tests.conftest import TINY_MODEL

pytestmark = pytest.mark.e2e  # compiled, or of every model

STD_AT_ONE_SIGMA = 0.02 * 0.5396  # of a normal cut at one standard deviation


@pytest.fixture(scope="module")
def params():
    config = preset("tiny", num_hidden_layers=3, use_absolute_position_embeddings=True)
    return joined(FlaxBeitForMaskedImageModeling(config).params)


@pytest.mark.parametrize(
    ("name", "divisor"),
    [
        ("beit.embeddings.cls_token", 1),
        ("beit.embeddings.mask_token", 1),
        ("beit.embeddings.position_embeddings", 1),
        ("beit.embeddings.patch_embeddings.projection.kernel", 1),
        ("beit.encoder.layer.1.attention.attention.query.kernel", 1),
        ("beit.encoder.layer.0.attention.output.dense.kernel", math.sqrt(2)),
        ("beit.encoder.layer.2.attention.output.dense.kernel", math.sqrt(6)),
        ("beit.encoder.layer.2.output.dense.kernel", math.sqrt(6)),
        ("beit.encoder.layer.2.intermediate.dense.kernel", 1),
        ("lm_head.kernel", 1),
    ],
)
def test_weights_are_truncated_normal_and_outputs_rescaled(params, name, divisor):
    values = np.asarray(params[name])
    assert abs(values).max() <= 0.02 / divisor + 1e-7
    assert values.std() == pytest.approx(STD_AT_ONE_SIGMA / divisor, rel=0.25 if values.size < 1000 else 0.03)


def test_biases_tables_norms_and_layer_scale(params):
    for name, values in params.items():
        if name.endswith(("bias", "table")):
            assert not values.any(), name
        if name.endswith("scale"):
            assert (values == 1).all(), name
        if "lambda" in name:
            assert (values == 0.1).all(), name
        assert np.isfinite(values).all(), name


def test_classifier_starts_near_zero():
    model = FlaxBeitForImageClassification(preset("tiny", num_hidden_layers=1, num_labels=10))
    assert model.params["classifier"]["kernel"].std() == pytest.approx(STD_AT_ONE_SIGMA * 0.001, rel=0.05)


def test_heads_of_segmentation():
    options = TINY_MODEL | {"num_hidden_layers": 4}
    params = joined(FlaxBeitForSemanticSegmentation(preset("tiny", **options, out_indices=[1, 2, 3, 4])).params)
    assert params["decode_head.classifier.kernel"].std() == pytest.approx(STD_AT_ONE_SIGMA, rel=0.25)
    assert params["fpn1.3.kernel"].std() == pytest.approx(STD_AT_ONE_SIGMA, rel=0.05)
    starts = {"mean": 0, "var": 1, "num_batches_tracked": 0, "scale": 1, "bias": 0}
    for kind, start in starts.items():
        assert (params[f"decode_head.bottleneck.bn.{kind}"] == start).all()
