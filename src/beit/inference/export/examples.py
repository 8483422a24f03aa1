"""Example pictures for calibration and checks.

Legend: B batch, C channels; H x W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from beit.errors import missing_extra
from beit.image import COLOURS, BandOptions, Bands, Preprocessing, picture_files
from beit.image.band_reading import endings_of
from beit.image.bands import AnyPicture, as_rgb
from beit.inference.pictures import to_input
from beit.inference.runners.runner import Floats

_WHITE = 255
_CROPS = 4  # of either picture of scikit-learn, along each side


@dataclass(frozen=True)
class Examples:
    """Some pictures.

    Attributes:
        places: Paths, or pictures.
        origin: Where they are from, in words.
    """

    places: Sequence[Path] | Sequence[AnyPicture]
    origin: str

    @classmethod
    def of(cls, folder: str | None, most: int, bands: BandOptions | None = None) -> Examples:
        """Return pictures of a folder, evenly spread over it; without one, parts of two photographs.

        Args:
            folder: The folder.
            most: How many at most.
            bands: Reading of pictures of other than three channels; photographs have their brightness in all of them.

        Raises:
            DataError: If it has none.
            MissingExtraError: If scikit-learn, which brings the photographs, is not installed.
        """
        if folder is None:
            photographs = _photographs()
            if bands is not None and bands.channels != COLOURS:
                photographs = [_in_bands(picture, bands) for picture in photographs]
            return cls(photographs, "parts of the two photographs that scikit-learn brings")
        found = picture_files(Path(folder), endings_of(bands))
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
            yield np.stack([view(to_input(place, view.bands)) for place in self.places[first : first + size]])


def _in_bands(picture: AnyPicture, bands: BandOptions) -> Bands:
    """Return a picture with its brightness in every channel."""
    grey_HW = np.asarray(as_rgb(picture).convert("L"), np.float32) / _WHITE
    return Bands.of_array(np.repeat(grey_HW[..., None], bands.channels, axis=-1))


def _photographs() -> list[AnyPicture]:
    """Return sixteen parts each of a temple and a flower."""
    try:
        from sklearn.datasets import load_sample_images
    except ModuleNotFoundError:
        raise missing_extra("scikit-learn", "train") from None
    parts: list[AnyPicture] = []
    for pixels_HWC in load_sample_images().images:
        rows, columns = pixels_HWC.shape[0] // _CROPS, pixels_HWC.shape[1] // _CROPS
        parts += [
            Image.fromarray(pixels_HWC[row * rows : (row + 1) * rows, column * columns : (column + 1) * columns])
            for row in range(_CROPS)
            for column in range(_CROPS)
        ]
    return parts
