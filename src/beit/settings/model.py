"""Model configs that settings describe: a named size, changed where the recipe says so."""

from __future__ import annotations

from typing import Any

from beit.catalog import SIZES, preset
from beit.config import BeitConfig, check_divisible
from beit.errors import ConfigError
from beit.image import COLOURS
from beit.settings.groups import ModelSettings

DEFAULT_SIZE = "base"
_POSITIONS = {  # where they are not those of the size
    "absolute": {
        "use_absolute_position_embeddings": True,
        "use_shared_relative_position_bias": False,
        "use_relative_position_bias": False,
    },
    "relative_per_layer": {"use_shared_relative_position_bias": False, "use_relative_position_bias": True},
}

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
    """Return the config of a new model; `options` win over the recipe, but for its positions.

    Raises:
        ConfigError: If no model can be built from the settings.
    """
    given = {name: getattr(settings, name) for name in _SHAPES if getattr(settings, name) is not None}
    positions = _POSITIONS.get(settings.positions or "relative", {})
    config = preset(settings.size or DEFAULT_SIZE, **{**given, **training_options(settings), **options, **positions})
    check_divisible(config.image_hw, config.patch_hw)
    return config


def hidden_width(settings: ModelSettings) -> int:
    """Return the width of the encoder as far as the settings say it: of their size, whatever a checkpoint has."""
    return settings.hidden_size or SIZES[settings.size or DEFAULT_SIZE]["hidden_size"]


def check_channels_of(config: BeitConfig, channels: int, checkpoint: str) -> None:
    """Refuse a checkpoint whose patch embedding cannot be made one for so many channels: only three are inflated.

    Raises:
        ConfigError: Naming both numbers.
    """
    if config.num_channels not in (COLOURS, channels):
        raise ConfigError(
            f"data.channels is {channels}, and {checkpoint} takes {config.num_channels}; expected the same, or a model "
            f"of 3 channels: set data.channels to {config.num_channels}"
        )


def training_options(settings: ModelSettings) -> dict[str, float]:
    """Return the options that do not change what a checkpoint holds."""
    return {name: getattr(settings, name) for name in _DROPPED}


def task_options(classes: list[str]) -> dict[str, Any]:
    """Return the options of a model that is trained for a task: its classes, and one position bias per layer."""
    return {
        "id2label": dict(enumerate(classes)),
        "label2id": {name: index for index, name in enumerate(classes)},
        "use_relative_position_bias": True,
        "use_shared_relative_position_bias": False,
        "use_mask_token": False,
        "mask_tokens_in_decoder": False,
    }


def task_config(settings: ModelSettings, before: BeitConfig, options: dict[str, Any], checkpoint: str) -> BeitConfig:
    """Return the config of a model for a task that starts from a checkpoint, whose kind of positions it keeps.

    Raises:
        ConfigError: If the recipe has sizes that are not the checkpoint's.
    """
    changed = dict(options)
    if not before.use_shared_relative_position_bias:
        changed["use_relative_position_bias"] = before.use_relative_position_bias
    if settings.image_size is not None:
        changed["image_size"] = settings.image_size
    config = BeitConfig.from_dict(before.to_dict(), **training_options(settings), **changed)
    check_divisible(config.image_hw, config.patch_hw)
    check_same_shape(settings, config, checkpoint)
    return config


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
    held = _positions(config)
    if settings.positions is not None and not held.startswith(settings.positions):
        differences.append(f"model.positions is {settings.positions}, the checkpoint has {held}")
    if differences:
        raise ConfigError(f"{checkpoint} has another shape: {'; '.join(differences)}. Leave these settings out")


def _positions(config: BeitConfig) -> str:
    if config.use_relative_position_bias:
        return "relative_per_layer"
    if config.use_shared_relative_position_bias:
        return "relative"
    return "absolute" if config.use_absolute_position_embeddings else "no positions"
