"""Segmentation of a picture of any size in bounded memory: windows, scales, the mirror image.

Legend: C channels, K classes, H x W pixels of the picture, h x w pixels of the picture at another scale.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from beit.catalog import public_checkpoint
from beit.errors import ConfigError
from beit.files import read_json, storage_error, write_json
from beit.hub import HubOptions, file_beside
from beit.image import HALF, AnyPicture, normalise, to_unit_array
from beit.image.post_processing import enlarged_bands
from beit.models_torch.segmentation import BeitForSemanticSegmentation
from beit.models_torch.sliding_window import Windows, windowed_logits

FILE_NAME = "scene_inference.json"
_EXPECTED = "the settings that training wrote"
_REMEDY = "train again, or remove it for the published settings"
_MOST_IN_MEMORY = 2**28  # bytes of scores; more go to a temporary file


@dataclass(frozen=True)
class SceneInference:
    """Settings of segmentation of a whole picture; saved beside a model that was trained here.

    Attributes:
        windows: Size and stride of the windows; None: one window.
        shorter_side: Length of its shorter side at scale 1, in pixels; None: its own.
        scales: Factors on that size, over which probabilities are averaged.
        flip: Whether to average over the mirror image too.
        mean: Mean per channel.
        std: Standard deviation per channel.
    """

    windows: Windows | None = None
    shorter_side: int | None = None
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    mean: tuple[float, ...] = HALF
    std: tuple[float, ...] = HALF

    def __post_init__(self) -> None:
        """Check that there is a scale."""
        if not self.scales or min(self.scales) <= 0:
            raise ConfigError(f"scales is {list(self.scales)}; expected one or more numbers above 0")

    @classmethod
    def from_pretrained(
        cls, name: str | Path, image_hw: tuple[int, int], hub: HubOptions | None = None, **options: Any
    ) -> Self:
        """Read the settings by which a model was evaluated in training.

        A model without such a file is shown pictures whose shorter side is that of its input, in windows of its input
        that move by two thirds, as the published ones were measured.

        Args:
            name: The model: a folder, a file, or a name on the hub or of the package.
            image_hw: Size of its input, in pixels.
            hub: How the hub is used.
            **options: Settings that win over the file.

        Raises:
            ConfigError: If the file is damaged.
            CheckpointError: If the hub cannot be reached.
        """
        if (file := scene_file(name, hub)) is None:
            return cls.published(image_hw, **options)
        saved = read_json(file, _EXPECTED, _REMEDY)
        try:
            return cls(**{**_fields(saved), **options})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ConfigError(f"{file} is damaged: {error}; expected {_EXPECTED}; {_REMEDY}") from None

    @classmethod
    def published(cls, image_hw: tuple[int, int], **options: Any) -> Self:
        """Return the settings by which the published models were measured.

        Args:
            image_hw: Size of the model's input, in pixels.
            **options: Settings that win over them.
        """
        strides = max(1, image_hw[0] * 2 // 3), max(1, image_hw[1] * 2 // 3)
        settings: dict[str, Any] = {"windows": Windows(image_hw, strides), "shorter_side": min(image_hw)}
        return cls(**{**settings, **options})

    def within(self, hw: tuple[int, int]) -> Self:
        """Return the settings for a model that sees pictures of one size, in pixels: a whole one in windows of it.

        Raises:
            ConfigError: If windows are larger.
        """
        windows = self.windows or Windows(hw, hw)
        if any(size > most for size, most in zip(windows.size_hw, hw, strict=True)):
            raise ConfigError(
                f"the model sees windows of {windows.size_hw[0]} x {windows.size_hw[1]} pixels, and is exported for "
                f"{hw[0]} x {hw[1]}; expected windows that fit: export it with another image_size"
            )
        return replace(self, windows=windows)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write it into the folder of a model.

        Raises:
            StorageError: If it cannot be written.
        """
        write_json(Path(folder) / FILE_NAME, asdict(self))

    def size(self, height: int, width: int, scale: float) -> tuple[int, int]:
        """Return the height and width in which a picture is shown at a scale, in pixels."""
        factor = scale * (1.0 if self.shorter_side is None else self.shorter_side / min(height, width))
        return max(1, round(height * factor)), max(1, round(width * factor))

    def windows_of(self, height: int, width: int) -> int:
        """Return how many windows the model is shown of a picture."""
        total = 0
        for scale in self.scales:
            hw = self.size(height, width, scale)
            total += 1 if self.windows is None else prod(len(self.windows.starts(hw[axis], axis)) for axis in (0, 1))
        return total * (2 if self.flip else 1)

    def pixels(self, picture: AnyPicture, hw: tuple[int, int]) -> Tensor:
        """Return the model input of a picture at a size, (C, h, w), normalised."""
        size = hw[1], hw[0]
        shown = picture if picture.size == size else picture.resize(size, Image.Resampling.BILINEAR)
        return torch.from_numpy(normalise(to_unit_array(shown), self.mean, self.std))


def scene_file(name: str | Path, hub: HubOptions | None = None) -> Path | None:
    """Return the file of the settings that lies beside a model; None of others, published ones among them.

    Raises:
        CheckpointError: If the hub cannot be reached.
    """
    is_published = public_checkpoint(str(name)) is not None  # which have no such file
    return None if is_published else file_beside(name, FILE_NAME, hub or HubOptions())


def _fields(saved: dict[str, Any]) -> dict[str, Any]:
    """Return the fields in the content of a saved file."""
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in saved.items()}
    if saved["windows"] is not None:
        fields["windows"] = Windows(tuple(saved["windows"]["size_hw"]), tuple(saved["windows"]["stride_hw"]))
    return fields


@torch.inference_mode()
def segment_scene(
    model: BeitForSemanticSegmentation,
    picture: AnyPicture,
    settings: SceneInference,
    before_each: Callable[[], None] = lambda: None,
) -> Tensor:
    """Return the class of every pixel (H, W), int64, on the CPU.

    Args:
        model: A segmentation model, in evaluation mode.
        picture: Of any size, in the channels of the model.
        settings: Windows, scales, mirror image.
        before_each: Called before every part of the work; what it raises ends it.
    """
    hw = picture.height, picture.width
    plain = settings.scales == (1.0,) and not settings.flip and settings.size(*hw, 1.0) == hw
    labels_HW = torch.empty(hw, dtype=torch.int64)
    if plain:
        pixels_CHW = settings.pixels(picture, hw).to(model.device)
        for strip in windowed_logits(model, pixels_CHW, settings.windows, before_each):
            labels_HW[strip.rows, strip.columns] = strip.logits.argmax(dim=0).cpu()
        return labels_HW
    total_KHW = _zeros(model.config.num_labels, *hw)
    for scale in settings.scales:
        pixels_Chw = settings.pixels(picture, settings.size(*hw, scale)).to(model.device)
        for flipped in (False, True) if settings.flip else (False,):
            _add_probabilities(total_KHW, model, pixels_Chw, settings.windows, flipped, before_each)
    for rows, band_KbW in _rows(total_KHW.split(max(1, 2**22 // (total_KHW.shape[0] * hw[1])), dim=1)):
        before_each()
        labels_HW[rows] = band_KbW.argmax(dim=0)
    return labels_HW


def _add_probabilities(
    total_KHW: Tensor,
    model: BeitForSemanticSegmentation,
    pixels_Chw: Tensor,
    windows: Windows | None,
    flipped: bool,
    before_each: Callable[[], None],
) -> None:
    """Add the probabilities that the model gives at one scale to those of every pixel of the picture."""
    scores_Khw = _zeros(len(total_KHW), *pixels_Chw.shape[1:])
    shown_Chw = pixels_Chw.flip(2) if flipped else pixels_Chw
    for strip in windowed_logits(model, shown_Chw, windows, before_each):
        scores_Khw[:, strip.rows, strip.columns] = strip.logits.cpu()
    for rows, band_KbW in _rows(enlarged_bands(scores_Khw, (total_KHW.shape[1], total_KHW.shape[2]))):
        before_each()
        probability_KbW = band_KbW.softmax(dim=0)
        total_KHW[:, rows] += probability_KbW.flip(2) if flipped else probability_KbW


def _rows(bands: Any) -> Iterator[tuple[slice, Tensor]]:
    """Yield bands (K, rows, W) of a map from top to bottom, each with its rows."""
    first = 0
    for band in bands:
        yield slice(first, first + band.shape[1]), band
        first += band.shape[1]


def _zeros(*shape: int) -> Tensor:
    """Return float32 zeros; many of them lie in a temporary file that is deleted with the tensor."""
    if 4 * np.prod(shape, dtype=np.int64) <= _MOST_IN_MEMORY:
        return torch.zeros(shape)
    size = 4 * int(np.prod(shape, dtype=np.int64))
    try:
        with tempfile.TemporaryFile() as file:
            _reserve(file.fileno(), size)
            return torch.from_numpy(np.memmap(file, np.float32, "r+", shape=shape))
    except OSError as error:
        raise storage_error(
            Path(tempfile.gettempdir()),
            error,
            f"the scores of this picture take {size:,} bytes there: free space, or "
            "set TMPDIR to a folder on another disk",
        ) from error


def _reserve(file: int, size: int) -> None:
    """Take the room of a file on its disk: writing to a map of one that finds none ends the process by a signal."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    else:
        os.ftruncate(file, size)
