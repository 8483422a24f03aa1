"""Positions of new models, and what a checkpoint that has others answers."""

import pytest

from beit.config import BeitConfig
from beit.errors import ConfigError
from beit.settings.groups import ModelSettings
from beit.settings.model import check_same_shape, model_config

SMALL = {"size": "tiny", "num_hidden_layers": 2, "image_size": 32, "patch_size": 16}
KINDS = {  # absolute embeddings, a bias in every layer, one for all
    None: (False, False, True),
    "relative": (False, False, True),
    "relative_per_layer": (False, True, False),
    "absolute": (True, False, False),
}


def kind(config):
    names = ("absolute_position_embeddings", "relative_position_bias", "shared_relative_position_bias")
    return tuple(getattr(config, f"use_{name}") for name in names)


@pytest.mark.parametrize("positions", KINDS)
def test_a_new_model_has_the_positions_that_are_asked_for(positions):
    assert kind(model_config(ModelSettings(**SMALL, positions=positions))) == KINDS[positions]


@pytest.mark.parametrize("asked", KINDS)
@pytest.mark.parametrize("held", ["relative", "relative_per_layer", "absolute"])
def test_positions_that_a_checkpoint_does_not_have_are_refused(asked, held):
    config = BeitConfig.from_dict(model_config(ModelSettings(**SMALL, positions=held)).to_dict())
    settings = ModelSettings(positions=asked)
    if asked in (None, held) or (asked, held) == ("relative", "relative_per_layer"):
        check_same_shape(settings, config, "a checkpoint")
    else:
        with pytest.raises(ConfigError, match=f"model.positions is {asked}, the checkpoint has {held}"):
            check_same_shape(settings, config, "a checkpoint")
