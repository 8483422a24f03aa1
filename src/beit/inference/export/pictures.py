"""Example pictures to calibrate with and to check on.

Legend: B batch, C channels; H x W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from beit.errors import missing_extra
from beit.image import Preprocessing, picture_files
from beit.inference.pictures import to_rgb
from beit.inference.runners.runner import Floats

_CROPS = 4  # of either picture of scikit-learn, along each side


@dataclass(frozen=True)
class Examples:
    """Some pictures.

    Attributes:
        places: Paths, or pictures.
        origin: Where they are from, in words.
    """

    places: list[Path] | list[Image.Image]
    origin: str

    @classmethod
    def of(cls, folder: str | None, most: int) -> Examples:
        """Return pictures of a folder, evenly spread over it; without one, parts of two photographs.

        Raises:
            DataError: If it has none.
            MissingExtraError: If scikit-learn, which brings the photographs, is not installed.
        """
        if folder is None:
            return cls(_photographs(), "parts of the two photographs that scikit-learn brings")
        found = picture_files(Path(folder))
        chosen = sorted({round(place) for place in np.linspace(0, len(found) - 1, min(most, len(found)))})
        return cls([found[place] for place in chosen], f"pictures of {Path(folder).resolve().name}")

    def __len__(self) -> int:
        return len(self.places)

    def batches(self, view: Preprocessing, size: int) -> Iterator[Floats]:
        """Yield their pixels as a model is shown them, (B, C, H, W) of `size` pictures or, in the end, fewer.

        Raises:
            DataError: If a picture is broken.
        """
        for first in range(0, len(self.places), size):
            yield np.stack([view(to_rgb(place)) for place in self.places[first : first + size]])


def _photographs() -> list[Image.Image]:
    """Return sixteen parts each of a temple and a flower."""
    try:
        from sklearn.datasets import load_sample_images
    except ModuleNotFoundError:
        raise missing_extra("scikit-learn", "train") from None
    parts: list[Image.Image] = []
    for pixels_HWC in load_sample_images().images:
        rows, columns = pixels_HWC.shape[0] // _CROPS, pixels_HWC.shape[1] // _CROPS
        parts += [
            Image.fromarray(pixels_HWC[row * rows : (row + 1) * rows, column * columns : (column + 1) * columns])
            for row in range(_CROPS)
            for column in range(_CROPS)
        ]
    return parts
