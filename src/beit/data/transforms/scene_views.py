"""Views of a scene to train a segmentation model on: a random part at a random scale, and the classes of its pixels.

Legend: C channels, H x W pixels of the view.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from beit.data.sources.label_maps import ClassMap
from beit.data.sources.scenes import Scene
from beit.data.transforms.jitter import in_eight_bits
from beit.data.transforms.photometric import Distortion
from beit.image import HALF, IGNORED, Box, normalise, to_unit_array

_ATTEMPTS = 10


@dataclass(frozen=True)
class SceneViews:
    """Random scale, crop, flip and colours, as the published segmentation runs have them.

    Attributes:
        image_hw: Size of the view, in pixels.
        scale: Range of the factor on the scene's size, uniform.
        shorter_side: Length that factor 1 gives the scene's shorter side, in pixels; None: its own.
        one_class: Largest share that one class should have of a crop; ten crops are tried.
        flip: Probability of a horizontal flip.
        distort: Whether colours, of which there are three, are distorted.
        mean: Mean per channel.
        std: Standard deviation per channel.
    """

    image_hw: tuple[int, int]
    scale: tuple[float, float] = (0.5, 2.0)
    shorter_side: int | None = None
    one_class: float = 0.75
    flip: float = 0.5
    distort: bool = True
    mean: tuple[float, ...] = HALF
    std: tuple[float, ...] = HALF

    def __call__(self, scene: Scene, rng: np.random.Generator) -> dict[str, Any]:
        """Return pixel_values (C, H, W), normalised, and labels (H, W).

        What a scaled scene is too small for is 0 after normalising, and ignored.
        """
        factor = scene_factor(scene.height, scene.width, self.shorter_side) * rng.uniform(*self.scale)
        scaled_hw = max(1, round(scene.height * factor)), max(1, round(scene.width * factor))
        shown_hw = min(scaled_hw[0], self.image_hw[0]), min(scaled_hw[1], self.image_hw[1])
        box, labels = self._crop(scene.label_map(), scaled_hw, shown_hw, rng)
        decoded = scene.decode(1 / factor)
        shown_size = shown_hw[1], shown_hw[0]
        picture = decoded.picture.resize(shown_size, Image.Resampling.BILINEAR, box=decoded.box(box))
        if rng.random() < self.flip:
            picture, labels = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT), labels[:, ::-1]
        if self.distort:
            picture = Distortion.draw(rng)(in_eight_bits(picture))
        pixels_CHW = np.zeros((len(self.mean), *self.image_hw), np.float32)
        labels_HW = np.full(self.image_hw, IGNORED, np.int64)
        height, width = shown_hw
        pixels_CHW[:, :height, :width] = normalise(to_unit_array(picture), self.mean, self.std)
        labels_HW[:height, :width] = labels
        return {"pixel_values": pixels_CHW, "labels": labels_HW}

    def _crop(
        self, label_map: ClassMap, scaled_hw: tuple[int, int], shown_hw: tuple[int, int], rng: np.random.Generator
    ) -> tuple[Box, ClassMap]:
        """Return a random part, in pixels of the scene as stored, and its classes at the new scale."""
        image = Image.fromarray(label_map)
        down, across = label_map.shape[0] / scaled_hw[0], label_map.shape[1] / scaled_hw[1]
        box: Box = (0, 0, image.width, image.height)
        labels = label_map
        for _ in range(_ATTEMPTS):
            top = int(rng.integers(scaled_hw[0] - shown_hw[0] + 1))
            left = int(rng.integers(scaled_hw[1] - shown_hw[1] + 1))
            bottom, right = top + shown_hw[0], left + shown_hw[1]
            box = (left * across, top * down, min(right * across, image.width), min(bottom * down, image.height))
            labels = np.asarray(image.resize((shown_hw[1], shown_hw[0]), Image.Resampling.NEAREST, box=box))
            if _mixed(labels, self.one_class):
                break
        return box, labels


def scene_factor(height: int, width: int, shorter_side: int | None) -> float:
    """Return the factor that gives a scene's shorter side a length, 1 for None."""
    return 1.0 if shorter_side is None else shorter_side / min(height, width)


def _mixed(labels: ClassMap, most: float) -> bool:
    """Return whether there are several classes, none of which has more than a share of the pixels with a class."""
    counts = np.bincount(labels.ravel(), minlength=IGNORED + 1)[:IGNORED]
    return int((counts > 0).sum()) > 1 and bool(counts.max() < most * counts.sum())
