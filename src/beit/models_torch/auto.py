"""Auto classes: the class of a model by the type in its config, as transformers has them."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from beit.config import DATA2VEC, BeitConfig, require_config
from beit.errors import ConfigError, UnavailableError
from beit.files import read_json
from beit.hub import HubOptions
from beit.models_torch.pretrained import BeitPreTrainedModel
from beit.weights import locate

# By the name of the Auto class, which transformers has too: the class for each type of model.
AUTO_MODELS: dict[str, dict[str, str]] = {
    "AutoModel": {"beit": "BeitModel", DATA2VEC: "Data2VecVisionModel"},
    "AutoModelForImageClassification": {
        "beit": "BeitForImageClassification",
        DATA2VEC: "Data2VecVisionForImageClassification",
    },
    "AutoModelForSemanticSegmentation": {
        "beit": "BeitForSemanticSegmentation",
        DATA2VEC: "Data2VecVisionForSemanticSegmentation",
    },
    "AutoModelForMaskedImageModeling": {"beit": "BeitForMaskedImageModeling"},
    "AutoBackbone": {"beit": "BeitBackbone"},
}
_HUB_OPTIONS = ("revision", "token", "cache_dir", "local_files_only", "force_download", "subfolder")


class _AutoClass:
    """Chooser of a class; it has no instances."""

    name: ClassVar[str] = ""

    def __init__(self) -> None:
        raise ConfigError(f"{self.name} has no instances; call {self.name}.from_pretrained(...) or from_config(...)")

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Any:
        """Load a model by the class for its type; see `BeitPreTrainedModel.from_pretrained`.

        Raises:
            CheckpointError: If the checkpoint cannot be found, or does not fit.
            ConfigError: If there is no such class for the type of the model, or an option is invalid.
        """
        config = kwargs.get("config")
        if isinstance(config, BeitConfig):
            kind = config.model_type
        else:
            hub = HubOptions(**{key: kwargs[key] for key in _HUB_OPTIONS if kwargs.get(key) is not None})
            kind = _model_type(pretrained_model_name_or_path, hub)
        return cls._class_for(kind).from_pretrained(pretrained_model_name_or_path, **kwargs)

    @classmethod
    def from_config(cls, config: BeitConfig, **kwargs: Any) -> BeitPreTrainedModel:
        """Return a model of random weights.

        Raises:
            ConfigError: If there is no such class for the type of the config.
        """
        require_config(config)
        return cls._class_for(config.model_type)._from_config(config, **kwargs)  # pyright: ignore[reportPrivateUsage]

    @classmethod
    def _class_for(cls, kind: str) -> type[BeitPreTrainedModel]:
        classes = AUTO_MODELS[cls.name]
        if kind not in classes:
            raise ConfigError(
                f"the model is of type {kind!r}, for which there is no {cls.name}; expected {' or '.join(classes)}"
            )
        return getattr(import_module("beit.models_torch"), classes[kind])


def _model_type(name: str | Path, hub: HubOptions) -> str:
    """Return the type in the config of a checkpoint; BEiT where it has no config of transformers."""
    config = locate(name, hub).config
    options = {} if config is None else read_json(config, BeitConfig.EXPECTED, error=UnavailableError)
    return options.get("model_type", "beit")


class AutoModel(_AutoClass):
    """The encoder for the type of a config."""

    name = "AutoModel"


class AutoModelForImageClassification(_AutoClass):
    """The classifier for the type of a config."""

    name = "AutoModelForImageClassification"


class AutoModelForSemanticSegmentation(_AutoClass):
    """The segmenter for the type of a config."""

    name = "AutoModelForSemanticSegmentation"


class AutoModelForMaskedImageModeling(_AutoClass):
    """The model with a head for visual tokens."""

    name = "AutoModelForMaskedImageModeling"


class AutoBackbone(_AutoClass):
    """The backbone."""

    name = "AutoBackbone"
