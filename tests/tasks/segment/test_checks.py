"""Batches that batch norms cannot take."""

import pytest
import torch

from beit.config import BeitConfig
from beit.errors import ConfigError
from beit.models_torch import BeitForSemanticSegmentation
from beit.settings.groups import TrainSettings
from beit.tasks.segment.checks import check_batch_norms
from tests.conftest import TINY_MODEL


def config(**options):
    return BeitConfig(**{**TINY_MODEL, "num_hidden_layers": 4, "out_indices": [1, 2, 3, 4], **options})


@pytest.mark.parametrize(
    ("batch_size", "accumulate", "world", "shared", "fits"),
    [(1, 1, 1, False, False), (4, 4, 1, False, False), (5, 4, 1, False, False), (8, 4, 1, False, True),
     (2, 1, 1, False, True), (2, 1, 2, False, False), (2, 1, 2, True, True), (4, 2, 2, True, True)],
)  # fmt: skip
def test_one_picture_at_a_time(batch_size, accumulate, world, shared, fits):
    train = TrainSettings(batch_size=batch_size, accumulate=accumulate)
    if fits:
        check_batch_norms(train, config(), world, shared)
    else:
        with pytest.raises(ConfigError, match=rf"raise train\.batch_size to {2 * world * accumulate}"):
            check_batch_norms(train, config(), world, shared)


@pytest.mark.parametrize(
    ("options", "fits"),
    [({}, False), ({"pool_scales": [2, 3]}, True), ({"pool_scales": [2], "image_size": 16, "patch_size": 8}, False)],
)
def test_what_is_refused_is_what_torch_cannot_do(options, fits):
    model = BeitForSemanticSegmentation(config(**options)).train()
    side = model.config.image_hw[0]
    train = TrainSettings(batch_size=1)
    if fits:
        model.both_logits(torch.rand(1, 3, side, side))
        check_batch_norms(train, model.config, 1, shared=False)
        return
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        model.both_logits(torch.rand(1, 3, side, side))
    with pytest.raises(ConfigError, match="is one picture at a time"):
        check_batch_norms(train, model.config, 1, shared=False)
