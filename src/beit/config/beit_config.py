"""BeitConfig: every option of a BEiT.

Names, order and defaults are those of the published documentation (Hugging Face transformers 4.37.2), so that code and
`config.json` files written for it keep working. Keys that this version does not know are kept as attributes and written
back unchanged.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from beit.config.checks import Size, check_options, pair
from beit.config.conversions import aligned_stages, json_size, labels_of, list_of, pruned_of
from beit.config.json_form import UNUSED
from beit.config.published import PublishedConfig
from beit.errors import ConfigError

ProblemType = Literal["regression", "single_label_classification", "multi_label_classification"]
OutIndicesMeaning = Literal["huggingface", "original"]


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
        self._take_others(kwargs)
        check_options(self)
        self.layer_scale_init_value = float(layer_scale_init_value)  # transformers 5 refuses a whole number
        self._set_stages(out_features, out_indices)

    def _take_others(self, kwargs: dict[str, Any]) -> None:
        """Take the options that all published models have, and those of this package; keep what is neither."""
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
        types = [kwargs.pop(name, None) for name in ("torch_dtype", "dtype")]
        self._unknown = {name: value for name, value in kwargs.items() if name not in UNUSED or value != UNUSED[name]}
        for given in types:  # the second wins
            if given is not None:
                self.torch_dtype = given

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
        return self._aligned_stages[0]

    @out_features.setter
    def out_features(self, value: Sequence[str] | None) -> None:
        self._set_stages(value, None)

    @property
    def out_indices(self) -> list[int]:
        """The same stages as indices; setting them sets `out_features` too, None means the last stage."""
        return self._aligned_stages[1]

    @out_indices.setter
    def out_indices(self, value: Sequence[int] | None) -> None:
        self._set_stages(None, value)

    @property
    def _aligned_stages(self) -> tuple[list[str], list[int]]:
        return self._stages or aligned_stages(self.stage_names, None, None)

    def _set_stages(self, out_features: Sequence[str] | None, out_indices: Sequence[int] | None) -> None:
        stages = aligned_stages(self.stage_names, out_features, out_indices)
        # the last one is kept as such: it is another where `num_hidden_layers` is changed later
        self._stages = None if stages == aligned_stages(self.stage_names, None, None) else stages

    @property
    def num_labels(self) -> int:
        """Number of classes of a classification or segmentation head."""
        return len(self.id2label)

    @num_labels.setter
    def num_labels(self, value: int) -> None:
        if value != len(self.id2label):  # else the names of the classes stay
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

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BeitConfig):
            return False
        aside = {name: vars(other)[name] for name in ("_name_or_path", "_attn_implementation")}
        return {**vars(self), **aside} == vars(other)

    __hash__ = None  # type: ignore[assignment]  # mutable, as in the published API

    def __repr__(self) -> str:
        return f"BeitConfig {json.dumps(self.to_diff_dict(), indent=2, sort_keys=True, default=str)}"


def problem_of(config: BeitConfig) -> ProblemType:
    """Return the problem type of a classifier; without one in its config: regression for one output, else one class."""
    if config.problem_type is not None:
        return config.problem_type
    return "regression" if config.num_labels == 1 else "single_label_classification"


def require_config(config: object) -> None:
    """Refuse what is no config of this package, such as one of transformers or a mapping.

    Raises:
        ConfigError: Saying how one is made.
    """
    if isinstance(config, BeitConfig):
        return
    kind = f"{type(config).__module__.partition('.')[0]}.{type(config).__name__}"
    given = "None" if config is None else kind.removeprefix("builtins.")
    remedy = "pass BeitConfig.from_dict(config.to_dict())" if hasattr(config, "to_dict") else "pass BeitConfig(...)"
    raise ConfigError(f"config is {given}; expected a beit.BeitConfig: {remedy}")
