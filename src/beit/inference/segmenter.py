"""Segmenter: pictures in, a class for every pixel out.

Legend: H x W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from beit.image import Preprocessing, read_image
from beit.image.palette import coloured, indexed, legend, overlaid
from beit.inference.predictor import Picture
from beit.models_torch import BeitForSemanticSegmentation
from beit.models_torch.device import pick_device
from beit.models_torch.scene import SceneInference, segment_scene


@dataclass(frozen=True)
class Segmentation:
    """The class of every pixel of a picture.

    Attributes:
        labels: (H, W), the number of each pixel's class.
        classes: Names of all classes.
        picture: The picture.
    """

    labels: NDArray[np.int64]
    classes: list[str]
    picture: Image.Image

    @property
    def shares(self) -> dict[str, float]:
        """Share of the picture that each class has, in [0, 1], the largest first; those it has not are left out."""
        counts = np.bincount(self.labels.ravel(), minlength=len(self.classes))
        order = [int(index) for index in np.argsort(-counts, kind="stable") if counts[index]]
        return {self.classes[index]: float(counts[index] / self.labels.size) for index in order}

    def to_json(self) -> dict[str, Any]:
        """Return size and shares, for other programs."""
        height, width = self.labels.shape
        return {"height": height, "width": width, "shares": self.shares}

    def index_image(self) -> Image.Image:
        """Return the numbers as a picture of 8 bits with a palette."""
        return indexed(self.labels, len(self.classes))

    def colour_image(self) -> Image.Image:
        """Return the classes in colours, with a legend on the right."""
        return self._with_legend(coloured(self.labels, len(self.classes)))

    def overlay(self, opacity: float = 0.5) -> Image.Image:
        """Return the picture under the colours of its classes, with a legend on the right."""
        return self._with_legend(overlaid(self.picture, self.labels, len(self.classes), opacity))

    def _with_legend(self, image: Image.Image) -> Image.Image:
        names = legend(self.classes, sorted(set(self.labels.ravel().tolist())))
        both = Image.new("RGB", (image.width + names.width, max(image.height, names.height)), "white")
        both.paste(image, (0, 0))
        both.paste(names, (image.width, 0))
        return both


class Segmenter:
    """A segmentation model, and how it is shown pictures.

    Args:
        folder: A model folder, as training and `save_pretrained` leave it.
        device: "cpu", "cuda", or "auto" for a GPU if there is one.
        **options: Fields of `SceneInference` that win over those of the model: windows, scales, flip.

    Raises:
        ConfigError: If a config is missing or invalid, or there is no such device.
        CheckpointError: If the weights are missing, damaged or do not fit.
    """

    def __init__(self, folder: str | Path, device: str = "auto", **options: Any) -> None:
        self.model = BeitForSemanticSegmentation.from_pretrained(folder).to(pick_device(device)).eval()
        view = Preprocessing.from_pretrained(folder)
        means = {"mean": view.mean, "std": view.std}
        self.inference = SceneInference.from_pretrained(folder, self.model.config.image_hw, **{**means, **options})

    @property
    def classes(self) -> list[str]:
        """Class names, by number."""
        return self.model.config.class_names

    def segment(self, picture: Picture) -> Segmentation:
        """Return the class of every pixel of a picture of any size.

        Raises:
            DataError: If the picture is missing or broken.
        """
        opened = picture.convert("RGB") if isinstance(picture, Image.Image) else read_image(picture)
        return Segmentation(segment_scene(self.model, opened, self.inference).numpy(), self.classes, opened)
