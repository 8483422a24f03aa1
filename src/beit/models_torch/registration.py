"""Registration of these models with transformers, whose Auto classes and pipelines then take them for BEiT folders."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import beit.models_torch as models
from beit.config import BeitConfig, Data2VecVisionConfig
from beit.errors import missing_extra
from beit.image import BeitImageProcessor
from beit.image.recognised import recognise
from beit.models_torch.auto import AUTO_MODELS

_OF_THE_FILE = {"name_or_path", "_commit_hash", "_from_auto"}  # given by the Auto classes beside options
_OF_THE_MODEL = {"torch_dtype", "dtype", "attn_implementation"}  # arguments of `from_pretrained` of the model too


def register_with_transformers() -> None:
    """Have transformers give these classes for the folders and hub repositories of BEiT and data2vec vision models.

    That is: `AutoConfig`, `AutoModel`, `AutoModelForImageClassification` and so on, `AutoImageProcessor`, and
    `pipeline(...)`. It holds for this process, and may be called again.

    Raises:
        MissingExtraError: If transformers is not installed.
    """
    try:
        transformers: Any = import_module("transformers")
    except ModuleNotFoundError:
        raise missing_extra("transformers", "dev") from None
    for kind in (BeitConfig, Data2VecVisionConfig):
        config = _config_for_transformers(kind)
        transformers.AutoConfig.register(kind.model_type, config, exist_ok=True)
        for auto, classes in AUTO_MODELS.items():
            if kind.model_type in classes and (theirs := getattr(transformers, auto, None)) is not None:
                for made in (config, kind):  # from a folder, and by hand
                    # the method `register` of 4.x takes one class of configs for a model; the mapping takes several
                    theirs._model_mapping.register(made, getattr(models, classes[kind.model_type]), exist_ok=True)
        _register_processor(transformers, config)
    import_module("transformers.pipelines")
    recognise(BeitImageProcessor)


def _register_processor(transformers: Any, config: type[BeitConfig]) -> None:
    try:
        transformers.AutoImageProcessor.register(config, BeitImageProcessor, exist_ok=True)
    except ValueError:  # 5.x takes subclasses of its own base only; the mapping behind takes every class
        known: Any = import_module("transformers.models.auto.image_processing_auto").IMAGE_PROCESSOR_MAPPING
        known.register(config, {"pil": BeitImageProcessor}, exist_ok=True)


def _config_for_transformers(kind: type[BeitConfig]) -> type[BeitConfig]:
    """Return a config class of the same name that takes what the Auto classes of transformers pass it."""

    class Config(kind):
        @classmethod
        def from_dict(cls, options: Mapping[str, Any], **given: Any) -> Any:
            """Build a config; with `return_unused_kwargs` return also what of the arguments is no option."""
            wants_rest = given.pop("return_unused_kwargs", False)
            given = {key: value for key, value in given.items() if key not in _OF_THE_FILE}
            unused = kind.unused_names(options, given) | _OF_THE_MODEL
            config = super().from_dict(options, **{key: given[key] for key in given.keys() - unused})
            rest = {key: given[key] for key in given.keys() & unused}
            return (config, rest) if wants_rest else config

    Config.__name__ = Config.__qualname__ = kind.__name__
    return Config
