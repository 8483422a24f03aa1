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
    """Resize, crop the centre, scale to [0, 1], normalise.

    Attributes:
        image_hw: Size of the model input, (height, width) in pixels.
        resize: What the picture is resized to before the crop: (height, width), or the length of its shorter side,
            which keeps its shape. 256 for 224 is a crop of 0.875.
        mean: Mean per channel.
        std: Standard deviation per channel.
        resample: Filter of the resizing.

    Source: `BeitImageProcessor` of the published API, whose options the saved file holds.
    """

    image_hw: tuple[int, int]
    resize: tuple[int, int] | int
    mean: tuple[float, ...] = HALF
    std: tuple[float, ...] = HALF
    resample: Image.Resampling = Image.Resampling.BICUBIC

    @classmethod
    def cropping(cls, image_hw: tuple[int, int], crop_share: float, **options: Any) -> Self:
        """Return the view that keeps a picture's shape and crops about `crop_share` of its shorter side."""
        return cls(image_hw, round(max(image_hw) / crop_share), **options)

    def __call__(self, picture: Image.Image) -> Floats:
        """Return the model input (3, height, width) of an RGB picture."""
        return normalise(to_unit_array(self.crop(picture)), self.mean, self.std)

    def crop(self, picture: Image.Image) -> Image.Image:
        """Return what the model sees of a picture; a crop larger than the resized picture is padded with black."""
        height, width = self._resized(picture.height, picture.width)
        top, left = (height - self.image_hw[0]) // 2, (width - self.image_hw[1]) // 2
        resized = picture.resize((width, height), self.resample)
        return resized.crop((left, top, left + self.image_hw[1], top + self.image_hw[0]))

    def box(self, picture_height: int, picture_width: int) -> Box:
        """Return where that crop lies in the picture itself, in its pixels."""
        height, width = self._resized(picture_height, picture_width)
        top, left = (height - self.image_hw[0]) // 2, (width - self.image_hw[1]) // 2
        bottom, right = top + self.image_hw[0], left + self.image_hw[1]
        down, across = picture_height / height, picture_width / width
        return max(0, left) * across, max(0, top) * down, min(width, right) * across, min(height, bottom) * down

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        if not isinstance(self.resize, int):
            return self.resize
        shorter = min(height, width)
        return self.resize * height // shorter, self.resize * width // shorter

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `preprocessor_config.json` into an existing folder, with the key names used on the hub."""
        if isinstance(self.resize, int):
            size = {"shortest_edge": self.resize}
        else:
            size = {"height": self.resize[0], "width": self.resize[1]}
        options = {
            "image_processor_type": "BeitImageProcessor",
            "do_resize": True,
            "size": size,
            "resample": int(self.resample),
            "do_center_crop": True,
            "crop_size": {"height": self.image_hw[0], "width": self.image_hw[1]},
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
            ConfigError: If it is missing, not understood, or asks for steps that are not done here.
        """
        path = Path(folder) / PREPROCESSOR_NAME
        try:
            options: Any = json.loads(path.read_text(encoding="utf-8"))
            resize = _size(options["size"])
            cropped = options.get("do_center_crop", True)
            image = _size(options["crop_size"]) if cropped else resize
            image_hw = (image, image) if isinstance(image, int) else image
            mean, std = tuple(options["image_mean"]), tuple(options["image_std"])
            resample = Image.Resampling(options.get("resample", Image.Resampling.BICUBIC))
            scale = float(options.get("rescale_factor", 1 / 255))
        except (FileNotFoundError, NotADirectoryError):
            raise ConfigError(f"{path} does not exist; a model folder that can predict holds it") from None
        except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"{path} is not understood ({error!r}); expected a BeitImageProcessor's options"
            ) from None
        skipped = [step for step in ("do_resize", "do_rescale", "do_normalize") if not options.get(step, True)]
        if skipped or abs(scale * 255 - 1) > 1e-6:
            raise ConfigError(
                f"{path} asks for other steps ({skipped or f'rescale_factor {scale}'}); set them as usual"
            )
        return cls(image_hw, resize, mean, std, resample)


def _size(size: int | Mapping[str, int]) -> tuple[int, int] | int:
    """Return a size of the file: a whole number is a square, as in old files."""
    if isinstance(size, int):
        return size, size
    return size["shortest_edge"] if "shortest_edge" in size else (size["height"], size["width"])
