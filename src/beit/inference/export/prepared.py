"""A copy of a model in the form in which it is exported: what does not depend on the pictures is computed already.

Relative position biases are looked up for the one size of the pictures, layer scale is multiplied into the weights
before it, queries, keys and values are projected each for itself, which onnxruntime does faster than all at once. The
numbers are the same.

Legend: B batch, C channels, K classes, S = 1 + N tokens, D hidden, H heads, d = D / H, I inputs, O outputs; h w pixels.
"""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from beit.geometry import patch_grid
from beit.inference.runners.embedding import pooled_features
from beit.inference.runners.runner import TaskName as Task
from beit.models_torch import BeitPreTrainedModel
from beit.models_torch.attention import Attention, sum_present
from beit.models_torch.encoder import Encoder, EncoderLayer
from beit.models_torch.layers import LayerScale
from beit.models_torch.relative_position import Positions

# Biases that are larger than this together stay tables that the exported file looks up: those of a base model at 640
# pixels would be four times its weights.
_LARGEST_BIASES = 256 * 2**20  # bytes


class PreparedAttention(nn.Module):
    """The same as a model's attention with the layer scale behind it.

    Args:
        attention: The model's.
        scale: The layer scale behind it, if there is one.
        bias_1HSS: The sum of its relative position biases; None: it is looked up for the size of the pictures.
    """

    def __init__(self, attention: Attention, scale: nn.Module, bias_1HSS: Tensor | None) -> None:
        super().__init__()
        self.heads = attention.heads
        # of their own: parts of one storage would be written with a warning of torch's
        query_DD, key_DD, value_DD = (part.clone() for part in attention.qkv.weight.chunk(3))
        self.query = linear(query_DD, attention.query_bias)
        self.key = linear(key_DD, None)
        self.value = linear(value_DD, attention.value_bias)
        self.output = scaled(attention.output, scale)
        self.own_bias = attention.bias if bias_1HSS is None else None
        self.bias_1HSS: Tensor | None
        self.register_buffer("bias_1HSS", bias_1HSS)

    def forward(
        self,
        tokens_BSD: Tensor,
        positions: Positions | None = None,
        shared_bias_1HSS: Tensor | None = None,
        head_mask_H: Tensor | None = None,
        output_attentions: bool = False,
    ) -> tuple[Tensor, None]:
        """Return the scaled branch (B, S, D); masks and maps are never asked for."""
        B, S, D = tokens_BSD.shape
        query_BHSd, key_BHSd, value_BHSd = (
            project(tokens_BSD).view(B, S, self.heads, D // self.heads).transpose(1, 2)
            for project in (self.query, self.key, self.value)
        )
        own_bias_1HSS = self.bias_1HSS if self.own_bias is None else self.own_bias(positions)
        bias_1HSS = sum_present(own_bias_1HSS, shared_bias_1HSS)
        context_BHSd = functional.scaled_dot_product_attention(query_BHSd, key_BHSd, value_BHSd, attn_mask=bias_1HSS)
        return self.output(context_BHSd.transpose(1, 2).reshape(B, S, D)), None


class PreparedModel(nn.Module):
    """Pixels to the one tensor that a task asks for, float32 to float32.

    Args:
        model: A model, prepared.
        task: What to return.
    """

    def __init__(self, model: BeitPreTrainedModel, task: Task) -> None:
        super().__init__()
        self.model = model
        self.task = task

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Return logits (B, K), scores (B, K, y, x), or embeddings (B, D) of pixels (B, C, h, w)."""
        pixels_BChw = pixel_values.to(self.model.dtype)
        if self.task == "embed":
            return pooled_features(self.model, pixels_BChw).float()
        return self.model(pixels_BChw, return_dict=True).logits.float()


@torch.no_grad()
def prepare(model: BeitPreTrainedModel, task: Task, image_hw: tuple[int, int] | None, half: bool) -> PreparedModel:
    """Return a copy of a model that is ready for export.

    Args:
        model: The model; it is not changed.
        task: What the copy returns.
        image_hw: Size of the pictures, in pixels; None: any.
        half: Whether to compute in float16.
    """
    model = copy.deepcopy(model).eval()
    encoder: Encoder = model.base_model.get_submodule("encoder")  # pyright: ignore[reportAssignmentType]
    biases = _fixed_biases(encoder, model, image_hw)
    for layer, bias_1HSS in zip(_layers(encoder), biases, strict=True):
        # by name: what takes their place is of other classes
        setattr(layer, "attention", PreparedAttention(layer.attention, layer.scale_attention, bias_1HSS))  # noqa: B010
        setattr(layer.feed_forward, "contract", scaled(layer.feed_forward.contract, layer.scale_feed_forward))  # noqa: B010
        layer.scale_attention = layer.scale_feed_forward = nn.Identity()
    if biases[0] is not None:
        encoder.bias, encoder.biased = None, False
    for module in model.modules() if half else ():
        nn.Module.to(module, torch.float16)
    return PreparedModel(model, task).requires_grad_(False)


def _fixed_biases(
    encoder: Encoder, model: BeitPreTrainedModel, image_hw: tuple[int, int] | None
) -> list[Tensor | None]:
    """Return each layer's relative position bias (1, H, S, S) at a size; None where it has to be looked up."""
    config = model.config
    layers = len(encoder.layers)
    if image_hw is None or not encoder.biased:
        return [None] * layers
    grid = patch_grid(image_hw, config.patch_size)
    tables = layers if config.use_relative_position_bias else 1
    if tables * config.num_attention_heads * (1 + grid.patches) ** 2 * 4 > _LARGEST_BIASES:
        return [None] * layers
    positions, shared_1HSS = encoder.relative_positions(grid, model.device)
    own = [layer.attention.bias for layer in _layers(encoder)]
    looked_up: list[Tensor | None] = [bias(positions) if bias is not None else None for bias in own]
    if shared_1HSS is None:
        return looked_up
    return [shared_1HSS if bias_1HSS is None else shared_1HSS + bias_1HSS for bias_1HSS in looked_up]


def _layers(encoder: Encoder) -> list[EncoderLayer]:
    return cast("list[EncoderLayer]", list(encoder.layers))


def scaled(layer: nn.Linear, scale: nn.Module) -> nn.Linear:
    """Return a linear layer that has the layer scale behind it inside."""
    if not isinstance(scale, LayerScale):
        return layer
    return linear(layer.weight * scale.gamma[:, None], layer.bias * scale.gamma)


def linear(weight_OI: Tensor, bias_O: Tensor | None) -> nn.Linear:
    """Return the linear layer of a weight and a bias."""
    result = nn.Linear(weight_OI.shape[1], weight_OI.shape[0], bias=bias_O is not None, device="meta")
    result.weight = nn.Parameter(weight_OI)
    if bias_O is not None:
        result.bias = nn.Parameter(bias_O)
    return result
