"""Maps of segmentation heads: resized, pooled, merged without enlarging them; batch norm and ReLU in place.

Enlarging is linear and treats every channel alike, a convolution is linear too: the channels can be mixed first, where
there are few pixels, and the results be enlarged, shifted and added after that. For a map of a quarter of the height
and width this takes a tenth of the multiplications, and the enlarged map never exists.

Resizing and average pooling are linear along each axis too. Off the CPU they are two products, whose gradients add up
in a fixed order; those of PyTorch's kernels do not, and their deterministic stand-ins write every pixel by its index.

Legend: B batch, C channels in, O channels out, k side of the kernel; h w pixels of the result, y x of the map.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from beit.models_torch.kernels.choice import is_plain, without_autocast


def resize(map_BCyx: Tensor, size_hw: tuple[int, int], mode: str = "bilinear") -> Tensor:
    """Return interpolate(map, size_hw, mode=mode, align_corners=False), (B, C, h, w).

    Args:
        map_BCyx: A map.
        size_hw: Height and width of the result, in pixels.
        mode: "bilinear" or "bicubic".
    """
    if map_BCyx.device.type == "cpu":
        return functional.interpolate(map_BCyx, size=size_hw, mode=mode, align_corners=False)
    rows, columns = (resizing(map_BCyx, axis, size_hw[axis - 2], mode) for axis in (2, 3))
    return by_products(map_BCyx, rows, columns)


def average_pool(map_BCyx: Tensor, scale: int) -> Tensor:
    """Return adaptive_avg_pool2d(map, scale), (B, C, scale, scale)."""
    if map_BCyx.device.type == "cpu":
        return functional.adaptive_avg_pool2d(map_BCyx, scale)
    rows, columns = (windows(length, scale, map_BCyx) for length in map_BCyx.shape[2:])
    return by_products(map_BCyx, rows, columns)


def merge_maps(conv: nn.Module, maps: Sequence[Tensor]) -> Tensor:
    """Return conv(cat(maps, dim=1)), all of them enlarged to the height and width of the first."""
    size = maps[0].shape[2], maps[0].shape[3]
    if not (is_plain(conv, nn.Conv2d) and _keeps_size(conv)):
        enlarged = [resize(level, size) for level in maps[1:]]
        return conv(torch.cat((maps[0], *enlarged), dim=1))
    weights = conv.weight.split([level.shape[1] for level in maps], dim=1)
    merged = convolve_enlarged(maps[0], weights[0], size)
    for level, weight in zip(maps[1:], weights[1:], strict=True):
        merged = merged.add_(convolve_enlarged(level, weight, size))
    return merged if conv.bias is None else merged.add_(conv.bias[:, None, None])  # of a batch norm that is folded in


def _keeps_size(conv: nn.Conv2d) -> bool:
    """Return whether a convolution is of the kind that `convolve_enlarged` computes; another may be in its place."""
    side = conv.kernel_size[0]
    plain = conv.stride == (1, 1) and conv.dilation == (1, 1) and conv.groups == 1 and conv.padding_mode == "zeros"
    return plain and side % 2 == 1 and conv.kernel_size == (side, side) and conv.padding == (side // 2, side // 2)


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

    On the CPU those of known sizes are kept, and are constants of a program that is traced.
    """
    exact = _exact(like)
    known = type(length) is int and type(longer) is int and not torch.compiler.is_dynamo_compiling()
    if known and like.device.type == "cpu":
        kept = _kept_enlargements(length, longer, side, str(exact).removeprefix("torch."))
        return torch.tensor(kept, dtype=like.dtype)
    places = [torch.arange(count, device=like.device, dtype=exact) for count in (length, longer, side)]
    return _enlargements(*places).to(like.dtype)


@lru_cache(maxsize=64)
def _kept_enlargements(length: int, longer: int, side: int, dtype: str) -> npt.NDArray[Any]:
    return _enlargements(*(np.arange(count, dtype=dtype) for count in (length, longer, side)))


def _enlargements(place_x: Any, place_w: Any, tap_k: Any) -> Any:
    """Return `_shifted_enlargements` of the places along both axes and of the taps, as numpy or torch has them.

    A row of zeros stands for what a shift brings in from outside, as padding with zeros does.
    """
    length, longer, side = (place.shape[0] for place in (place_x, place_w, tap_k))
    shifted_kw = place_w + (tap_k - side // 2)[:, None]
    source_kw = ((shifted_kw + 0.5) * (length / longer) - 0.5).clip(0, length - 1)
    distance_kwx = abs(source_kw[..., None] - place_x)
    inside_kw = (shifted_kw >= 0) & (shifted_kw < longer)
    return (1 - distance_kwx).clip(0, 1) * inside_kw[..., None]  # bilinear, pixels being areas (align_corners=False)


def resizing(map_BCyx: Tensor, axis: int, wanted: int, mode: str) -> Tensor:
    """Return the matrix (wanted, length) that resizes an axis of a map."""
    length = map_BCyx.shape[axis]
    # of unit vectors side by side: columns keep their places, and rows become what each new one is made of
    units_11yx = torch.eye(length, device=map_BCyx.device, dtype=_exact(map_BCyx))[None, None]
    return functional.interpolate(units_11yx, (wanted, length), mode=mode, align_corners=False)[0, 0]


def windows(length: int, scale: int, like: Tensor) -> Tensor:
    """Return (scale, length): the mean over window i, from floor(i length / scale) to ceil((i + 1) length / scale)."""
    place, window = (torch.arange(count, device=like.device) for count in (length, scale))
    starts, ends = window * length // scale, ((window + 1) * length + scale - 1) // scale
    inside = (place >= starts[:, None]) & (place < ends[:, None])
    return inside.to(_exact(like)) / (ends - starts)[:, None]


def by_products(map_BCyx: Tensor, rows_hy: Tensor, columns_wx: Tensor) -> Tensor:
    """Return rows @ map @ columns', in the type of the map."""
    with without_autocast(map_BCyx.device):
        return rows_hy.to(map_BCyx.dtype) @ map_BCyx @ columns_wx.to(map_BCyx.dtype).mT


def _exact(like: Tensor) -> torch.dtype:
    """Return a type that weights of pixels are computed in."""
    return torch.promote_types(like.dtype, torch.float32)
