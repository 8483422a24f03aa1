"""JSON form of a config: the content of `config.json`, written and read."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from beit.config.checks import ACTIVATIONS, shown
from beit.config.conversions import labels_of
from beit.errors import ConfigError
from beit.files import write_text
from beit.hub import SavedOptions

CONFIG_NAME = "config.json"
DATA2VEC = "data2vec-vision"  # an architecture that is BEiT's under other names
MODEL_TYPES = ("beit", DATA2VEC)
DATA2VEC_LAYERS = (3, 5, 7, 11)  # that its segmentation reads, whatever the model's depth
# Two models on the hub that were trained in the original code, whose config means its blocks by `out_indices`.
ORIGINAL_SEGMENTERS = ("microsoft/beit-base-finetuned-ade-640-640", "microsoft/beit-large-finetuned-ade-640-640")
# Options of every published config that no BEiT has a use for, with their defaults.
UNUSED: dict[str, Any] = {
    "add_cross_attention": False,
    "chunk_size_feed_forward": 0,
    "cross_attention_hidden_size": None,
    "finetuning_task": None,
    "is_decoder": False,
    "is_encoder_decoder": False,
    "prefix": None,
    "task_specific_params": None,
    "tie_encoder_decoder": False,
    "tie_word_embeddings": True,
    "tokenizer_class": None,
    "transformers_version": None,
    "use_bfloat16": False,
}
_NAMES, _INDICES = labels_of(None, None, None)
# Options beyond the published signature: written only where they differ from the default.
_OMITTED_DEFAULTS: dict[str, Any] = {
    **UNUSED,
    "architectures": None,
    "problem_type": None,
    "torch_dtype": None,
    "id2label": _NAMES,
    "label2id": _INDICES,
    "output_attentions": False,
    "output_hidden_states": False,
    "return_dict": True,
    "out_indices_meaning": "huggingface",
    "batch_norm_eps": 1e-5,
    "mask_tokens_in_decoder": False,
    "gradient_checkpointing": False,
    "pruned_heads": {},
    "torchscript": False,
}
_PROPERTIES = ("model_type", "out_features", "out_indices", "stage_names")


class JsonConfig(SavedOptions):
    """Base of `BeitConfig`: its JSON form."""

    FILE_NAME = CONFIG_NAME
    EXPECTED = f"the {CONFIG_NAME} of a BEiT"
    COMMIT_MESSAGE = "Upload config"
    hidden_act: str | Callable[..., Any]
    _unknown: dict[str, Any]

    @property
    def torch_dtype(self) -> Any:
        """Type of the parameters in the file, or that was asked for, as PyTorch has it; None if no one said it."""
        name: str | None = self._unknown.get("torch_dtype")
        return name if name is None or find_spec("torch") is None else getattr(import_module("torch"), name, name)

    @torch_dtype.setter
    def torch_dtype(self, value: Any) -> None:
        self._unknown.pop("torch_dtype", None)
        if value is not None:
            self._unknown["torch_dtype"] = str(value).removeprefix("torch.")

    @property
    def dtype(self) -> Any:
        """The name of `torch_dtype` in transformers 5."""
        return self.torch_dtype

    @dtype.setter
    def dtype(self, value: Any) -> None:
        self.torch_dtype = value

    def to_dict(self) -> dict[str, Any]:
        """Return every option, those left at their default too, as a copy; classes have whole numbers for keys."""
        known = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        if not isinstance(self.hidden_act, str):
            known["hidden_act"] = getattr(self.hidden_act, "__name__", str(self.hidden_act))
        derived = {name: getattr(self, name) for name in _PROPERTIES}
        return copy.deepcopy({**UNUSED, "torch_dtype": None, **self._unknown, **known, **derived})

    def to_diff_dict(self) -> dict[str, Any]:
        """Return what is written, as in the `config.json` files on the hub: not what every config has by default."""
        options = self.to_dict()
        asked_for = {"batch_norm_eps"} if options.get("add_fpn") else set[str]()  # by transformers
        return {
            name: value
            for name, value in options.items()
            if name in asked_for or name not in _OMITTED_DEFAULTS or value != _OMITTED_DEFAULTS[name]
        }

    def to_json_string(self, use_diff: bool = True, **metadata: Any) -> str:
        """Return `to_diff_dict` as indented JSON with sorted keys.

        Args:
            use_diff: False: `to_dict` instead.
            **metadata: Further keys, such as the type of the weights; None removes a key that is no longer true.

        Raises:
            ConfigError: If `hidden_act` is a callable.
        """
        if not isinstance(self.hidden_act, str):
            raise ConfigError(
                f"hidden_act is the callable {self.hidden_act!r}, which JSON cannot hold; "
                f"use one of {list(ACTIVATIONS)}"
            )
        written = self.to_diff_dict() if use_diff else self.to_dict()
        removed = {name for name, value in metadata.items() if value is None}
        options = {name: value for name, value in {**written, **metadata}.items() if name not in removed}
        return json.dumps(options, indent=2, sort_keys=True) + "\n"

    def to_json_file(self, json_file_path: str | Path, use_diff: bool = True) -> None:
        """Write `to_json_string` to a file.

        Raises:
            StorageError: If the disk is full; an earlier file is untouched.
        """
        write_text(json_file_path, self.to_json_string(use_diff))

    @classmethod
    def check_kind(cls, options: Mapping[str, Any], source: str) -> None:
        """Refuse the config of another kind of model, or of another library.

        Raises:
            ConfigError: Naming the kind.
        """
        kind = options.get("model_type", "timm" if "architecture" in options else "beit")
        if kind not in MODEL_TYPES:
            expected = " or ".join(map(repr, MODEL_TYPES))
            raise ConfigError(f"{source} describes a model of type {shown(kind)}; expected {expected}")

    @classmethod
    def overridden(cls, options: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments for the content of a `config.json`, without what the overrides make void.

        Raises:
            ConfigError: If a key cannot be an option.
        """
        options = dict(options)
        if options.get("model_type") == DATA2VEC and lacks_data2vec_layers(options):
            del options["out_indices"]
        options.pop("auto_map", None)  # names code for others to run, which a model that is saved here must not pass on
        names: Any = options.get("id2label") or options.get("label2id")
        same = isinstance(names, Mapping) and overrides.get("num_labels") == len(cast("Mapping[Any, Any]", names))
        # a new number of classes makes the old names void
        if "id2label" in overrides or ("num_labels" in overrides and not same):
            options.pop("id2label", None)
            options.pop("label2id", None)
        if {"out_features", "out_indices"} & overrides.keys() or "num_hidden_layers" in overrides:
            options.pop("out_features", None)
            options.pop("out_indices", None)
        if "self" in options:
            raise ConfigError("the config has a key 'self', which is no option; remove it")
        return {str(name): value for name, value in {**options, **overrides}.items()}

    @classmethod
    def unused_names(cls, options: Mapping[str, Any], names: Iterable[str]) -> set[str]:
        """Return which names are no options, of BEiT or in the content of a file."""
        plain = cls.from_dict(options)
        return {name for name in names if not hasattr(plain, name)}

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str | Path, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the content of a `config.json`, and the arguments that do not say where it is.

        Raises:
            ConfigError: If it is not that of a BEiT.
            UnavailableError: If there is none, or the hub cannot be reached.
        """
        return cls.read_options(pretrained_model_name_or_path, **kwargs)

    @classmethod
    def read_options(cls, name_or_path: str | Path, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return `get_config_dict`, with what a file of the hub leaves unsaid."""
        options, rest = super().read_options(name_or_path, **kwargs)
        if str(name_or_path) in ORIGINAL_SEGMENTERS and not Path(name_or_path).exists():
            options["out_indices_meaning"] = "original"
        return options, rest


def lacks_data2vec_layers(options: Mapping[str, Any]) -> bool:
    """Return whether the layers are those that data2vec configs name by default, and the model is not as deep."""
    layers = options.get("num_hidden_layers", 12)
    same = tuple(options.get("out_indices") or ()) == DATA2VEC_LAYERS
    return same and isinstance(layers, int) and layers < max(DATA2VEC_LAYERS)
