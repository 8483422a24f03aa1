"""Pictures with label maps for the tests."""

import numpy as np
from PIL import Image

from beit.data import LabelIds, SceneFolder


def mask_image(array, mode="L"):
    image = Image.fromarray(np.asarray(array, np.uint8))
    if mode == "P":
        image.putpalette(list(range(256)) * 3)
    return image


def opened(place, **options):
    suffixes = {"picture_suffix": "_seen", "map_suffix": "_ids"} | options
    return SceneFolder(place / "pictures", place / "masks", list("abcd"), LabelIds(4), **suffixes)
