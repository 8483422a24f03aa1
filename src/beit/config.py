"""BeitConfig: every option of a BEiT, validated, read from and written to JSON.

Names, order and defaults are those of the published documentation (Hugging Face transformers 4.37.2), so that code and
`config.json` files written for it keep working. Keys that this version does not know are kept as attributes and written
back unchanged.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, Literal, Self, overload

from beit.config_checks import (
    ACTIVATIONS,
    Size,
    aligned_stages,
    check_options,
    json_size,
    labels_of,
    list_of,
    pair,
    pruned_of,
    shown,
)
from beit.config_published import UNUSED, PublishedConfig
from beit.errors import ConfigError, UnavailableError
from beit.files import check_path, read_json
from beit.hub import HubOptions, hub_file, is_hub_name, without_loading

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
    "gradient_checkpointing": False,
    "pruned_heads": {},
    "torchscript": False,
}


class BeitConfig(PublishedConfig):
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
            `return_dict`, `torchscript` (models return tuples), `architectures`, `attn_implementation` (without
            effect: the kernels choose by themselves); `gradient_checkpointing`, whether models compute activations of
            their layers again in the backward pass from the start (False); `out_indices_meaning`, which hidden states
            segmentation reads for `out_indices`: "huggingface" (i means after i - 1 layers) or "original" (the output
            of layer i, counted from 0); `batch_norm_eps` of a backbone's feature pyramid (1e-5);
            `mask_tokens_in_decoder`, whether pre-training put mask tokens into a decoder that lies beside the model,
            which predicts masked patches with it only (False); `pruned_heads`, the heads that layers are without, as
            {layer: [heads]}; any other key is kept and written back.

    Raises:
        ConfigError: If an option has a value that no model can be built from.

    Source: arXiv 2106.08254; option names of transformers 4.37.2.
    """

    FILE_NAME = CONFIG_NAME
    COMMIT_MESSAGE = "Upload config"
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
        self.gradient_checkpointing: bool = kwargs.pop("gradient_checkpointing", False)
        self.pruned_heads = pruned_of(kwargs.pop("pruned_heads", {}))
        self._name_or_path = str(kwargs.pop("name_or_path", ""))
        self.id2label, self.label2id = labels_of(
            kwargs.pop("num_labels", None), kwargs.pop("id2label", None), kwargs.pop("label2id", None)
        )
        self.torchscript: bool = kwargs.pop("torchscript", False)
        self._attn_implementation: str = kwargs.pop("attn_implementation", None) or "sdpa"
        kwargs.pop("model_type", None)
        kwargs.pop("stage_names", None)  # always derived from num_hidden_layers
        self._unknown = dict(kwargs)
        for name in ("torch_dtype", "dtype"):
            if name in kwargs:
                self.torch_dtype = self._unknown.pop(name)
        check_options(self)
        self.layer_scale_init_value = float(layer_scale_init_value)  # transformers 5 refuses a whole number
        self._stages = aligned_stages(self.stage_names, out_features, out_indices)

    def __getattr__(self, name: str) -> Any:
        """Return a key that this version does not know but was given (`config.json` of another version)."""
        unknown: dict[str, Any] = self.__dict__.get("_unknown", {})
        if name in unknown:
            return unknown[name]
        if name in UNUSED:
            return copy.copy(UNUSED[name])
        raise AttributeError(f"BeitConfig has no option {name!r}")

    @property
    def stage_names(self) -> list[str]:
        """Names of the backbone's stages: "stem" for the embeddings, then one per layer."""
        return ["stem", *(f"stage{layer}" for layer in range(1, self.num_hidden_layers + 1))]

    @property
    def out_features(self) -> list[str]:
        """Stages that a backbone returns; setting them sets `out_indices` too, None means the last stage."""
        return self._stages[0]

    @out_features.setter
    def out_features(self, value: Sequence[str] | None) -> None:
        self._stages = aligned_stages(self.stage_names, value, None)

    @property
    def out_indices(self) -> list[int]:
        """The same stages as indices; setting them sets `out_features` too, None means the last stage."""
        return self._stages[1]

    @out_indices.setter
    def out_indices(self, value: Sequence[int] | None) -> None:
        self._stages = aligned_stages(self.stage_names, None, value)

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
    def name_or_path(self) -> str:
        """Folder, file or name that the model of this config was loaded from; "" for a new one."""
        return self._name_or_path

    @name_or_path.setter
    def name_or_path(self, value: str | Path) -> None:
        self._name_or_path = str(value)

    @property
    def distinct_class_names(self) -> list[str]:
        """Names of the classes, by index, with the index behind a name that several classes have: `crane (134)`."""
        names = self.class_names
        uses = Counter(names)
        return [name if uses[name] == 1 else f"{name} ({index})" for index, name in enumerate(names)]

    @property
    def use_return_dict(self) -> bool:
        """True if models return output objects rather than tuples, which alone TorchScript takes."""
        return self.return_dict and not self.torchscript

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
        known = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        known["out_features"], known["out_indices"] = self._stages
        if not isinstance(self.hidden_act, str):
            known["hidden_act"] = getattr(self.hidden_act, "__name__", str(self.hidden_act))
        for optional in ("architectures", "problem_type"):
            if known[optional] is None:
                del known[optional]
        for name, default in _OMITTED_DEFAULTS.items():
            if known[name] == default and not (name == "batch_norm_eps" and self.add_fpn):  # transformers asks for it
                del known[name]
        if self.pruned_heads:
            known["pruned_heads"] = {str(layer): heads for layer, heads in self.pruned_heads.items()}
        if self.id2label == labels_of(None, None, None)[0]:
            del known["id2label"], known["label2id"]
        else:
            known["id2label"] = {str(index): label for index, label in self.id2label.items()}
        return {**self._unknown, **known, "model_type": self.model_type, "stage_names": self.stage_names}

    def to_json_string(self, use_diff: bool = True, **metadata: Any) -> str:
        """Return `to_dict` as indented JSON with sorted keys.

        Args:
            use_diff: Accepted for the published API; what every config has by default is always left out.
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

    @overload
    @classmethod
    def from_dict(
        cls, options: Mapping[str, Any], *, return_unused_kwargs: Literal[False] = False, **overrides: Any
    ) -> Self: ...
    @overload
    @classmethod
    def from_dict(
        cls, options: Mapping[str, Any], *, return_unused_kwargs: Literal[True], **overrides: Any
    ) -> tuple[Self, dict[str, Any]]: ...
    @classmethod
    def from_dict(
        cls, options: Mapping[str, Any], *, return_unused_kwargs: bool = False, **overrides: Any
    ) -> Self | tuple[Self, dict[str, Any]]:
        """Build a config from the content of a `config.json`; `overrides` win over it.

        With `return_unused_kwargs` overrides that are no options are not kept, but returned beside the config.

        Raises:
            ConfigError: If an option has a value that no model can be built from.
        """
        if return_unused_kwargs:
            used, unused = cls._split(cls.from_dict(options), overrides)
            return cls.from_dict(options, **used), unused
        options = dict(options)
        if options.get("model_type") == DATA2VEC and _are_too_deep(options):
            del options["out_indices"]
        options.pop("auto_map", None)  # names code for others to run, which a model that is saved here must not pass on
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

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        return_unused_kwargs: Literal[False] = False,
        **kwargs: Any,
    ) -> Self: ...
    @overload
    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, *, return_unused_kwargs: Literal[True], **kwargs: Any
    ) -> tuple[Self, dict[str, Any]]: ...
    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, *, return_unused_kwargs: bool = False, **kwargs: Any
    ) -> Self | tuple[Self, dict[str, Any]]:
        """Read the `config.json` of a model folder or hub repository.

        Args:
            pretrained_model_name_or_path: A folder, the file itself, or a hub repository.
            return_unused_kwargs: Return (config, unused): what is no option is then not kept but returned.
            **kwargs: Arguments of `get_config_dict`; all others are options, which win over the file's.

        Raises:
            ConfigError: If there is none, or it is not that of a BEiT.
            CheckpointError: If the hub cannot be reached.
        """
        options, overrides = cls.get_config_dict(pretrained_model_name_or_path, **kwargs)
        if return_unused_kwargs:
            return cls.from_dict(options, return_unused_kwargs=True, **overrides)
        return cls.from_dict(options, **overrides)

    @classmethod
    def get_config_dict(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
        subfolder: str = "",
        use_auth_token: str | bool | None = None,
        **kwargs: Any,
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the content of a `config.json`, and the arguments that do not say where it is.

        Raises:
            ConfigError: If there is none, or it is not that of a BEiT.
            CheckpointError: If the hub cannot be reached.
        """
        check_path(pretrained_model_name_or_path, "a model folder or a hub repository", ConfigError)
        token = use_auth_token if token is None else token
        folder, name = Path(pretrained_model_name_or_path), str(pretrained_model_name_or_path)
        meaning: dict[str, Any] = {}
        path = folder if folder.is_file() else folder / subfolder / CONFIG_NAME
        if not folder.exists() and is_hub_name(name):
            hub = HubOptions(revision, token, cache_dir, local_files_only, force_download, subfolder)
            found = hub_file(name, CONFIG_NAME, hub)
            if found is None:
                raise UnavailableError(f"the hub repository {name} has no {CONFIG_NAME}; expected that of a BEiT")
            path = found
            meaning = {"out_indices_meaning": "original"} if name in ORIGINAL_SEGMENTERS else {}
        options = read_json(
            path, f"the {CONFIG_NAME} of a BEiT", error=ConfigError if path.exists() else UnavailableError
        )
        cls.check_kind(options, str(path))
        return {**options, **meaning}, without_loading(kwargs)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BeitConfig):
            return False
        aside = {name: vars(other)[name] for name in ("_name_or_path", "_attn_implementation")}
        return {**vars(self), **aside} == vars(other)

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


def _are_too_deep(options: Mapping[str, Any]) -> bool:
    """Return whether the layers are those that data2vec configs name by default, and there are fewer."""
    layers = options.get("num_hidden_layers", 12)
    same = tuple(options.get("out_indices") or ()) == _DATA2VEC_LAYERS
    return same and isinstance(layers, int) and layers < max(_DATA2VEC_LAYERS)
