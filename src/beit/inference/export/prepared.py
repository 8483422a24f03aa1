"""Preparation of a model for export: everything that does not depend on the pictures is computed ahead.

Relative position biases are looked up for the one size of the pictures, layer scale is multiplied into the weights
before it. The numbers are the same.

Legend: B batch, C channels, K classes, S = 1 + N tokens, D hidden, H heads; h w pixels.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from beit.geometry import patch_grid
from beit.inference.runners.embedding import pooled_features
from beit.inference.runners.runner import TaskName as Task
from beit.models_torch import BeitPreTrainedModel
from beit.models_torch.attention import Positions, RelativePositionBias, position_index
from beit.models_torch.encoder import Encoder, EncoderLayer

# Biases that are larger than this together stay tables that the exported file looks up: those of a base model at 640
# pixels would be four times its weights.
_LARGEST_BIASES = 256 * 2**20  # bytes


class FixedBias(nn.Module):
    """A relative position bias (1, H, S, S) that was looked up for one size of the pictures."""

    def __init__(self, bias_1HSS: Tensor) -> None:
        super().__init__()
        self.bias_1HSS: Tensor
        self.register_buffer("bias_1HSS", bias_1HSS)

    def forward(self, positions: Positions | None) -> Tensor:
        """Return the bias; the positions are always those that it was looked up for."""
        del positions
        return self.bias_1HSS


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


def prepare(model: BeitPreTrainedModel, task: Task, image_hw: tuple[int, int] | None, half: bool) -> PreparedModel:
    """Return a copy of a model that is ready for export.

    Args:
        model: The model; it is not changed.
        task: What the copy returns.
        image_hw: Size of the pictures, in pixels; None: any.
        half: Whether to compute in float16.
    """
    model = fixed_copy(model, image_hw)
    for module in model.modules() if half else ():
        nn.Module.to(module, torch.float16)
    return PreparedModel(model, task).requires_grad_(False)


@torch.no_grad()
def fixed_copy(model: BeitPreTrainedModel, image_hw: tuple[int, int] | None) -> BeitPreTrainedModel:
    """Return a copy of a model in which all is computed that does not depend on the pictures.

    Args:
        model: The model; it is not changed.
        image_hw: Size of the pictures, in pixels; None: any.
    """
    model = copy.deepcopy(model).eval()
    encoder: Encoder = model.base_model.get_submodule("encoder")  # pyright: ignore[reportAssignmentType]
    for layer in cast("Iterator[EncoderLayer]", iter(encoder.layer)):
        _absorb(layer.lambda_1, layer.attention.output.dense)
        _absorb(layer.lambda_2, layer.output.dense)
        layer.lambda_1 = layer.lambda_2 = None
    if image_hw is not None:
        _fix_biases(encoder, image_hw, model.config.patch_hw)
    return model


def _absorb(scale_D: Tensor | None, layer: nn.Linear) -> None:
    """Multiply the layer scale behind a linear layer into it."""
    if scale_D is not None:
        layer.weight.mul_(scale_D[:, None])
        layer.bias.mul_(scale_D)


def _fix_biases(encoder: Encoder, image_hw: tuple[int, int], patch_size: int | tuple[int, int]) -> None:
    """Look up the relative position biases of an encoder for one size, if they are not too large together."""
    grid = patch_grid(image_hw, patch_size)
    owners = [part for part in encoder.modules() if _bias_of(part) is not None]
    tables = [cast(RelativePositionBias, _bias_of(owner)) for owner in owners]
    heads = sum(table.relative_position_bias_table.shape[1] for table in tables)
    if heads * (1 + grid.patches) ** 2 * 4 > _LARGEST_BIASES:
        return
    for owner, table in zip(owners, tables, strict=True):
        index_SS = position_index(grid, table.relative_position_bias_table.device)
        # by name: what takes its place is of another class
        setattr(owner, "relative_position_bias", FixedBias(table(Positions(grid, index_SS))))  # noqa: B010
    encoder.biased = False  # the positions of tokens are not used


def _bias_of(module: nn.Module) -> RelativePositionBias | None:
    bias = getattr(module, "relative_position_bias", None)
    return bias if isinstance(bias, RelativePositionBias) else None
