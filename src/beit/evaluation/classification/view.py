"""How a model sees pictures in an evaluation."""

from __future__ import annotations

import numpy as np

from beit.data import Views
from beit.image import LazyPicture
from beit.image.steps import Floats


class ExactView(Views):
    """What the preprocessor makes of a picture, to the bit: its filter, in its two steps, as `beit predict` does it."""

    def __call__(self, stored: LazyPicture, rng: np.random.Generator) -> dict[str, Floats]:
        """Return pixel_values (C, H, W); nothing is random, so `rng` is not used."""
        return {"pixel_values": self.preprocessing(stored.decode().picture)}
