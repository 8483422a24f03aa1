"""Views of small pictures on the device of the model: crop and colours of a whole batch at once.

A loading process draws the changes of a picture, the same as for a view that it makes itself, and hands it out as it
was decoded, flipped if it is to be. The rest is done where the model is, in Pillow's arithmetic of whole numbers: a
value is the same in 8 bits, or one level away where the last bit of a filter's weight differs, which is rare.

Legend: B batch, C channels, S the side that all pictures are padded to, s that of a view.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ImageEnhance
from torch import Tensor

from beit.data.sources.kept import KeptPicture
from beit.data.transforms.jitter import ENHANCERS, in_eight_bits
from beit.data.transforms.views import Augmentation, Changes, Views
from beit.errors import ConfigError
from beit.image import Box, LazyPicture, columns_first

LONGEST_SIDE = 128  # of pictures, in pixels: of larger ones a crop is far less to move than the picture
_PICTURES, _BOXES, _TURNED, _JITTER = "pictures", "boxes", "turned", "jitter"  # what a loading process hands out
_CONTRAST, _COLOUR = ENHANCERS.index(ImageEnhance.Contrast), ENHANCERS.index(ImageEnhance.Color)
_RED, _GREEN, _BLUE = 19595, 38470, 7471  # Pillow's grey, of 65,536
_ONE = 2.0**22  # Pillow's weights are whole numbers of parts of it

Filter = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class DeviceViews:
    """Random views of which a loading process draws the changes, and the device of the model computes the pixels.

    Args:
        views: The views: square, of crop, flip and colour jitter alone.
        side: What all pictures are padded to, at least their longest side.

    Raises:
        ConfigError: If the views are others.
    """

    views: Views
    side: int

    def __post_init__(self) -> None:
        """Refuse views that are made on CPUs alone."""
        if (reason := only_on_cpu(self.views)) is not None:
            raise ConfigError(f"augment.device is model, and {reason}; set it to cpu")

    def __call__(self, stored: LazyPicture, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
        """Return a picture, padded, and what is to be done with it."""
        changes = _augmentation(self.views).draw(stored.height, stored.width, rng)
        shown_HWC, box = _flipped(stored, changes, self.views.spare_pixels(changes.box))
        height, width = shown_HWC.shape[:2]
        pixels = np.zeros((self.side, self.side, 3), np.uint8)
        pixels[:height, :width] = shown_HWC
        size = width, height
        jitter = [(ENHANCERS.index(enhancer), factor) for enhancer, factor in changes.jitter]
        found: dict[str, NDArray[Any]] = {
            _PICTURES: pixels,
            _BOXES: np.array((*box, *size), np.float32),  # Pillow's type of boxes
            _TURNED: np.array([columns_first(*size, side) for side in self._sides]),
        }
        return found | ({_JITTER: np.array(jitter, np.float32)} if jitter else {})

    @property
    def _sides(self) -> list[int]:
        """Sides of the views: the model's, and the tokenizer's if there is one."""
        tokenizer_hw = self.views.tokenizer_hw
        return [self.views.preprocessing.image_hw[0], *([tokenizer_hw[0]] if tokenizer_hw is not None else [])]

    @torch.no_grad()
    def complete(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors of a batch with its views in the place of what a loading process handed out."""
        handed = (_PICTURES, _BOXES, _TURNED, _JITTER)
        others = {name: tensor for name, tensor in tensors.items() if name not in handed}
        pixels_BCSS = tensors[_PICTURES].permute(0, 3, 1, 2).float()
        if _JITTER in tensors:
            pixels_BCSS = jittered(pixels_BCSS, tensors[_JITTER], tensors[_BOXES][:, 4:].prod(dim=1))
        views: dict[str, Tensor] = {}
        kinds = (("pixel_values", bicubic), ("tokenizer_pixels", lanczos))
        for number, ((name, of_distance), side) in enumerate(zip(kinds, self._sides, strict=False)):
            turned_B = tensors[_TURNED][:, number]
            views[name] = resampled(pixels_BCSS, tensors[_BOXES], turned_B, side, of_distance) * (1 / 255)
        values = (self.views.preprocessing.mean, self.views.preprocessing.std)
        mean_C11, std_C11 = (_per_channel(tuple(numbers), pixels_BCSS.device) for numbers in values)
        views["pixel_values"] = (views["pixel_values"] - mean_C11) / std_C11
        return {**views, **others}


def _flipped(stored: LazyPicture, changes: Changes, spare: float) -> tuple[NDArray[np.uint8], Box]:
    """Return the pixels (H, W, C) of a picture, flipped if it is to be, and the box to cut from them."""
    whole_HWC = stored.whole(spare) if isinstance(stored, KeptPicture) else None
    if whole_HWC is not None:  # at once: of small pictures Pillow would take longer than all else
        return (whole_HWC[:, ::-1] if changes.flip else whole_HWC), changes.box
    picture, box = replace(changes, jitter=())(stored.decode(spare), stored.width)
    return np.asarray(in_eight_bits(picture)), box


def only_on_cpu(views: Views) -> str | None:
    """Return the reason why views are made by the loading processes, None if the device of the model can."""
    random = _augmentation(views)
    if random.affine is not None and any((random.affine.rotation, random.affine.shear, random.affine.shift)):
        return "pictures are turned, slanted or shifted"
    if random.rand_augment is not None or random.erase:
        return "pictures are changed by RandAugment, or boxes of them are erased"
    if len(views.preprocessing.mean) != 3:
        return f"pictures have {len(views.preprocessing.mean)} channels"
    for height, width in (views.preprocessing.image_hw, views.tokenizer_hw or (0, 0)):
        if height != width:
            return f"views of {height} x {width} pixels are not square"
    return None


@cache
def _per_channel(numbers: tuple[float, ...], device: torch.device) -> Tensor:
    """Return one number per channel on a device; copied once, since a copy from the host waits for it."""
    return torch.tensor(numbers, device=device).view(-1, 1, 1)


def _augmentation(views: Views) -> Augmentation:
    assert views.augmentation is not None  # noqa: S101  # for the type checker: random views have changes
    return views.augmentation


def jittered(pixels_BCSS: Tensor, jitter_B32: Tensor, areas_B: Tensor) -> Tensor:
    """Return pictures with changed colours, by three changes each: number of the enhancer, and factor.

    Args:
        pixels_BCSS: Whole numbers from 0 to 255; 0 around a picture.
        jitter_B32: The changes, in their order.
        areas_B: Pixels of each picture, without what is around it.
    """
    for change_B2 in jitter_B32.unbind(1):
        kind_B, factor_B = change_B2.unbind(1)
        kind_B111, factor_B111 = (values.view(-1, 1, 1, 1) for values in (kind_B, factor_B))
        red, green, blue = pixels_BCSS.int().unbind(1)
        grey_BSS = (red * _RED + green * _GREEN + blue * _BLUE + 2**15) >> 16
        mean_B = (grey_BSS.flatten(1).sum(1).double() / areas_B + 0.5).floor().float()
        # what a factor of 0 leaves: the greys, their mean, or black
        least_BCSS = torch.where(kind_B111 == _COLOUR, grey_BSS.unsqueeze(1).float(), 0.0)
        least_BCSS = torch.where(kind_B111 == _CONTRAST, mean_B.view(-1, 1, 1, 1), least_BCSS)
        pixels_BCSS = (least_BCSS + factor_B111 * (pixels_BCSS - least_BCSS)).clamp(0, 255).floor()
    return pixels_BCSS


def resampled(pixels_BCSS: Tensor, boxes_B6: Tensor, turned_B: Tensor, side: int, of_distance: Filter) -> Tensor:
    """Return a box of each picture at another size (B, C, s, s), in whole numbers from 0 to 255, as Pillow does.

    Two products, each rounded to levels. In float64 sums of whole numbers are exact: no order of adding up, no TF32 and
    no autocast changes a value.

    Args:
        pixels_BCSS: The pictures, padded to a square.
        boxes_B6: Left, top, right and bottom of the box; width and height of the picture.
        turned_B: Whether columns are resampled before rows.
        side: Side of the result.
        of_distance: The filter.
    """
    left_B, top_B, right_B, bottom_B, width_B, height_B = boxes_B6.double().unbind(1)
    across_BSs = _weights(left_B, right_B, width_B, pixels_BCSS.shape[-1], side, of_distance)
    down_BSs = _weights(top_B, bottom_B, height_B, pixels_BCSS.shape[-1], side, of_distance)
    turned_B11, turned_B111 = turned_B.view(-1, 1, 1), turned_B.view(-1, 1, 1, 1)
    first_BSs = torch.where(turned_B11, down_BSs, across_BSs).unsqueeze(1)
    second_BSs = torch.where(turned_B11, across_BSs, down_BSs).unsqueeze(1)
    pixels_BCSS = torch.where(turned_B111, pixels_BCSS.mT, pixels_BCSS)
    between_BCSs = _whole(pixels_BCSS.double() @ first_BSs)
    result_BCss = _whole(between_BCSs.mT @ second_BSs)  # turned, so that both products are of rows
    return torch.where(turned_B111, result_BCss, result_BCss.mT).float()


def _weights(
    low_B: Tensor, high_B: Tensor, length_B: Tensor, padded: int, side: int, of_distance: Filter
) -> Tensor:  # fmt: skip
    """Return the weights (B, S, s) of the pixels of an axis in those of a view, which shows low to high of it.

    They are whole numbers, in parts of 2 ** 22, as Pillow has them.
    """
    pixels_S1 = torch.arange(padded, device=low_B.device, dtype=torch.float64).unsqueeze(1) + 0.5
    shown_s = torch.arange(side, device=low_B.device, dtype=torch.float64) + 0.5
    scale_B11, low_B11 = ((high_B - low_B) / side).view(-1, 1, 1), low_B.view(-1, 1, 1)
    distance_BSs = (pixels_S1 - (low_B11 + shown_s * scale_B11)) / scale_B11.clamp(min=1)
    weights_BSs = of_distance(distance_BSs).masked_fill(pixels_S1 > length_B.view(-1, 1, 1), 0.0)
    exact_BSs = weights_BSs / weights_BSs.sum(1, keepdim=True) * _ONE
    return exact_BSs.sign() * (exact_BSs.abs() + 0.5).floor()


def bicubic(distance: Tensor) -> Tensor:
    """Return the weights of Pillow's bicubic filter, whose parameter is -1/2."""
    x = distance.abs()
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


def lanczos(distance: Tensor) -> Tensor:
    """Return the weights of a Lanczos filter of three lobes."""
    return torch.where(distance.abs() < 3, torch.sinc(distance) * torch.sinc(distance / 3), 0.0)


def _whole(sums: Tensor) -> Tensor:
    return ((sums + _ONE / 2) / _ONE).floor().clamp(0, 255)
