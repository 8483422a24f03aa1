"""View of a picture in an evaluation: exactly what the image processor makes of it."""

from __future__ import annotations

import numpy as np

from beit.data import Views
from beit.image import LazyPicture
from beit.image.steps import Floats


class ExactView(Views):
    """View that is equal to the image processor's output, to the bit: resize and crop in two steps, by its filter."""

    def __call__(self, stored: LazyPicture, rng: np.random.Generator) -> dict[str, Floats]:
        """Return pixel_values (C, H, W); nothing is random, so `rng` is not used."""
        return {"pixel_values": self.preprocessing(stored.decode().picture)}
