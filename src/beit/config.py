"""BeitConfig: every option of a BEiT, validated, read from and written to JSON.

Names, order and defaults are those of the published documentation (Hugging Face transformers 4.37.2), so that code and
`config.json` files written for it keep working. Keys that this version does not know are kept as attributes and written
back unchanged.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, Literal, Self

from beit.config_checks import (
    ACTIVATIONS,
    Size,
    aligned_stages,
    check_options,
    json_size,
    labels_of,
    list_of,
    pair,
    shown,
)
from beit.errors import ConfigError
from beit.files import read_json, write_text
from beit.hub import HubOptions, hub_file, is_hub_name

CONFIG_NAME = "config.json"
DATA2VEC = "data2vec-vision"  # an architecture that is BEiT's under other names
MODEL_TYPES = ("beit", DATA2VEC)
_DATA2VEC_LAYERS = (3, 5, 7, 11)  # that its segmentation reads, whatever the model's depth
_BEIT_ONLY = ("add_fpn", "out_features", "reshape_hidden_states", "stage_names", "vocab_size")
FEATURES_NAME = "features.json"  # beside the model of a pre-training: how good the features of its layers are
ProblemType = Literal["regression", "single_label_classification", "multi_label_classification"]
OutIndicesMeaning = Literal["huggingface", "original"]
# Two models on the hub that were trained in the original code, whose config means its blocks by `out_indices`.
ORIGINAL_SEGMENTERS = ("microsoft/beit-base-finetuned-ade-640-640", "microsoft/beit-large-finetuned-ade-640-640")
# Options beyond the published signature: written only where they differ from the default.
_OMITTED_DEFAULTS: dict[str, Any] = {
    "output_attentions": False,
    "output_hidden_states": False,
    "return_dict": True,
    "out_indices_meaning": "huggingface",
    "batch_norm_eps": 1e-5,
    "mask_tokens_in_decoder": False,
}


class BeitConfig:
    """All options of a BEiT model.

    The published defaults carry no position information at all: turn on one of `use_shared_relative_position_bias`
    (pre-training), `use_relative_position_bias` (fine-tuning) or `use_absolute_position_embeddings`, or start from a
    named size of `beit.catalog`, which does.

    Args:
        vocab_size: Number of visual tokens that masked image modelling predicts.
        hidden_size: Width D of the encoder; a multiple of `num_attention_heads`.
        num_hidden_layers: Number of encoder layers.
        num_attention_heads: Attention heads per layer.
        intermediate_size: Width of the feed-forward network inside a layer.
        hidden_act: Activation of the feed-forward network: "gelu", "relu", "selu", "gelu_new", or a callable.
        hidden_dropout_prob: Dropout after the embeddings and the projections, in [0, 1].
        attention_probs_dropout_prob: Dropout of attention probabilities, in [0, 1].
        initializer_range: Standard deviation of the truncated normal that initialises weights.
        layer_norm_eps: Epsilon of every layer norm. The original code trains with 1e-6.
        image_size: Input size in pixels, an int or (height, width).
        patch_size: Patch size in pixels, an int or (height, width).
        num_channels: Colour channels of the input.
        use_mask_token: Whether the embeddings own a mask token (needed for masked image modelling).
        use_absolute_position_embeddings: Add learned absolute positions (BERT style).
        use_relative_position_bias: One relative position bias table per layer.
        use_shared_relative_position_bias: One relative position bias table for all layers.
        layer_scale_init_value: Initial layer scale: 0.1 base, 1e-5 large, 0 for none.
        drop_path_rate: Stochastic depth of the last layer; earlier layers grow linearly from 0.
        use_mean_pooling: Pool the mean of the patch tokens instead of the [CLS] token.
        pool_scales: Scales of the pyramid pooling in the segmentation head.
        use_auxiliary_head: Train segmentation with an auxiliary head.
        auxiliary_loss_weight: Weight of the auxiliary head's loss.
        auxiliary_channels: Channels of the auxiliary head.
        auxiliary_num_convs: Convolutions of the auxiliary head.
        auxiliary_concat_input: Concatenate the auxiliary head's input before its classifier.
        semantic_loss_ignore_index: Label that the segmentation loss ignores.
        out_features: Stages that a backbone returns, of "stem", "stage1", ...
        out_indices: The same as indices into the stages.
        add_fpn: Add a feature pyramid on top of a backbone.
        reshape_hidden_states: Return backbone features as maps (B, D, height, width) instead of tokens.
        **kwargs: `id2label`, `label2id`, `num_labels`, `problem_type`, `output_attentions`, `output_hidden_states`,
            `return_dict`, `architectures`; `out_indices_meaning`, which hidden states segmentation reads for
            `out_indices`: "huggingface" (i means after i - 1 layers) or "original" (the output of layer i, counted from
            0); `batch_norm_eps` of a backbone's feature pyramid (1e-5); `mask_tokens_in_decoder`, whether pre-training
            put mask tokens into a decoder that is not part of the model, which then predicts no masked patches (False);
            any other key is kept and written back.

    Raises:
        ConfigError: If an option has a value that no model can be built from.

    Source: arXiv 2106.08254; option names of transformers 4.37.2.
    """

    model_type = "beit"

    def __init__(
        self,
        vocab_size: int = 8192,
        hidden_size: int = 768,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 12,
        intermediate_size: int = 3072,
        hidden_act: str | Callable[..., Any] = "gelu",
        hidden_dropout_prob: float = 0.0,
        attention_probs_dropout_prob: float = 0.0,
        initializer_range: float = 0.02,
        layer_norm_eps: float = 1e-12,
        image_size: Size = 224,
        patch_size: Size = 16,
        num_channels: int = 3,
        use_mask_token: bool = False,
        use_absolute_position_embeddings: bool = False,
        use_relative_position_bias: bool = False,
        use_shared_relative_position_bias: bool = False,
        layer_scale_init_value: float = 0.1,
        drop_path_rate: float = 0.1,
        use_mean_pooling: bool = True,
        pool_scales: Sequence[int] = [1, 2, 3, 6],  # as published; it is copied below
        use_auxiliary_head: bool = True,
        auxiliary_loss_weight: float = 0.4,
        auxiliary_channels: int = 256,
        auxiliary_num_convs: int = 1,
        auxiliary_concat_input: bool = False,
        semantic_loss_ignore_index: int = 255,
        out_features: Sequence[str] | None = None,
        out_indices: Sequence[int] | None = None,
        add_fpn: bool = False,
        reshape_hidden_states: bool = True,
        **kwargs: Any,
    ) -> None:
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.hidden_act = hidden_act
        self.hidden_dropout_prob = hidden_dropout_prob
        self.attention_probs_dropout_prob = attention_probs_dropout_prob
        self.initializer_range = initializer_range
        self.layer_norm_eps = layer_norm_eps
        self.image_size = json_size(image_size)
        self.patch_size = json_size(patch_size)
        self.num_channels = num_channels
        self.use_mask_token = use_mask_token
        self.use_absolute_position_embeddings = use_absolute_position_embeddings
        self.use_relative_position_bias = use_relative_position_bias
        self.use_shared_relative_position_bias = use_shared_relative_position_bias
        self.layer_scale_init_value = layer_scale_init_value
        self.drop_path_rate = drop_path_rate
        self.use_mean_pooling = use_mean_pooling
        self.pool_scales = list_of("pool_scales", pool_scales)
        self.use_auxiliary_head = use_auxiliary_head
        self.auxiliary_loss_weight = auxiliary_loss_weight
        self.auxiliary_channels = auxiliary_channels
        self.auxiliary_num_convs = auxiliary_num_convs
        self.auxiliary_concat_input = auxiliary_concat_input
        self.semantic_loss_ignore_index = semantic_loss_ignore_index
        self.add_fpn = add_fpn
        self.reshape_hidden_states = reshape_hidden_states

        self.output_attentions: bool = kwargs.pop("output_attentions", False)
        self.output_hidden_states: bool = kwargs.pop("output_hidden_states", False)
        self.return_dict: bool = kwargs.pop("return_dict", True)
        self.problem_type: ProblemType | None = kwargs.pop("problem_type", None)
        self.architectures: list[str] | None = kwargs.pop("architectures", None)
        self.out_indices_meaning: OutIndicesMeaning = kwargs.pop("out_indices_meaning", "huggingface")
        self.batch_norm_eps: float = kwargs.pop("batch_norm_eps", 1e-5)
        self.mask_tokens_in_decoder: bool = kwargs.pop("mask_tokens_in_decoder", False)
        self.id2label, self.label2id = labels_of(
            kwargs.pop("num_labels", None), kwargs.pop("id2label", None), kwargs.pop("label2id", None)
        )
        kwargs.pop("model_type", None)
        kwargs.pop("stage_names", None)  # always derived from num_hidden_layers
        self._unknown = dict(kwargs)
        check_options(self)
        self.layer_scale_init_value = float(layer_scale_init_value)  # transformers 5 refuses a whole number
        self.out_features, self.out_indices = aligned_stages(self.stage_names, out_features, out_indices)

    def __getattr__(self, name: str) -> Any:
        """Return a key that this version does not know but was given (`config.json` of another version)."""
        unknown: dict[str, Any] = self.__dict__.get("_unknown", {})
        if name in unknown:
            return unknown[name]
        raise AttributeError(f"BeitConfig has no option {name!r}")

    @property
    def stage_names(self) -> list[str]:
        """Names of the backbone's stages: "stem" for the embeddings, then one per layer."""
        return ["stem", *(f"stage{layer}" for layer in range(1, self.num_hidden_layers + 1))]

    @property
    def num_labels(self) -> int:
        """Number of classes of a classification or segmentation head."""
        return len(self.id2label)

    @num_labels.setter
    def num_labels(self, value: int) -> None:
        self.id2label, self.label2id = labels_of(value, None, None)

    @property
    def class_names(self) -> list[str]:
        """Names of the classes, by index."""
        return [self.id2label[index] for index in range(self.num_labels)]

    @property
    def use_return_dict(self) -> bool:
        """True if models return output objects rather than tuples."""
        return self.return_dict

    @property
    def image_hw(self) -> tuple[int, int]:
        """Input size as (height, width) in pixels."""
        return pair(self.image_size)

    @property
    def patch_hw(self) -> tuple[int, int]:
        """Patch size as (height, width) in pixels."""
        return pair(self.patch_size)

    def to_dict(self) -> dict[str, Any]:
        """Return every option as JSON values, in the layout of the `config.json` files on the hub."""
        known = {name: value for name, value in vars(self).items() if name != "_unknown"}
        if not isinstance(self.hidden_act, str):
            known["hidden_act"] = getattr(self.hidden_act, "__name__", str(self.hidden_act))
        for optional in ("architectures", "problem_type"):
            if known[optional] is None:
                del known[optional]
        for name, default in _OMITTED_DEFAULTS.items():
            if known[name] == default and not (name == "batch_norm_eps" and self.add_fpn):  # transformers asks for it
                del known[name]
        if self.id2label == labels_of(None, None, None)[0]:
            del known["id2label"], known["label2id"]
        else:
            known["id2label"] = {str(index): label for index, label in self.id2label.items()}
        return {**self._unknown, **known, "model_type": self.model_type, "stage_names": self.stage_names}

    def to_json_string(self, **metadata: Any) -> str:
        """Return `to_dict` as indented JSON with sorted keys.

        Args:
            **metadata: Further keys, such as the type of the weights; None removes a key that is no longer true.

        Raises:
            ConfigError: If `hidden_act` is a callable.
        """
        if not isinstance(self.hidden_act, str):
            raise ConfigError(
                f"hidden_act is the callable {self.hidden_act!r}, which JSON cannot hold; "
                f"use one of {list(ACTIVATIONS)}"
            )
        removed = {name for name, value in metadata.items() if value is None}
        options = {name: value for name, value in {**self.to_dict(), **metadata}.items() if name not in removed}
        return json.dumps(options, indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_dict(cls, options: Mapping[str, Any], **overrides: Any) -> Self:
        """Build a config from the content of a `config.json`; `overrides` win over it.

        Raises:
            ConfigError: If an option has a value that no model can be built from.
        """
        options = dict(options)
        if options.get("model_type") == DATA2VEC and _are_too_deep(options):
            del options["out_indices"]
        if {"num_labels", "id2label"} & overrides.keys():  # a new number of classes makes the old names void
            options.pop("id2label", None)
            options.pop("label2id", None)
        if {"out_features", "out_indices"} & overrides.keys() or "num_hidden_layers" in overrides:
            options.pop("out_features", None)
            options.pop("out_indices", None)
        if "self" in options:
            raise ConfigError("the config has a key 'self', which is no option; remove it")
        return cls(**{str(name): value for name, value in {**options, **overrides}.items()})

    @classmethod
    def from_json_file(cls, path: str | Path, **overrides: Any) -> Self:
        """Read a `config.json`.

        Raises:
            ConfigError: If the file is missing, is not a JSON object, or describes another kind of model.
        """
        options = read_json(path, f"the {CONFIG_NAME} of a BEiT")
        cls.check_kind(options, str(path))
        return cls.from_dict(options, **overrides)

    @classmethod
    def check_kind(cls, options: Mapping[str, Any], source: str) -> None:
        """Refuse the config of another kind of model, or of another library.

        Raises:
            ConfigError: Naming the kind.
        """
        kind = options.get("model_type", "timm" if "architecture" in options else cls.model_type)
        if kind not in MODEL_TYPES:
            expected = " or ".join(map(repr, MODEL_TYPES))
            raise ConfigError(f"{source} describes a model of type {shown(kind)}; expected {expected}")

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
        subfolder: str = "",
        **overrides: Any,
    ) -> Self:
        """Read the `config.json` of a model folder or hub repository; options given here win over it.

        Raises:
            ConfigError: If there is none, or it is not that of a BEiT.
            CheckpointError: If the hub cannot be reached.
        """
        folder = Path(pretrained_model_name_or_path)
        name = str(pretrained_model_name_or_path)
        if not folder.exists() and is_hub_name(name):
            options = HubOptions(revision, token, cache_dir, local_files_only, force_download, subfolder)
            path = hub_file(name, CONFIG_NAME, options)
            if path is None:
                raise ConfigError(f"the hub repository {name} has no {CONFIG_NAME}; expected that of a BEiT")
            if name in ORIGINAL_SEGMENTERS:
                overrides = {"out_indices_meaning": "original", **overrides}
            return cls.from_json_file(path, **overrides)
        return cls.from_json_file(folder if folder.is_file() else folder / subfolder / CONFIG_NAME, **overrides)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` into a folder, which is created if needed.

        Raises:
            StorageError: If the disk is full; an earlier file is untouched.
        """
        write_text(Path(folder) / CONFIG_NAME, self.to_json_string())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BeitConfig) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]  # mutable, as in the published API

    def __repr__(self) -> str:
        return f"BeitConfig {json.dumps(self.to_dict(), indent=2, sort_keys=True, default=str)}"


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
        deep_enough = not _are_too_deep({**options, "out_indices": _DATA2VEC_LAYERS})
        if deep_enough and not {"out_features", "out_indices"} & options.keys():
            options["out_indices"] = _DATA2VEC_LAYERS
        super().__init__(**options)

    def to_dict(self) -> dict[str, Any]:
        """Return every option as JSON values, without those that data2vec models do not have."""
        return {name: value for name, value in super().to_dict().items() if name not in _BEIT_ONLY}


def _are_too_deep(options: Mapping[str, Any]) -> bool:
    """Return whether the layers are those that data2vec configs name by default, and there are fewer."""
    layers = options.get("num_hidden_layers", 12)
    same = tuple(options.get("out_indices") or ()) == _DATA2VEC_LAYERS
    return same and isinstance(layers, int) and layers < max(_DATA2VEC_LAYERS)
