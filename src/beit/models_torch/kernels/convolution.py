"""Convolutions of segmentation heads: maps merged without enlarging them, batch norm and ReLU in place.

Enlarging is linear and treats every channel alike, a convolution is linear too: the channels can be mixed first, where
there are few pixels, and the results be enlarged, shifted and added after that. For a map of a quarter of the height
and width this takes a tenth of the multiplications, and the enlarged map never exists.

Legend: B batch, C channels in, O channels out, k side of the kernel; h w pixels of the result, y x of the map.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from beit.models_torch.kernels.choice import is_plain


def merge_maps(conv: nn.Module, maps: Sequence[Tensor]) -> Tensor:
    """Return conv(cat(maps, dim=1)), all of them enlarged to the height and width of the first."""
    size = maps[0].shape[2], maps[0].shape[3]
    if not is_plain(conv, nn.Conv2d):
        enlarged = [functional.interpolate(level, size=size, mode="bilinear") for level in maps[1:]]
        return conv(torch.cat((maps[0], *enlarged), dim=1))
    weights = conv.weight.split([level.shape[1] for level in maps], dim=1)
    merged = convolve_enlarged(maps[0], weights[0], size)
    for level, weight in zip(maps[1:], weights[1:], strict=True):
        merged = merged.add_(convolve_enlarged(level, weight, size))
    return merged


def norm_relu(norm: nn.Module, activation: nn.Module, map_BCyx: Tensor) -> Tensor:
    """Return activation(norm(map)); in place where nobody else sees what the norm returned."""
    normed = norm(map_BCyx)
    if is_plain(norm, nn.BatchNorm2d) and is_plain(activation, nn.ReLU):
        return functional.relu(normed, inplace=True)
    return activation(normed)


def convolve_enlarged(map_BCyx: Tensor, weight_OCkk: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Return conv2d(interpolate(map, size_hw, mode="bilinear"), weight, padding=k // 2), which is (B, O, h, w).

    Args:
        map_BCyx: A map.
        weight_OCkk: Kernel of an odd height and width.
        size_hw: Height and width that the map would be enlarged to, in pixels.
    """
    if map_BCyx.shape[2:] == size_hw:
        return functional.conv2d(map_BCyx, weight_OCkk, padding=weight_OCkk.shape[-1] // 2)
    side = weight_OCkk.shape[-1]
    height, width = map_BCyx.shape[2:]
    rows_hK = _shifted_enlargements(height, size_hw[0], side, map_BCyx).movedim(0, 1).flatten(1)
    columns_kxw = _shifted_enlargements(width, size_hw[1], side, map_BCyx).mT
    map_BCN = map_BCyx.flatten(2)
    total_BOhw: Tensor | None = None
    for column in range(side):  # one after the other, because all at once take much memory
        weight_QC = weight_OCkk[..., column].transpose(1, 2).flatten(0, 1)  # Q = O k
        mixed_BOKx = (weight_QC @ map_BCN).unflatten(2, (height, width)).unflatten(1, (-1, side)).flatten(2, 3)
        part_BOhw = (rows_hK @ mixed_BOKx) @ columns_kxw[column]
        total_BOhw = part_BOhw if total_BOhw is None else total_BOhw.add_(part_BOhw)
    assert total_BOhw is not None  # noqa: S101  # for the type checker: a kernel has columns
    return total_BOhw


def _shifted_enlargements(length: int, longer: int, side: int, like: Tensor) -> Tensor:
    """Return the matrices (k, longer, length) that enlarge an axis and shift it to each tap of a kernel.

    A row of zeros stands for what a shift brings in from outside, as padding with zeros does.
    """
    exact = torch.promote_types(like.dtype, torch.float32)
    place = torch.arange(longer, device=like.device, dtype=exact)
    source = ((place + 0.5) * (length / longer) - 0.5).clamp(0, length - 1)
    distance = (source[:, None] - torch.arange(length, device=like.device)).abs()
    enlarged = (1 - distance).clamp(min=0)  # bilinear, pixels being areas (align_corners=False)
    reach = side // 2
    padded = functional.pad(enlarged, (0, 0, reach, reach))
    return torch.stack([padded[shift : shift + longer] for shift in range(side)]).to(like.dtype)
