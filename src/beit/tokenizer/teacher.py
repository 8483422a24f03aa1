"""Teacher of VQ-KD: the patch features of a trained model.

Legend: B batch, C channels, N patches, S = 1 + N tokens, T features of the teacher, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from beit.errors import ConfigError
from beit.geometry import Grid
from beit.image import COLOURS, Preprocessing
from beit.models_torch import BeitForImageClassification

# (B, C, H, W) in [0, 1] at the tokenizer's size -> (B, N, T), row-major on the tokenizer's grid
Teacher = Callable[[Tensor], Tensor]


class BeitTeacher(nn.Module):
    """The patch features of a BEiT classifier, on any grid (arXiv 2208.06366, section 2.2).

    Pictures are resized so that the teacher has one patch where the tokenizer has one token.

    Args:
        model: The classifier; frozen.
        mean: Its mean per channel.
        std: Its standard deviation per channel.
        grid: The tokenizer's grid.
    """

    def __init__(
        self, model: BeitForImageClassification, mean: tuple[float, ...], std: tuple[float, ...], grid: Grid
    ) -> None:
        super().__init__()
        self.model = model.eval().requires_grad_(requires_grad=False)
        patch_height, patch_width = model.config.patch_hw
        self._image_hw = (grid.height * patch_height, grid.width * patch_width)
        self.register_buffer("mean_C11", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std_C11", torch.tensor(std).view(-1, 1, 1))
        self.mean_C11: Tensor
        self.std_C11: Tensor

    @classmethod
    def from_pretrained(cls, source: str, grid: Grid) -> BeitTeacher:
        """Load a classifier with its preprocessing.

        Raises:
            CheckpointError: If it cannot be found or read.
            ConfigError: If its config or its preprocessing is missing or not understood.
        """
        model = BeitForImageClassification.from_pretrained(source)
        view = Preprocessing.from_pretrained(source)
        return cls(model, view.mean, view.std, grid)

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:
        """Return the features (B, N, T) of the last layer, normalised as the classifier normalises their mean."""
        pixels_BCHW = pixels
        if pixels.shape[2:] != self._image_hw:
            pixels_BCHW = functional.interpolate(pixels, size=self._image_hw, mode="bicubic", antialias=True)
        normalised_BCHW = (pixels_BCHW.clamp(0, 1) - self.mean_C11) / self.std_C11
        patches_BNT = self.model.beit(normalised_BCHW, return_dict=True).last_hidden_state[:, 1:]
        pooler = self.model.beit.pooler
        # without mean pooling the model has normalised every token already
        return patches_BNT if pooler is None or pooler.layernorm is None else pooler.layernorm(patches_BNT)


def feature_size(
    teacher: Teacher, image_hw: tuple[int, int], grid: Grid, device: torch.device, channels: int = COLOURS
) -> int:
    """Return the features T per patch of a teacher, after trying it on one blank picture.

    Raises:
        ConfigError: If it does not give one vector per token.
    """
    with torch.no_grad():
        features = teacher(torch.zeros(1, channels, *image_hw, device=device))
    if features.dim() != 3 or features.shape[:2] != (1, grid.height * grid.width):
        raise ConfigError(
            f"the teacher gives {tuple(features.shape)} for one picture of {image_hw[0]} x {image_hw[1]} pixels; "
            f"expected (1, {grid.height * grid.width}, features), one vector for each of the tokenizer's "
            f"{grid.height} x {grid.width} tokens: change image_size or model.patch_size"
        )
    return int(features.shape[2])
