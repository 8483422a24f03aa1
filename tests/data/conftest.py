import numpy as np
import pytest
from PIL import Image

from tests.data.scenes import mask_image


@pytest.fixture
def scenes(tmp_path):
    """Pictures whose red is sixty times the class of the pixel, in blocks of 8 pixels."""
    rng = np.random.default_rng(0)
    for kind in ("pictures/town", "masks/town"):
        (tmp_path / kind).mkdir(parents=True)
    for number, (height, width) in enumerate([(64, 96), (96, 64), (40, 40)]):
        classes = np.kron(rng.integers(0, 4, (height // 8, width // 8)), np.ones((8, 8))).astype(np.uint8)
        picture = np.zeros((height, width, 3), np.uint8)
        picture[..., 0] = classes * 60
        Image.fromarray(picture).save(tmp_path / f"pictures/town/{number}_seen.png")
        mask_image(classes).save(tmp_path / f"masks/town/{number}_ids.png")
    return tmp_path
