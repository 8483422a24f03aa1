"""From settings to the config of a model: a named size, changed where the recipe says so."""

from __future__ import annotations

from typing import Any

from beit.catalog import SIZES, preset
from beit.config import BeitConfig
from beit.errors import ConfigError
from beit.training.settings import ModelSettings

DEFAULT_SIZE = "base"

# Options that decide the shapes of the parameters, or their starting values ...
_SHAPES = (
    "image_size",
    "patch_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "layer_scale_init_value",
)
# ... and those that only matter while training.
_DROPPED = ("drop_path_rate", "hidden_dropout_prob", "attention_probs_dropout_prob")


def model_config(settings: ModelSettings, **options: Any) -> BeitConfig:
    """Return the config of a new model; `options` win over the recipe.

    Raises:
        ConfigError: If no model can be built from the settings.
    """
    given = {name: getattr(settings, name) for name in _SHAPES if getattr(settings, name) is not None}
    return preset(settings.size or DEFAULT_SIZE, **{**given, **training_options(settings), **options})


def training_options(settings: ModelSettings) -> dict[str, float]:
    """Return the options that do not change what a checkpoint holds."""
    return {name: getattr(settings, name) for name in _DROPPED}


def check_same_shape(settings: ModelSettings, config: BeitConfig, checkpoint: str) -> None:
    """Refuse sizes in a recipe that are not those of the checkpoint it names, or what it is resized to.

    Raises:
        ConfigError: Naming every setting that differs.
    """
    wanted = dict(SIZES[settings.size]) if settings.size is not None else {}
    wanted |= {name: getattr(settings, name) for name in _SHAPES if getattr(settings, name) is not None}
    differences = [
        f"model.{name} is {value}, the checkpoint has {getattr(config, name)}"
        for name, value in wanted.items()
        if getattr(config, name) != value
    ]
    if differences:
        raise ConfigError(f"{checkpoint} has another shape: {'; '.join(differences)}. Leave these settings out")
