"""Configs of BEiT under other names: data2vec, and the choice of a class by the type in a file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import wraps
from typing import Any

from beit.config.beit_config import BeitConfig
from beit.config.json_form import DATA2VEC, DATA2VEC_LAYERS, lacks_data2vec_layers
from beit.errors import ConfigError

_BEIT_ONLY = ("add_fpn", "out_features", "reshape_hidden_states", "stage_names", "vocab_size")


class Data2VecVisionConfig(BeitConfig):
    """Options of a data2vec vision model, which is a BEiT under other names (arXiv 2202.03555, section 3.2).

    Args:
        **options: Those of `BeitConfig`, by name.

    Raises:
        ConfigError: If an option has a value that no model can be built from.
    """

    model_type = DATA2VEC

    @wraps(BeitConfig.__init__)
    def __init__(self, **options: Any) -> None:
        deep_enough = not lacks_data2vec_layers({**options, "out_indices": DATA2VEC_LAYERS})
        if deep_enough and not {"out_features", "out_indices"} & options.keys():
            options["out_indices"] = DATA2VEC_LAYERS
        super().__init__(**options)

    def to_dict(self) -> dict[str, Any]:
        """Return every option as JSON values, without those that data2vec models do not have."""
        return {name: value for name, value in super().to_dict().items() if name not in _BEIT_ONLY}


class AutoConfig(BeitConfig):
    """Chooser of the config class by the type in a `config.json`; it has no instances."""

    def __init__(self, **options: Any) -> None:
        raise ConfigError("AutoConfig has no instances; call AutoConfig.from_pretrained(...) or for_model('beit')")

    @classmethod
    def from_dict(cls, options: Mapping[str, Any], **overrides: Any) -> Any:
        """Build the config of the type that `model_type` names.

        Raises:
            ConfigError: If it is of another type, or an option is invalid.
        """
        cls.check_kind(options, "the config")
        kind = Data2VecVisionConfig if options.get("model_type") == DATA2VEC else BeitConfig
        return kind.from_dict(options, **overrides)

    @classmethod
    def for_model(cls, model_type: str, **options: Any) -> Any:
        """Return a config of a type.

        Raises:
            ConfigError: If there is no such type, or an option is invalid.
        """
        return cls.from_dict({"model_type": model_type, **options})
