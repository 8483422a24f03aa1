"""Options of a model: validated, read from `config.json` and written there."""

from beit.config.beit_config import BeitConfig, ProblemType, problem_of, require_config
from beit.config.checks import (
    Size,
    check_auxiliary_width,
    check_divisible,
    check_pyramid,
    check_stages,
    pair,
    shown,
    tapped_hidden_states,
)
from beit.config.json_form import CONFIG_NAME, DATA2VEC, ORIGINAL_SEGMENTERS, UNUSED
from beit.config.kinds import AutoConfig, Data2VecVisionConfig

FEATURES_NAME = "features.json"  # beside the model of a pre-training: how good the features of its layers are

__all__ = [
    "CONFIG_NAME",
    "DATA2VEC",
    "FEATURES_NAME",
    "ORIGINAL_SEGMENTERS",
    "UNUSED",
    "AutoConfig",
    "BeitConfig",
    "Data2VecVisionConfig",
    "ProblemType",
    "Size",
    "check_auxiliary_width",
    "check_divisible",
    "check_pyramid",
    "check_stages",
    "pair",
    "problem_of",
    "require_config",
    "shown",
    "tapped_hidden_states",
]
