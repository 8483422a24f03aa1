"""The deterministic way from a picture to model input, saved beside the model as `preprocessor_config.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from PIL import Image

from beit.errors import ConfigError
from beit.image.arrays import HALF, Floats, normalise, to_unit_array

PREPROCESSOR_NAME = "preprocessor_config.json"
Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels


@dataclass(frozen=True)
class Preprocessing:
    """Resize (bicubic), crop the centre, scale to [0, 1], normalise.

    Attributes:
        image_hw: Size of the model input, (height, width) in pixels.
        resize_hw: The size that the centre is cropped from: 256 for 224 (a crop of 0.875), the same from 384 on.
        mean: Mean per channel.
        std: Standard deviation per channel.
    """

    image_hw: tuple[int, int]
    resize_hw: tuple[int, int]
    mean: tuple[float, ...] = HALF
    std: tuple[float, ...] = HALF

    @classmethod
    def cropping(cls, image_hw: tuple[int, int], crop_share: float, **options: Any) -> Self:
        """Return the view whose crop is about `crop_share` of the resized picture's sides."""
        height, width = image_hw
        return cls(image_hw, (round(height / crop_share), round(width / crop_share)), **options)

    def __call__(self, picture: Image.Image) -> Floats:
        """Return the model input (3, height, width) of an RGB picture."""
        return normalise(to_unit_array(self.crop(picture)), self.mean, self.std)

    def crop(self, picture: Image.Image) -> Image.Image:
        """Return the part of the picture that the model sees, at model size: one bicubic resampling."""
        height, width = self.image_hw
        return picture.resize((width, height), Image.Resampling.BICUBIC, box=self.box(picture.height, picture.width))

    def box(self, picture_height: int, picture_width: int) -> Box:
        """Return the largest centred window of the resized shape, and of that the centre that is cropped."""
        (height, width), (resize_height, resize_width) = self.image_hw, self.resize_hw
        scale = min(picture_height / resize_height, picture_width / resize_width)
        left, top = (picture_width - width * scale) / 2, (picture_height - height * scale) / 2
        return left, top, left + width * scale, top + height * scale

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `preprocessor_config.json` into an existing folder, with the key names used on the hub."""
        height, width = self.image_hw
        options = {
            "image_processor_type": "BeitImageProcessor",
            "do_resize": True,
            "size": {"height": self.resize_hw[0], "width": self.resize_hw[1]},
            "resample": int(Image.Resampling.BICUBIC),
            "do_center_crop": self.resize_hw != self.image_hw,
            "crop_size": {"height": height, "width": width},
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": list(self.mean),
            "image_std": list(self.std),
            "do_reduce_labels": False,
        }
        (Path(folder) / PREPROCESSOR_NAME).write_text(json.dumps(options, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Read `preprocessor_config.json` of a model folder.

        Raises:
            ConfigError: If it is missing or not understood.
        """
        path = Path(folder) / PREPROCESSOR_NAME
        try:
            options: Any = json.loads(path.read_text(encoding="utf-8"))
            size = _height_width(options["size"])
            cropped = options.get("do_center_crop", False)
            crop = _height_width(options["crop_size"]) if cropped else size
            mean, std = tuple(options["image_mean"]), tuple(options["image_std"])
        except FileNotFoundError:
            raise ConfigError(f"{path} does not exist; a model folder that can predict holds it") from None
        except (UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{path} is not understood ({error!r}); expected a BeitImageProcessor's options"
            ) from None
        return cls(image_hw=crop, resize_hw=size, mean=mean, std=std)


def _height_width(size: int | Mapping[str, int]) -> tuple[int, int]:
    if isinstance(size, int):
        return size, size
    if "shortest_edge" in size:
        return size["shortest_edge"], size["shortest_edge"]
    return size["height"], size["width"]
